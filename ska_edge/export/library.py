"""From a Program to a folder: which formats there are, and what all of them share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..data import Dataset
from ..errors import SkaError
from ..program import Program
from . import arduino, c, platformio, zephyr
from .example import Example, make_example
from .folder import MANIFEST, write_folder
from .package import Package, make_package

FORMATS: Mapping[str, Callable[[Package], Mapping[str, str]]] = {
    "c": c.files,
    "arduino": arduino.files,
    "platformio": platformio.files,
    "zephyr": zephyr.files,
}


@dataclass(frozen=True)
class Exported:
    """A folder that was written: `files` are SHA-256 digests by path."""

    out: Path
    format: str
    name: str
    program: Program
    example: Example
    files: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Everything a script may want to know."""
        return {
            "format": self.format,
            "out": str(self.out),
            "name": self.name,
            "program_digest": self.program.program_digest,
            "state_digest": self.program.state_digest,
            "example": {
                "samples": len(self.example.labels),
                "source": self.example.source,
                "state_crc32": f"{self.example.state_crc:08x}",
                "state_digest": self.example.state_digest,
            },
            "files": dict(self.files),
        }


def export(
    program: Program,
    format: str,
    out: str | Path,
    name: str,
    data: Dataset | None = None,
    force: bool = False,
) -> Exported:
    """Write a Program as a library of a format into the folder `out`, all of it or nothing.

    `name` is what the library is called, in words or as a file's stem; `data` are the samples that its example learns.
    Raises SkaError for an unknown format, ProgramError for a Program that cannot learn samples one by one, DataError
    for samples that do not fit it, FileError where `out` cannot be written or holds something already.
    """
    if format not in FORMATS:
        raise SkaError(f"format {format!r}: allowed are {', '.join(FORMATS)}")
    package = make_package(program, name, make_example(program, data))
    contents = dict(sorted(FORMATS[format](package).items()))
    digests = {path: hashlib.sha256(text.encode()).hexdigest() for path, text in contents.items()}
    manifest = {
        "format": format,
        "ska_edge": __version__,
        "program_digest": program.program_digest,
        "state_digest": program.state_digest,
        "files": digests,
    }
    contents[MANIFEST] = json.dumps(manifest, indent=2) + "\n"
    folder = Path(out)
    write_folder(folder, contents, force)
    return Exported(folder, format, package.name, program, package.example, digests)
