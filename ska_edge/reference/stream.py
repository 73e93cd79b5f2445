"""The layerwise rules in float64, one sample at a time: for calibration, and to say what the integers cost.

Written from the rules' equations, sharing nothing with the Program: plain NumPy, no rounding, no saturation but z's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import NetworkError
from ..fixed import FloatArray, IntArray
from ..layers import Convolution, Dense, Grid, Layer
from ..network import Network
from ..rules import Guided, Homeostatic, Published
from .competition import FloatPrototypes
from .knowledge import limited, sigmoid

LN2 = float(np.log(2.0))


def flow(
    z: FloatArray,
    rate: float,
    steps: int,
    drive: FloatArray | float = 0.0,
    own: float = 1.0,
    habit: FloatArray | float = 0.0,
) -> tuple[FloatArray, FloatArray, float]:
    """The flow map (design 3.2): returns S = sum of -g ln 2, the last decision D, and the entropy sum in bits."""
    before = sigmoid(z)
    total = np.zeros_like(z)
    entropy = 0.0
    for _ in range(steps):
        now = sigmoid(z)
        slope = now * (1.0 - now)
        v = own * ((z - habit) * slope + (now - before)) - drive * slope
        total += v
        entropy -= float((z * (now - before)).sum()) / LN2
        z = limited(z + rate / LN2 * v)
        before = now
    return total, before, entropy


@dataclass
class FloatLayer:
    """One layer in float64: W [neurons.., inputs], b, and which inputs each row of `index` sees."""

    kind: Layer
    weights: FloatArray
    bias: FloatArray
    index: IntArray | None

    @classmethod
    def of(cls, kind: Layer, grid: Grid, start: FloatArray) -> FloatLayer:
        """With the start weights, and no bias."""
        shape = start.shape[:1] if isinstance(kind, Convolution) else kind.shape(grid)
        return cls(kind, start.copy(), np.zeros(shape), kind.index(grid))

    def see(self, x: FloatArray) -> FloatArray:
        """[fields or places, inputs] of one sample; [1, inputs] where everything is seen."""
        flat = x.reshape(-1)
        return flat[None, :] if self.index is None else flat[self.index]

    def knowledge(self, seen: FloatArray) -> FloatArray:
        """Z = W x + b."""
        if isinstance(self.kind, Convolution):
            return np.asarray(seen @ self.weights.T + self.bias)
        if isinstance(self.kind, Dense):
            return np.asarray(self.weights @ seen[0] + self.bias)
        return np.asarray((self.weights * seen).sum(axis=-1) + self.bias)

    def learn(self, factor: FloatArray, seen: FloatArray) -> None:
        """W += factor x^T, b += factor; summed over the places that share weights."""
        if isinstance(self.kind, Convolution):
            self.weights += factor.T @ seen
            self.bias += factor.sum(axis=0)
        else:
            self.weights += factor[..., None] * (seen[0] if isinstance(self.kind, Dense) else seen)
            self.bias += factor

    def norm(self, seen: FloatArray) -> float:
        """1 + |x|^2: in the mean over fields, or of all places together."""
        squares = 1.0 + (seen**2).sum(axis=-1)
        return float(squares.sum() if isinstance(self.kind, Convolution) else squares.mean())


class FloatLearner:
    """The layerwise rules in float64: `layers`, all but the class layer if guided, and then `heads`, one a layer."""

    def __init__(self, network: Network) -> None:
        rule = network.rule
        if not isinstance(rule, Published | Guided):
            raise NetworkError(f"rule {rule.name}: has no float64 reference")
        self.network, self.rule = network, rule
        count = len(network.layers) - isinstance(rule, Guided)
        starts = network.start_weights()
        self.layers: list[FloatLayer | FloatPrototypes] = []
        for i, (layer, grid) in enumerate(zip(network.layers[:count], network.grids, strict=False)):
            unit = 1.0 if i == 0 else 0.5
            made = FloatPrototypes.of(layer, grid, starts[i], unit) if layer.competes else None
            self.layers.append(made or FloatLayer.of(layer, grid, starts[i]))
        self.heads: list[FloatLayer] = []
        if isinstance(rule, Guided):
            kind = network.layers[-1]
            self.heads = [FloatLayer.of(kind, Grid.of(head.shape[1]), head) for head in rule.start_heads(network)]
        self.means = [np.full(network.layers[i].shape(network.grids[i]), 0.5) for i in range(count)]
        self.largest_factor: dict[str, float] = {}

    @property
    def weights(self) -> list[FloatArray]:
        """Weights by layer."""
        return [layer.weights for layer in self.layers]

    @property
    def biases(self) -> list[FloatArray]:
        """Biases by layer; prototypes have none of their own."""
        return [layer.bias for layer in self.layers if isinstance(layer, FloatLayer)]

    def matrices(self) -> dict[str, FloatArray]:
        """The learnt matrices by the names of `Rule.learnt_matrices`."""
        named = {f"W{i}": layer.weights for i, layer in enumerate(self.layers, start=1)}
        named.update({f"H{i}": head.weights for i, head in enumerate(self.heads, start=1)})
        return {name: named[name] for name in self.rule.learnt_matrices(self.network)}

    def decisions(self, x: FloatArray) -> FloatArray:
        """Decisions of the last layer (of the class layer, if guided) for rows of x."""
        return np.array([self.decide(row) for row in np.atleast_2d(x)])

    def decide(self, x: FloatArray) -> FloatArray:
        """Decisions of the last layer for one sample."""
        for layer in self.layers:
            if isinstance(layer, FloatPrototypes):
                x = np.maximum(layer.decide(x) - 0.5, 0.0)
                continue
            d = sigmoid(layer.knowledge(layer.see(x)))
            x = self._signal(d)
        return sigmoid(self.heads[-1].knowledge(self.heads[-1].see(x))) if self.heads else d

    def predict(self, x: FloatArray) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Index of the largest decision, row by row."""
        return np.asarray(self.decisions(x).reshape(len(np.atleast_2d(x)), -1).argmax(axis=-1), np.int64)

    def learn_one(self, x: FloatArray, label: int = -1) -> None:
        """One sample, features as encoded."""
        if isinstance(self.rule, Guided):
            self._learn_guided(self.rule, x, label)
        else:
            self._learn_unguided(self.rule, x)

    def _signal(self, d: FloatArray) -> FloatArray:
        """What a layer hands on."""
        if not isinstance(self.rule, Guided):
            return d
        return np.maximum(d - 0.5, 0.0) if self.rule.rectified else d - 0.5

    def _learn_unguided(self, rule: Published, x: FloatArray) -> None:
        for number, (layer, mean) in enumerate(zip(self.layers, self.means, strict=True), start=1):
            assert isinstance(layer, FloatLayer)
            seen = layer.see(x)
            habit: FloatArray | float = 0.0
            if isinstance(rule, Homeostatic):
                held = np.clip(mean, 1.0 / 181.0, 180.0 / 181.0)  # a logit of 5.2
                habit = np.log(held / (1.0 - held))
            total, decision, _ = flow(layer.knowledge(seen), rule.rate, rule.forward_steps - 1, habit=habit)
            self._move(f"s{number}", layer, rule.rate / LN2 / layer.norm(seen) * total, seen)
            if isinstance(rule, Homeostatic):
                mean += (decision - mean) / 2**rule.memory
            x = decision

    def _learn_guided(self, rule: Guided, x: FloatArray, label: int) -> None:
        if rule.mask:
            x = np.where(np.random.default_rng(int(abs(x).sum() * 1e6)).random(x.shape) < rule.mask, 0.0, x)
        for number, (layer, head) in enumerate(zip(self.layers, self.heads, strict=True), start=1):
            if isinstance(layer, FloatPrototypes):
                handed_on = np.maximum(layer.decide(x) - 0.5, 0.0)
                layer.learn(x, rule.competition_rate, rule.conscience)
                x = handed_on
                continue
            seen = layer.see(x)
            z = layer.knowledge(seen)
            signal = self._signal(sigmoid(z))
            row = head.see(signal)
            e = sigmoid(head.knowledge(row)) - (1.0 - rule.target)
            if label < 0:
                e[:] = 0.0
            else:
                e[label] += 1.0 - 2.0 * rule.target
            e = np.floor(e / rule.tolerance + 0.5) * rule.tolerance
            if e.any() or (label < 0 and rule.unlabelled == "entropy"):
                steps = 1 if isinstance(layer.kind, Convolution) else rule.forward_steps - 1
                drive = (head.weights.T @ e).reshape(z.shape)
                total, _, _ = flow(z, rule.rate, steps, drive, 2.0**-rule.entropy_shift)
                if rule.rectified:
                    total = np.where(signal > 0, total, 0.0)
                self._move(f"s{number}", layer, rule.rate / LN2 / layer.norm(seen) * total, seen)
            if rule.learns_head(number, len(self.heads)):
                self._move(f"hs{number}", head, -rule.head_rate / LN2 / (1.0 + float((row**2).sum())) * e, row)
            x = signal

    def _move(self, name: str, layer: FloatLayer, factor: FloatArray, seen: FloatArray) -> None:
        """Learn, remembering how large a factor gets."""
        layer.learn(factor, seen)
        self.largest_factor[name] = max(self.largest_factor.get(name, 0.0), float(np.abs(factor).max()))
