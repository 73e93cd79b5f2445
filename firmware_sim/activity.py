"""What an image's maker says about it, as a file beside it: which source line is which operation, what lies where.

`firmware.elf` is described by `firmware.map.json`.  Nothing in it changes what is counted; it only gives names to it.

    {"arena": {"symbol": "ska_memory", "bytes": 100},
     "tensors": [{"name": "W1", "role": "state", "bytes": 64}],
     "operations": [{"file": "model.c", "line": 397, "section": "learn", "name": "z1", "verb": "contract", "layer": 1,
                     "phase": "forward", "work": 1024, "alive": {"W1": 0}}]}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ImageError


@dataclass(frozen=True)
class Tensor:
    """A tensor and its bytes."""

    name: str
    role: str
    bytes: int


@dataclass(frozen=True)
class Operation:
    """A call in the source.  `work`: weights or products it handles.

    `alive`: tensors that hold something meanwhile, with their offsets in the arena.
    """

    file: str
    line: int
    section: str
    name: str
    verb: str
    layer: int | None
    phase: str
    work: int
    alive: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Activity:
    """Names for an image's operations and memory."""

    symbol: str
    bytes: int
    tensors: Mapping[str, Tensor]
    operations: tuple[Operation, ...]

    def operation_at(self, file: str, line: int) -> Operation | None:
        """The operation whose call stands on that line."""
        return self._by_line.get((file, line))

    @property
    def _by_line(self) -> Mapping[tuple[str, int], Operation]:
        return {(one.file, one.line): one for one in self.operations}


def map_of(elf: Path) -> Path:
    """The file that would describe an image."""
    return elf.with_suffix(".map.json")


def load_activity(elf: Path) -> Activity | None:
    """What lies beside an image, or None.  Raises ImageError where it is there and wrong."""
    path = map_of(elf)
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return _activity(content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ImageError(
            f"{path}: no description of an image ({error!r}); build it again, or remove the file"
        ) from None


def _activity(content: Mapping[str, Any]) -> Activity:
    tensors = [Tensor(t["name"], t["role"], int(t["bytes"])) for t in content["tensors"]]
    operations = tuple(
        Operation(
            o["file"],
            int(o["line"]),
            o["section"],
            o["name"],
            o["verb"],
            o["layer"],
            o["phase"],
            int(o["work"]),
            tuple(o["alive"].items()),
        )
        for o in content["operations"]
    )
    arena = content["arena"]
    return Activity(arena["symbol"], int(arena["bytes"]), {t.name: t for t in tensors}, operations)
