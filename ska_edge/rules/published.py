"""The published rule, layerwise: every layer lowers its own entropy, without labels.

    H = -(1/ln 2) sum_k z_k (D_k - D_(k-1)),  g = dH/dz = -(1/ln 2)(z D' + dD),  W <- W - eta g x^T

(arXiv 2503.13942, 2504.03214).  One sample is held for K forward steps, which is the flow map of design 3.2; each layer
hands its last decision on.  Bound: |z D'| <= 0.2239 and |dD| <= 1, so |g| <= 1.766 in every step, at any depth.
What it minimises is H(D|x) alone: on a stream all neurons drift the same way and saturate; `guided` is for use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..builder import FACTOR_BITS, Builder
from ..fixed import FloatArray, Format
from ..operations import Arg, Kind, Role, Tensor
from .base import DenseLayer, Rule
from .watch import Watch


@dataclass(frozen=True)
class Published(Rule):
    """The rule of the papers on a stream of single samples."""

    name: ClassVar[str] = "published"
    rate: float = 0.001
    forward_steps: int = 50

    def start_std(self, fan_in: int) -> float:
        """The papers start at 0.01, whatever the layer."""
        return 0.01

    def learnt_matrices(self, shape: tuple[int, ...]) -> tuple[str, ...]:
        """W1, W2, ..."""
        return tuple(f"W{layer}" for layer in range(1, len(shape)))

    def emit(self, build: Builder, starts: Sequence[FloatArray], x: Tensor, exponents: Mapping[str, int]) -> None:
        """One flow and one rank-1 update a layer."""
        below_first, below_learn = x, x
        last = len(starts)
        for layer, start in enumerate(starts, start=1):
            width = start.shape[0]
            out_role = Role.OUTPUT if layer == last else Role.SCRATCH
            name = "decision" if layer == last else f"D{layer}"
            decision = build.tensor(name, (width,), build.profile.decision, out_role, Kind.DECISION, layer)
            dense = DenseLayer.declare(build, layer, below_first, start, exponents[f"W{layer}"], decision=decision)
            dense.forward(build, "infer", below_first)
            build.contract("learn", dense.knowledge, dense.weights, below_learn, "oi,i->o", c=dense.bias)
            rate = build.normalised_rate("learn", f"x{layer}", below_learn, self.rate, layer)
            factor_format = build.factor_format(dense.weights, below_learn, exponents[f"s{layer}"])
            factor = build.scratch(f"s{layer}", (width,), factor_format, Kind.FACTOR, layer)
            watch = Watch.before(build, "learn", dense.knowledge) if build.watched else None
            build.flow(
                "learn",
                factor,
                decision,
                dense.knowledge,
                rate,
                steps=self.forward_steps - 1,
                rate=self.rate,
                row=start.shape[1] + 1,
            )
            if watch:
                watch.after_flow(build, "learn", factor)
            build.learn_dense("learn", dense.weights, dense.bias, factor, below_learn)
            below_first = below_learn = decision
        choice = build.tensor("choice", (), Format(FACTOR_BITS, 0), Role.OUTPUT, Kind.CHOICE, last)
        for section in ("infer", "learn"):
            build.emit(section, Arg(choice.name, below_first.name, layer=last))
        build.finish("learn")
