"""Lava 0.10 as this project finds it: whether it is installed, and what it needs to be imported.

Lava is made for Python 3.10.  From 3.11 on, `dataclasses` refuses the unhashable default that one of its declarations
has (lava.magma.compiler.var_model); that is all that keeps it from running.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from ...errors import MissingError

VERSION = "0.10.0"
HOW_TO_GET_IT = (
    "on Python 3.10: pip install 'ska_edge[lava]'; on 3.11 and 3.12: pip install asteval networkx scipy 'numpy<2.4', "
    f"then pip install --no-deps --ignore-requires-python lava-nc=={VERSION}"
)


def require() -> None:
    """Raise MissingError where Lava cannot be had, with the way to get it.  Imports nothing of Lava's."""
    if sys.version_info >= (3, 13):
        raise MissingError(f"Lava {VERSION} has not been made to run on Python 3.13; use 3.10, 3.11 or 3.12")
    if not sys.platform.startswith(("linux", "darwin")):
        raise MissingError(f"Lava's processes are forked, which {sys.platform} cannot do; use Linux or macOS")
    missing = [name for name in ("asteval", "networkx", "scipy") if find_spec(name) is None]
    if find_spec("lava") is None or find_spec("lava.magma") is None:
        raise MissingError(f"Lava is not installed; {HOW_TO_GET_IT}")
    if missing:
        raise MissingError(f"Lava needs {', '.join(missing)}, not installed; pip install {' '.join(missing)}")


def prepare() -> None:
    """Make `import lava` work on this Python; to be called before the first one.  Raises MissingError without Lava.

    >>> import importlib.util, sys
    >>> from ska_edge.errors import MissingError
    >>> try:
    ...     prepare()
    ... except MissingError as error:
    ...     print("Lava" in str(error))
    ... else:
    ...     print("lava.magma.compiler.var_model" in sys.modules)
    True
    """
    require()
    with _unhashable_defaults():
        import lava.magma.compiler.var_model  # noqa: F401


@contextmanager
def _unhashable_defaults() -> Iterator[None]:
    """Let dataclasses take an instance of a dataclass as a default, as Python 3.10 does."""
    accepts: Any = dataclasses._get_field  # type: ignore[attr-defined]

    def accepting(cls: Any, name: str, annotation: Any, default_kw_only: Any) -> Any:
        default = getattr(cls, name, dataclasses.MISSING)
        if dataclasses.is_dataclass(default) and not isinstance(default, type):
            kind = type(default)
            if kind.__hash__ is None:
                kind.__hash__ = object.__hash__
        return accepts(cls, name, annotation, default_kw_only)

    dataclasses._get_field = accepting  # type: ignore[attr-defined]
    try:
        yield
    finally:
        dataclasses._get_field = accepts  # type: ignore[attr-defined]
