"""The Numba core: one compiled machine that runs any Program in the planned arena.

Nothing is compiled per Program: operations are rows of a table, so the compiled code is cached once and a second start
costs a load.  The cache is keyed by this package's own source, because Numba looks only at the file a function is in.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numba


def _cache_directory() -> Path:
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    root = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(root) / "ska_edge" / "numba" / digest.hexdigest()[:16]


if "NUMBA_CACHE_DIR" not in os.environ:
    numba.config.CACHE_DIR = str(_cache_directory())

from .machine import NumbaExecutor  # noqa: E402  (kernels must see the cache directory)

__all__ = ["NumbaExecutor"]
