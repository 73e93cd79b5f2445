"""The competitive rule: layers whose neurons compete, without labels, and classes known by their mean decisions.

The hidden layers learn from every sample, labelled or not (`competition`).  The class layer is a nearest-prototype
readout: a labelled sample moves its class's prototype towards the last hidden layer's decisions.  No error is formed,
so learning one class leaves the others as they are: nothing is forgotten but by drift of the features below.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..builder import KNOWLEDGE, Builder
from ..errors import NetworkError
from ..layers import Dense, Grid
from ..operations import Kind, Role, Tensor
from .base import Rule, check_range, choose
from .competition import MAX_RATE, Competition, Matching

if TYPE_CHECKING:
    from ..network import Network

START_STD = 0.1


@dataclass(frozen=True)
class Competitive(Rule):
    """`rate`: the winner's; `conscience`: what a win costs; `class_rate`: of the prototype of a labelled class."""

    name: ClassVar[str] = "competitive"
    centred_inputs: ClassVar[bool] = True
    rate: float = 0.05
    forward_steps: int = 2
    conscience: float = 0.003
    class_rate: float = 0.05

    def check(self, network: Network) -> None:
        """Raise NetworkError for absurd parameters, or layers that the rule cannot teach."""
        super().check(network)
        Competition(self.rate, self.conscience).check(self.name)
        check_range(self, "class_rate", 0, MAX_RATE)
        hidden = network.layers[:-1]
        if not hidden or not all(layer.competes for layer in hidden) or not isinstance(network.shape[-1], int):
            raise NetworkError(
                f"rule {self.name}: shape {network}; needs inputs, layers that compete (16x12k10), and a number of "
                "classes"
            )

    def start_std(self, fan_in: int, layer: int) -> float:
        """Of prototypes, in units of their inputs' range."""
        return START_STD

    def emit(self, build: Builder, network: Network, x: Tensor, exponents: Mapping[str, int]) -> None:
        """Layer by layer, then the classes."""
        competition = Competition(self.rate, self.conscience)
        below = (x, x)
        starts = network.start_weights()
        for i, layer in enumerate(network.layers[:-1]):
            below = competition.layer(build, i + 1, layer, network.grids[i], starts[i], below)
        self._classes(build, network, below[0])
        choose(build, build.named("decision"))
        build.finish("learn")

    def _classes(self, build: Builder, network: Network, x: Tensor) -> None:
        number, count = len(network.layers) - 1, network.widths[-1]
        start = np.zeros((count, x.size))
        made = Matching.declare(build, number, Dense(count), Grid.of(x.size), x, start, prefix="class_")
        z = build.scratch(f"class_z{number}", (count,), KNOWLEDGE, Kind.KNOWLEDGE, number)
        decision = build.tensor("decision", (count,), build.profile.decision, Role.OUTPUT, Kind.DECISION, number)
        for section in ("infer", "learn"):
            made.forward(build, section, x)
            build.sigmoid(section, decision, made.know(build, section, z))
        label, each = build.label, build.classes(count)
        factor = build.scratch(f"class_s{number}", (count,), made.factor(x), Kind.FACTOR, number)
        rate = build.constant("class_rate", self.class_rate, factor.format, Kind.RATE)
        build.select("learn", factor, label, "eq", each, rate, build.zero)
        made.move(build, factor, x)
