"""What a host outside Lava says to every part: one int64 vector a time step, a header and a payload.

Header: verb, then up to `HEADER - 1` numbers.  A part that is not asked for an answer stays silent.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from ...fixed import IntArray

HEADER = 8
PAYLOAD = 8192  # elements of 8 bytes; a stream's rows come, and weights leave, in pieces of this size
ROWS = -1  # where a number of a tensor is wanted: the rows of a stream, to be learnt; what was collected from them
EVENTS = -2  # ... : what was counted, as JSON, a byte an element, its length first


class Verb(IntEnum):
    """RUN section, first, last, rows: one time step, or as many as rows, for which no further command is sent.
    WRITE tensor, offset, count.  READ tensor, part, offset, count.  COLLECT pairs: (tensor, part) pairs in the payload.
    """

    RUN = 1
    WRITE = 2
    READ = 3
    COLLECT = 4


@dataclass(frozen=True)
class Command:
    """One command.  `numbers`: as the verb wants; `payload`: int64 [at most PAYLOAD]."""

    verb: Verb
    numbers: tuple[int, ...] = ()
    payload: IntArray | None = None

    def vector(self) -> IntArray:
        """As it travels: int64 [HEADER + PAYLOAD]."""
        out = np.zeros(HEADER + PAYLOAD, np.int64)
        out[: 1 + len(self.numbers)] = (self.verb, *self.numbers)
        if self.payload is not None:
            out[HEADER : HEADER + len(self.payload)] = self.payload
        return out

    @classmethod
    def of(cls, vector: Any) -> Command:
        """The inverse of `vector`."""
        return cls(Verb(int(vector[0])), tuple(int(v) for v in vector[1:HEADER]), vector[HEADER:])
