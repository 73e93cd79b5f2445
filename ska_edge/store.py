"""Finished runs, one JSON file each, so that a long comparison can be cut into parts and taken up again.

A run is known by everything that decides its result, a digest of the source files it depends on included.  Change one
of them, and it is run again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from . import codec
from .errors import FileError

_PACKAGE = Path(__file__).parent
_SOURCES = (".py", ".c", ".h")
Key = Mapping[str, Any]


class Store:
    """A folder of finished runs; None keeps nothing."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def find(self, group: str, key: Key) -> Any:
        """What a run made before came to, as JSON; None where there is none, or a damaged one."""
        path = self._path(group, key)
        if path is None or not path.is_file():
            return None
        try:
            found = json.loads(path.read_text())
            return found["outcome"] if found["key"] == json.loads(json.dumps(key)) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None  # a damaged file is a run that has to be made again

    def keep(self, group: str, key: Key, outcome: Any) -> None:
        """Write a run down, whole or not at all.  Raises FileError."""
        path = self._path(group, key)
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"{path.parent}: cannot be written ({error.strerror})") from None
        codec.write_atomically(path, json.dumps({"key": key, "outcome": outcome}, indent=1).encode())

    def _path(self, group: str, key: Key) -> Path | None:
        if self.folder is None:
            return None
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:20]
        return self.folder / group / f"{digest}.json"


def source_digest(modules: Iterable[str]) -> str:
    """Digest of the sources of modules and folders of ska_edge, by dotted name below it.

    >>> source_digest(["fixed"]) == source_digest(["fixed"]) != source_digest(["fixed", "data"])
    True
    """
    digests = [_module_digest(name) for name in sorted(set(modules))]
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:16]


@cache
def _module_digest(name: str) -> str:
    path = _PACKAGE.joinpath(*name.split("."))
    within = (file for file in path.rglob("*") if file.suffix in _SOURCES)
    files = sorted(within) if path.is_dir() else [path.with_suffix(".py")]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
