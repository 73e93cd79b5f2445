"""Knowledge and decisions in float64, for the rules on a stream."""

from __future__ import annotations

import numpy as np

from ..fixed import FloatArray

KNOWLEDGE_LIMIT = 8.0


def sigmoid(z: FloatArray) -> FloatArray:
    """1 / (1 + exp(-z)) for z within the knowledge limit."""
    return np.asarray(1.0 / (1.0 + np.exp(-limited(z))), np.float64)


def limited(z: FloatArray) -> FloatArray:
    """Z within the knowledge limit."""
    bounded = np.minimum(np.maximum(z, -KNOWLEDGE_LIMIT), KNOWLEDGE_LIMIT)  # several times faster than np.clip here
    return np.asarray(bounded, np.float64)
