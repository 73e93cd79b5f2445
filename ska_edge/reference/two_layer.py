"""A two-layer experiment on synthetic data: the published rule, and the same network by backprop beside it.

The first paper (arXiv 2503.13942) speaks of layers that learn without backprop and without labels; details of its small
synthetic experiment could not be found in its code, so this is an equivalent, described here in full:

- 400 points in eight dimensions, two classes, unit noise; as many fresh ones to test on.  "centred": the classes lie
  2 to either side of the origin along one axis.  "shifted": the same, moved by 3 along every axis, as pixels are never
  negative.  "exclusive or": four clouds at (+-2, +-2), classes across, which no single layer can tell.
- 8-16-1, sigmoids, weights normal with spread 0.1, biases 0, 200 steps of the whole batch.  The published rule sees no
  label (rate 0.5).  Backprop descends the mean cross-entropy of the output (rate 5).

Accuracy is the test share decided rightly by the output neuron, with a threshold put where it decides most of the
*learning* rows rightly, either way round.  So labels choose one number for the published rule, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DataError
from ..fixed import FloatArray, IntArray
from .papers import LN2, sigmoid, trajectory

KINDS = ("centred", "shifted", "exclusive or")
METHODS = ("untrained", "published rule", "backprop")
DIMENSIONS, HIDDEN, POINTS, STEPS = 8, 16, 400, 200
START_SPREAD, SKA_RATE, BACKPROP_RATE = 0.1, 0.5, 5.0
_SEPARATION, _SHIFT = 2.0, 3.0


@dataclass(frozen=True)
class TwoLayerRun:
    """One seed.

    `accuracy` by method, on fresh points, with the threshold from the learning rows; `plain_accuracy` with the
    threshold 0.5, either way round.  `entropy`: method -> per layer, bits a sample and neuron at steps 1 to K - 1.
    """

    kind: str
    seed: int
    accuracy: dict[str, float]
    plain_accuracy: dict[str, float]
    entropy: dict[str, list[list[float]]]


def points(kind: str, seed: int, count: int = POINTS) -> tuple[FloatArray, IntArray]:
    """Samples [count, 8] and labels [count], 0 or 1.  Raises DataError for an unknown kind.

    >>> x, y = points("shifted", 0)
    >>> x.shape, sorted(set(y.tolist()))
    ((400, 8), [0, 1])
    """
    if kind not in KINDS:
        raise DataError(f"synthetic data {kind!r}: allowed are {', '.join(KINDS)}")
    rng = np.random.default_rng(seed)
    x, first, second = rng.normal(size=(count, DIMENSIONS)), rng.integers(0, 2, count), rng.integers(0, 2, count)
    x[:, 0] += _SEPARATION * (2 * first - 1)
    if kind == "exclusive or":
        x[:, 1] += _SEPARATION * (2 * second - 1)
        return x, np.asarray(first ^ second, np.int64)
    return x + (_SHIFT if kind == "shifted" else 0.0), np.asarray(first, np.int64)


def run_two_layer(kind: str, seed: int, steps: int = STEPS) -> TwoLayerRun:
    """Learn one set of points by the published rule and by backprop, from the same start weights."""
    x, y = points(kind, seed)
    fresh, fresh_labels = points(kind, seed + 1_000_003)
    rng = np.random.default_rng(seed + 7)
    start = [rng.normal(0.0, START_SPREAD, shape) for shape in ((DIMENSIONS, HIDDEN), (HIDDEN, 1))]
    ours = trajectory(x, start, SKA_RATE, steps)
    weights, biases, theirs = _backprop(x, y, start, steps)
    networks = {
        "untrained": (start, [np.zeros(HIDDEN), np.zeros(1)]),
        "published rule": (ours.weights, ours.biases),
        "backprop": (weights, biases),
    }
    accuracy, plain = {}, {}
    for method, (w, b) in networks.items():
        learnt, tested = (_forward(rows, w, b)[-1][1][:, 0] for rows in (x, fresh))
        threshold, sign = _best_threshold(learnt, y)
        accuracy[method] = float((((tested > threshold) == (sign > 0)) == (fresh_labels == 1)).mean())
        share = float(((tested > 0.5) == (fresh_labels == 1)).mean())
        plain[method] = max(share, 1.0 - share)
    scale = [POINTS * HIDDEN, POINTS]
    entropy = {
        "published rule": [[bits / n for bits in layer] for layer, n in zip(ours.entropy, scale, strict=True)],
        "backprop": [[bits / n for bits in layer] for layer, n in zip(theirs, scale, strict=True)],
    }
    return TwoLayerRun(kind, seed, accuracy, plain, entropy)


def _forward(
    x: FloatArray, weights: Sequence[FloatArray], biases: Sequence[FloatArray]
) -> list[tuple[FloatArray, FloatArray]]:
    """(z, D) of each layer."""
    out = []
    for w, b in zip(weights, biases, strict=True):
        z = x @ w + b
        x = sigmoid(z)
        out.append((z, x))
    return out


def _backprop(
    x: FloatArray, y: IntArray, start: Sequence[FloatArray], steps: int
) -> tuple[list[FloatArray], list[FloatArray], list[list[float]]]:
    """Weights, biases and, per layer, the papers' entropy while the cross-entropy descends."""
    w, b = [matrix.copy() for matrix in start], [np.zeros(matrix.shape[1]) for matrix in start]
    entropy: list[list[float]] = [[], []]
    before: list[tuple[FloatArray, FloatArray]] = []
    for _ in range(steps):
        now = _forward(x, w, b)
        for layer, ((z, d), (_, d_before)) in enumerate(zip(now, before, strict=False)):
            entropy[layer].append(-float(np.sum(z * (d - d_before))) / LN2)
        (_, hidden), (_, output) = now
        error = (output - y[:, np.newaxis]) / len(x)
        hidden_error = (error @ w[1].T) * hidden * (1.0 - hidden)
        for layer, (inputs, delta) in enumerate(((x, hidden_error), (hidden, error))):
            w[layer] -= BACKPROP_RATE * (inputs.T @ delta)
            b[layer] -= BACKPROP_RATE * delta.sum(axis=0)
        before = now
    return w, b, entropy


def _best_threshold(output: FloatArray, labels: IntArray) -> tuple[float, int]:
    """The threshold that decides most rows rightly, and 1 if class 1 lies above it, else -1.

    >>> threshold, sign = _best_threshold(np.array([0.1, 0.2, 0.3, 0.4]), np.array([1, 1, 0, 0]))
    >>> round(threshold, 2), sign
    (0.25, -1)
    """
    order = np.argsort(output, kind="stable")
    sorted_output, ones = output[order], np.cumsum(labels[order])
    below = np.arange(1, len(labels))
    hits = (below - ones[:-1]) + (ones[-1] - ones[:-1])  # class 0 below, class 1 above
    hits_turned = len(labels) - hits
    turned = hits_turned.max() > hits.max()
    place = int((hits_turned if turned else hits).argmax())
    return float((sorted_output[place] + sorted_output[place + 1]) / 2.0), -1 if turned else 1
