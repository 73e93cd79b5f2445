"""The layerwise rules in float64, one sample at a time: for calibration, and to say what the integers cost.

Written from the rules' equations, sharing nothing with the Program: plain NumPy, no rounding, no saturation but z's.
"""

from __future__ import annotations

import numpy as np

from ..errors import NetworkError
from ..fixed import FloatArray
from ..network import Network
from ..rules import Guided, Published

KNOWLEDGE_LIMIT = 8.0
LN2 = float(np.log(2.0))


def sigmoid(z: FloatArray) -> FloatArray:
    """1 / (1 + exp(-z)) for z within the knowledge limit."""
    return np.asarray(1.0 / (1.0 + np.exp(-_limited(z))), np.float64)


def _limited(z: FloatArray) -> FloatArray:
    bounded = np.minimum(np.maximum(z, -KNOWLEDGE_LIMIT), KNOWLEDGE_LIMIT)  # several times faster than np.clip here
    return np.asarray(bounded, np.float64)


def flow(
    z: FloatArray, rate: float, steps: int, drive: FloatArray | float = 0.0, own: float = 1.0
) -> tuple[FloatArray, FloatArray, float]:
    """The flow map (design 3.2): returns S = sum of -g ln 2, the last decision D, and the entropy sum in bits."""
    before = sigmoid(z)
    total = np.zeros_like(z)
    entropy = 0.0
    for _ in range(steps):
        now = sigmoid(z)
        slope = now * (1.0 - now)
        v = own * (z * slope + (now - before)) - drive * slope
        total += v
        entropy -= float(z @ (now - before)) / LN2
        z = _limited(z + rate / LN2 * v)
        before = now
    return total, before, entropy


class FloatLearner:
    """`published` and `guided` in float64.  `weights` and `biases` by layer, `heads` and `head_biases` likewise."""

    def __init__(self, network: Network) -> None:
        rule = network.rule
        if not isinstance(rule, Published | Guided):
            raise NetworkError(f"rule {rule.name}: has no float64 reference")
        self.network, self.rule = network, rule
        starts = network.start_weights()
        self.heads: list[FloatArray] = []
        self.head_biases: list[FloatArray] = []
        if isinstance(rule, Guided):
            starts = starts[:-1]
            self.heads = [head.copy() for head in rule.start_heads(network.start_weights())]
            self.head_biases = [np.zeros(len(head)) for head in self.heads]
        self.weights = [start.copy() for start in starts]
        self.biases = [np.zeros(len(start)) for start in starts]
        self.largest_factor: dict[str, float] = {}

    def matrices(self) -> dict[str, FloatArray]:
        """The learnt matrices by the names of `Rule.weight_shapes`."""
        named = {f"W{i}": w for i, w in enumerate(self.weights, start=1)}
        named.update({f"H{i}": head for i, head in enumerate(self.heads, start=1)})
        return {name: named[name] for name in self.rule.learnt_matrices(self.network.shape)}

    def decisions(self, x: FloatArray) -> FloatArray:
        """Decisions of the last layer (of the class layer, if guided) for rows of x."""
        for w, b in zip(self.weights, self.biases, strict=True):
            x = sigmoid(x @ w.T + b) - (0.5 if self.heads else 0.0)
        return sigmoid(x @ self.heads[-1].T + self.head_biases[-1]) if self.heads else x

    def predict(self, x: FloatArray) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Index of the largest decision, row by row."""
        return np.asarray(self.decisions(x).argmax(axis=-1), np.int64)

    def learn_one(self, x: FloatArray, label: int = -1) -> None:
        """One sample, features 0 to 1."""
        if isinstance(self.rule, Guided):
            self._learn_guided(self.rule, x, label)
        else:
            self._learn_published(x)

    def _learn_published(self, x: FloatArray) -> None:
        rule = self.rule
        for layer, (w, b) in enumerate(zip(self.weights, self.biases, strict=True), start=1):
            total, decision, _ = flow(w @ x + b, rule.rate, rule.forward_steps - 1)
            self._move(f"s{layer}", w, b, rule.rate / LN2 / (1.0 + x @ x) * total, x)
            x = decision

    def _learn_guided(self, rule: Guided, x: FloatArray, label: int) -> None:
        for layer, (w, b, head, c) in enumerate(
            zip(self.weights, self.biases, self.heads, self.head_biases, strict=True), start=1
        ):
            z = w @ x + b
            d = sigmoid(z) - 0.5
            e = sigmoid(head @ d + c) - (1.0 - rule.target)
            if label < 0:
                e[:] = 0.0
            else:
                e[label] += 1.0 - 2.0 * rule.target
            e = np.floor(e / rule.tolerance + 0.5) * rule.tolerance
            if e.any() or (label < 0 and rule.unlabelled == "entropy"):
                total, _, _ = flow(z, rule.rate, rule.forward_steps - 1, head.T @ e, 2.0**-rule.entropy_shift)
                self._move(f"s{layer}", w, b, rule.rate / LN2 / (1.0 + x @ x) * total, x)
            if rule.learns_head(layer, len(self.heads)):
                self._move(f"hs{layer}", head, c, -rule.head_rate / LN2 / (1.0 + d @ d) * e, d)
            x = d

    def _move(self, name: str, w: FloatArray, b: FloatArray, factor: FloatArray, x: FloatArray) -> None:
        """W += factor x^T and b += factor, remembering how large a factor gets."""
        w += np.outer(factor, x)
        b += factor
        self.largest_factor[name] = max(self.largest_factor.get(name, 0.0), float(np.abs(factor).max()))
