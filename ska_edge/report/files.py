"""Folders and files of a report: tried before the work, each file whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from .. import codec
from ..errors import FileError


def claim(out: Path, option: str = "--out") -> None:
    """Make the folder and try it now: nobody wants to hear after a minute that it cannot be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise FileError(f"{out}: cannot be written ({error.strerror}); give another folder with {option}") from None


def write_files(out: Path, contents: Mapping[str, bytes]) -> tuple[Path, ...]:
    """Write files in order, each whole or not at all; the first that cannot be written raises FileError and ends it."""
    for name, content in contents.items():
        codec.write_atomically(out / name, content)
    return tuple(out / name for name in contents)
