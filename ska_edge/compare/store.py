"""Finished runs, one JSON file each, so that a long comparison can be cut into parts and taken up again.

A run is known by everything that decides its result: data set, scenario and its parameters, method and its parameters,
seed, and a digest of the source files it depends on.  Change one of them, and it is run again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from .. import codec
from ..baselines import Cost, Outcome
from ..errors import FileError

_PACKAGE = Path(__file__).parent.parent
Key = Mapping[str, Any]


class Store:
    """A folder of finished runs; None keeps nothing."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def find(self, key: Key) -> Outcome | None:
        """The outcome of a run made before, if it is there and whole."""
        path = self._path(key)
        if path is None or not path.is_file():
            return None
        try:
            found = json.loads(path.read_text())
            if found["key"] != json.loads(json.dumps(key)):
                return None
            fields = found["outcome"]
            return Outcome(fields["score"], Cost(**fields["cost"]), fields["seconds"], tuple(fields["others"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None  # a damaged file is a run that has to be made again

    def keep(self, key: Key, outcome: Outcome) -> None:
        """Write a run down, whole or not at all.  Raises FileError."""
        path = self._path(key)
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"{path.parent}: cannot be written ({error.strerror})") from None
        codec.write_atomically(path, json.dumps({"key": key, "outcome": asdict(outcome)}, indent=1).encode())

    def _path(self, key: Key) -> Path | None:
        if self.folder is None:
            return None
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:20]
        return self.folder / f"{key['dataset']}-{key['scenario']}" / f"{digest}.json"


def source_digest(modules: Iterable[str]) -> str:
    """Digest of the sources of modules and packages of ska_edge, by dotted name below it.

    >>> source_digest(["fixed"]) == source_digest(["fixed"]) != source_digest(["fixed", "data"])
    True
    """
    digests = [_module_digest(name) for name in sorted(set(modules))]
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:16]


@cache
def _module_digest(name: str) -> str:
    path = _PACKAGE.joinpath(*name.split("."))
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
