"""A folder written whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ..errors import FileError

MANIFEST = "ska-edge.json"


def write_folder(out: Path, contents: Mapping[str, str | bytes], force: bool = False) -> None:
    """Write files by relative path into a folder that is new or empty, by way of a folder beside it.

    With `force`, a folder that an earlier export wrote (its manifest says so) is replaced with all that is in it.
    Raises FileError; then nothing has changed.
    """
    target = out.resolve()
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    try:
        _check(out, target, force)
        target.parent.mkdir(parents=True, exist_ok=True)
        for name, text in contents.items():
            path = part / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode() if isinstance(text, str) else text)
        if target.exists():
            target.replace(old)
        try:
            part.replace(target)
        except BaseException:  # Ctrl-C included: what was there comes back
            if old.exists():
                old.replace(target)
            raise
    except OSError as error:
        raise FileError(f"{out}: cannot be written ({error.strerror}); give another folder with --out") from None
    finally:
        with suppress(OSError):
            shutil.rmtree(part, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


def _check(out: Path, target: Path, force: bool) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise FileError(f"{out}: is a file; give a folder with --out")
    if not any(target.iterdir()):
        return
    if not force:
        raise FileError(f"{out}: is not empty; give another folder with --out, or --force to replace an older export")
    if not (target / MANIFEST).is_file():
        raise FileError(f"{out}: was not written by an export (no {MANIFEST}); --force replaces nothing else")
