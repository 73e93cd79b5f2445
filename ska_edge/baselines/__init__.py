"""What our rules are compared with: backprop as good embedded C would do it, and controls that learn less."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]


class Rows(NamedTuple):
    """Samples [n, features] as a network sees them (`Encoding.unit`), and labels [n]."""

    samples: Float32Array
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Cost:
    """What a method needs on the device.

    `weight_bytes`: all that is learnt or used to decide.  `state_bytes`: what learning needs beyond it, input and
    output buffers apart.  `macs_per_sample`: multiplications in one learning step (no exp, division or addition).
    """

    weight_bytes: int
    state_bytes: int
    macs_per_sample: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.weight_bytes + other.weight_bytes,
            self.state_bytes + other.state_bytes,
            self.macs_per_sample + other.macs_per_sample,
        )


@dataclass(frozen=True)
class Outcome:
    """One run of one method: accuracy on the test rows (0 to 1), cost, and seconds of wall time on the host."""

    accuracy: float
    cost: Cost
    seconds: float


_ORDER_STRIDE = 1 << 16  # as `train` draws its orders, so that the demo's model is `train`'s to the bit


def pass_orders(rows: int, passes: int, seed: int) -> list[npt.NDArray[np.int64]]:
    """One random order of the rows a pass, the same for every method with the same seed.

    >>> [sorted(order.tolist()) for order in pass_orders(3, 2, seed=0)]
    [[0, 1, 2], [0, 1, 2]]
    """
    seeds = [(seed + number * _ORDER_STRIDE) % 2**32 for number in range(passes)]
    return [np.random.RandomState(each).permutation(rows).astype(np.int64) for each in seeds]
