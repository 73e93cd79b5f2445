"""The papers' experiment in float64: one batch, all layers move in every step (arXiv 2503.13942, 2504.03214).

    z = W x + b;  D = sigmoid(z);  dD = D - D_(k-1)                    step 0 only fills D
    g = -(1/ln 2)(z D' + dD);  W <- W - eta mean(g x_prev^T);  b <- b - eta mean(g)

x is the batch for layer 1, else D_k of the layer below; x_prev is the batch, else D_(k-1) of the layer below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import DataError, NetworkError
from ..fixed import FloatArray
from ..start import NormalStream

LN2 = float(np.log(2.0))
PAPER_SHAPE = (784, 256, 128, 64, 10)
PAPER_SEED = 42
PAPER_STD = 0.01
PAPER_RATE = 0.01
PAPER_STEPS = 50


@dataclass
class Trajectory:
    """Histories, one list a layer.

    `entropy` (bits), `cosine`, `tensor_net`, `lagrangian`, `weight_norm` have an entry for steps 1 to K - 1;
    `knowledge_norm` for steps 0 to K - 1; `flow` (Phi) for steps 1 to K - 1.  `output`: mean decision of each output
    neuron, steps 0 to K - 1.  `weights` [inputs, outputs] and `biases`: where the last step left them.
    `first_decisions`, `last_decisions` [samples, neurons] a layer: D of step 0 and of step K - 1.
    """

    rate: float
    entropy: list[list[float]] = field(default_factory=list)
    cosine: list[list[float]] = field(default_factory=list)
    knowledge_norm: list[list[float]] = field(default_factory=list)
    weight_norm: list[list[float]] = field(default_factory=list)
    tensor_net: list[list[float]] = field(default_factory=list)
    flow: list[list[float]] = field(default_factory=list)
    lagrangian: list[list[float]] = field(default_factory=list)
    output: list[FloatArray] = field(default_factory=list)
    weights: list[FloatArray] = field(default_factory=list)
    biases: list[FloatArray] = field(default_factory=list)
    first_decisions: list[FloatArray] = field(default_factory=list)
    last_decisions: list[FloatArray] = field(default_factory=list)


_BY_LAYER = ("entropy", "cosine", "knowledge_norm", "weight_norm", "tensor_net", "flow", "lagrangian")


def paper_weights(
    shape: Sequence[int] = PAPER_SHAPE, seed: int = PAPER_SEED, std: float = PAPER_STD
) -> list[FloatArray]:
    """Start weights [inputs, outputs], drawn as PyTorch draws them."""
    stream = NormalStream(seed)
    return [stream.take((a, b)) * std for a, b in zip(shape[:-1], shape[1:], strict=True)]


def sigmoid(z: FloatArray) -> FloatArray:
    """1 / (1 + exp(-z)), without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * z)), np.float64)


def trajectory(
    batch: FloatArray,
    weights: Sequence[FloatArray],
    rate: float = PAPER_RATE,
    steps: int = PAPER_STEPS,
) -> Trajectory:
    """Run the published batch rule and record every metric of both papers.

    `batch` [samples, inputs]; `weights` one [inputs, outputs] matrix a layer, not changed.  `steps` = K forward passes,
    the first of which only fills D.  Raises DataError or NetworkError for unusable input.
    """
    if batch.ndim != 2 or not batch.size or not np.isfinite(batch).all():
        raise DataError(f"batch: shape {batch.shape}; wanted finite [samples, inputs]")
    if not rate > 0 or steps < 2:
        raise NetworkError(f"rate {rate}, {steps} steps; wanted a positive rate and at least 2 steps")
    w = [matrix.copy() for matrix in weights]
    b = [np.zeros(matrix.shape[1]) for matrix in w]
    layers = range(len(w))
    out = Trajectory(rate, weights=w, biases=b)
    for name in _BY_LAYER:
        getattr(out, name).extend([] for _ in layers)
    knowledge: list[FloatArray] = []
    decided: list[FloatArray] = []
    for step in range(steps):
        new_knowledge: list[FloatArray] = []
        new_decided: list[FloatArray] = []
        x = batch
        for layer in layers:
            z = x @ w[layer] + b[layer]
            d = sigmoid(z)
            out.knowledge_norm[layer].append(float(np.linalg.norm(z)))
            if step:
                x_prev = batch if layer == 0 else decided[layer - 1]
                g = _record(out, layer, z, d, knowledge[layer], decided[layer])
                w[layer] -= rate * (x_prev.T @ g) / len(batch)
                b[layer] -= rate * g.mean(axis=0)
                out.weight_norm[layer].append(float(np.linalg.norm(w[layer])))
            new_knowledge.append(z)
            new_decided.append(d)
            x = d
        knowledge, decided = new_knowledge, new_decided
        out.output.append(decided[-1].mean(axis=0))
        out.first_decisions = out.first_decisions or decided
    out.last_decisions = decided
    return out


def _record(
    out: Trajectory, layer: int, z: FloatArray, d: FloatArray, z_before: FloatArray, d_before: FloatArray
) -> FloatArray:
    """Append this step's metrics of a layer; returns g."""
    slope = d * (1.0 - d)
    moved, shift = z - z_before, d - d_before
    aligned = float(np.sum(z * shift))
    norms = float(np.linalg.norm(z) * np.linalg.norm(shift))
    out.entropy[layer].append(-aligned / LN2)
    out.cosine[layer].append(aligned / norms if norms else 0.0)
    out.tensor_net[layer].append(float(np.sum(moved * (d - z * slope / LN2))))
    out.flow[layer].append(float(np.linalg.norm(moved)) / out.rate)
    out.lagrangian[layer].append(-float(np.sum(z * slope * moved)) / out.rate)
    return -(z * slope + shift) / LN2
