"""Local entropy, alignment and knowledge of every sigmoid layer of any ONNX model, as it is fed (arXiv 2503.13942).

One forward step a sample: z is what goes into the sigmoid, D what comes out, dD the change of D from the sample before.
The model is not changed; the signal was always there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError, FileError
from ...fixed import FloatArray
from .foreign import features_of, read_foreign


@dataclass(frozen=True)
class LayerSignal:
    """One sigmoid layer; an entry a step from the second sample on.

    `entropy` in bits: -(1/ln 2) sum z dD.  `cosine`: of z and dD, 0 where one of them is 0.  `knowledge_norm`: of z.
    """

    name: str
    neurons: int
    entropy: FloatArray
    cosine: FloatArray
    knowledge_norm: FloatArray

    def to_json(self) -> dict[str, Any]:
        """Means, and every step."""
        signals = {"entropy": self.entropy, "cosine": self.cosine, "knowledge_norm": self.knowledge_norm}
        means = {name: float(values.mean()) for name, values in signals.items()}
        steps = {name: values.tolist() for name, values in signals.items()}
        return {"name": self.name, "neurons": self.neurons, **means, "steps": steps}


def signal(name: str, z: FloatArray, decisions: FloatArray) -> LayerSignal:
    """The signals of a layer from its Z and D, [samples, neurons].

    >>> z = np.array([[0.0], [1.0]])
    >>> round(float(signal("layer", z, 1 / (1 + np.exp(-z))).entropy[0]), 4)
    -0.3333
    """
    now, change = z[1:], np.diff(decisions, axis=0)
    along = (now * change).sum(axis=1)
    norms = np.linalg.norm(now, axis=1) * np.linalg.norm(change, axis=1)
    cosine = np.divide(along, norms, out=np.zeros_like(along), where=norms > 0)
    return LayerSignal(name, z.shape[1], -along / math.log(2.0), cosine, np.linalg.norm(now, axis=1))


def probe(path: str | Path, samples: FloatArray) -> Iterator[LayerSignal]:
    """Every sigmoid layer's signals while the rows of `samples` [n, features] are fed in order, n at least 2.

    Raises FileError for a model without a sigmoid or one that cannot be run, DataError for rows that do not fit.
    """
    foreign = read_foreign(path)
    rows = features_of(foreign, samples)
    if len(rows) < 2:
        raise DataError(f"samples: {len(rows)}; a change of decision needs at least 2")
    nodes = [node for node in foreign.model.graph.node if node.op_type == "Sigmoid"]
    if not nodes:
        found = sorted({node.op_type for node in foreign.model.graph.node})
        raise FileError(f"{path}: no Sigmoid in it, only {', '.join(found)}; the signal is defined for sigmoid layers")
    run = foreign.session([name for node in nodes for name in (node.input[0], node.output[0])])
    values = run(rows)
    for node, z, decisions in zip(nodes, values[0::2], values[1::2], strict=True):
        flat = (len(rows), -1)
        yield signal(node.name or node.output[0], z.reshape(flat), decisions.reshape(flat))
