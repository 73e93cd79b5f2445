"""The published rule, layerwise: every layer lowers its own entropy, without labels.

    H = -(1/ln 2) sum_k z_k (D_k - D_(k-1)),  g = dH/dz = -(1/ln 2)(z D' + dD),  W <- W - eta g x^T

(arXiv 2503.13942, 2504.03214).  One sample is held for K forward steps, which is the flow map of design 3.2; each layer
hands its last decision on.  Bound: |z D'| <= 0.2239 and |dD| <= 1, so |g| <= 1.766 in every step, at any depth.
What it minimises is H(D|x) alone: on a stream all neurons drift the same way and saturate; `guided` is for use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ..builder import Builder
from ..layers import Dense, Fields
from ..operations import Kind, Role, Tensor
from .base import Rule, check_layers, choose
from .stage import Stage
from .watch import Watch

if TYPE_CHECKING:
    from ..network import Network


@dataclass(frozen=True)
class Published(Rule):
    """The rule of the papers on a stream of single samples."""

    name: ClassVar[str] = "published"
    rate: float = 0.001
    forward_steps: int = 50

    def check(self, network: Network) -> None:
        """Raise NetworkError for absurd parameters, or layers that the rule cannot teach."""
        super().check(network)
        check_layers(self, network.layers, (Dense, Fields))

    def start_std(self, fan_in: int, layer: int) -> float:
        """The papers start at 0.01, whatever the layer."""
        return 0.01

    def learnt_matrices(self, network: Network) -> tuple[str, ...]:
        """W1, W2, ..."""
        return tuple(f"W{layer}" for layer in range(1, len(network.shape)))

    def habit(self, build: Builder, z: Tensor) -> Tensor | None:
        """What the flow measures knowledge from, held during it; None for 0."""
        return None

    def learn_habit(self, build: Builder, decision: Tensor) -> None:
        """Follow the decisions, after the flow."""

    def emit(self, build: Builder, network: Network, x: Tensor, exponents: Mapping[str, int]) -> None:
        """One flow and one rank-1 update a layer."""
        last = len(network.layers)
        for number, start in enumerate(network.start_weights(), start=1):
            layer, grid = network.layers[number - 1], network.grids[number - 1]
            stage = Stage.declare(build, number, layer, grid, x, start, exponents[f"W{number}"])
            z, role = stage.knowledge, Role.OUTPUT if number == last else Role.SCRATCH
            name = "decision" if number == last else f"D{number}"
            decision = build.tensor(name, z.shape, build.profile.decision, role, Kind.DECISION, number)
            stage.forward(build, "infer", stage.view.see(build, "infer", x))
            build.sigmoid("infer", decision, z)
            seen = stage.view.see(build, "learn", x)
            stage.forward(build, "learn", seen)
            factor = stage.factor(build, seen, exponents[f"s{number}"])
            watch = Watch.before(build, "learn", z) if build.watched else None
            build.flow(
                "learn",
                factor,
                decision,
                z,
                stage.rate(build, "learn", seen, self.rate),
                steps=self.forward_steps - 1,
                rate=self.rate,
                row=stage.weights.size // z.size + 1,
                mean=self.habit(build, z),
            )
            if watch:
                watch.after_flow(build, "learn", factor)
            stage.learn(build, "learn", factor, seen)
            self.learn_habit(build, decision)
            x = decision
        choose(build, x)
        build.finish("learn")
