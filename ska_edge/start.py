"""Start weights: the random numbers the papers started from, without PyTorch.

`torch.manual_seed(s); torch.randn(n)` for n >= 16 is MT19937 with 24-bit uniforms and a Box-Muller transform over
blocks of sixteen; NumPy's legacy generator holds the same MT19937.  Agrees with the papers' start weights to 5e-9.
"""

from __future__ import annotations

import math

import numpy as np

from .fixed import FloatArray

_BLOCK = 16


class NormalStream:
    """A stream of standard normal numbers, float32 values in a float64 array.

    >>> stream = NormalStream(42)
    >>> stream.take((2, 8)).shape
    (2, 8)
    """

    def __init__(self, seed: int) -> None:
        self._raw = np.random.RandomState(seed)

    def take(self, shape: tuple[int, ...]) -> FloatArray:
        """The next numbers, row-major.  A last, incomplete block is replaced by sixteen fresh ones, as PyTorch does."""
        count = math.prod(shape)
        padded = max(count, _BLOCK)
        values = self._uniform(padded)
        for start in range(0, padded - _BLOCK + 1, _BLOCK):
            values[start : start + _BLOCK] = _box_muller(values[start : start + _BLOCK])
        if padded % _BLOCK:
            values[-_BLOCK:] = _box_muller(self._uniform(_BLOCK))
        return values[:count].astype(np.float64).reshape(shape)

    def _uniform(self, count: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        raw = self._raw.randint(0, 1 << 32, size=count, dtype=np.uint64)
        return ((raw & 0xFFFFFF) / float(1 << 24)).astype(np.float32)


def _box_muller(u: np.ndarray[tuple[int], np.dtype[np.float32]]) -> FloatArray:
    radius = np.sqrt(np.float32(-2.0) * np.log(np.float32(1.0) - u[:8]))  # float32 throughout, as PyTorch does
    angle = np.float32(2.0 * np.pi) * u[8:]
    return np.asarray(np.concatenate([radius * np.cos(angle), radius * np.sin(angle)]), np.float64)
