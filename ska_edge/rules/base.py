"""What a rule is: parameters, a check, and how it writes itself into a Program."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..builder import FACTOR_BITS, Builder
from ..errors import NetworkError
from ..fixed import Format
from ..layers import Layer
from ..operations import Arg, Kind, Role, Tensor

if TYPE_CHECKING:
    from ..network import Network

MAX_FORWARD_STEPS = 1024
MAX_RATE = 5.0


@dataclass(frozen=True)
class Rule(ABC):
    """A local, forward-only learning rule.

    `rate`: rho = eta * (1 + |x|^2), the share by which one forward step moves a neuron's knowledge, the same for every
    sample (a normalised rate).  `forward_steps`: K, forward passes of one sample through a layer; K - 1 updates.
    """

    name: ClassVar[str]
    schedule: ClassVar[str] = "layerwise"
    """`layerwise`: one sample, layer by layer; `paper`: one batch, all layers in every step."""
    centred_inputs: ClassVar[bool] = False
    """Whether samples learn better with each feature's mean subtracted."""
    rate: float
    forward_steps: int

    @property
    def counter_bits(self) -> int:
        """Bits of the update counter t: 16 are all that the lattice needs."""
        return 16

    def check(self, network: Network) -> None:
        """Raise NetworkError for absurd parameters, or layers that the rule cannot teach."""
        if not (math.isfinite(self.rate) and 0 < self.rate < MAX_RATE):
            raise NetworkError(f"rule {self.name}: rate {self.rate}; allowed is more than 0 and less than {MAX_RATE:g}")
        if not 2 <= self.forward_steps <= MAX_FORWARD_STEPS:
            raise NetworkError(
                f"rule {self.name}: {self.forward_steps} forward steps; allowed are 2 to {MAX_FORWARD_STEPS} "
                "(the first only fills D)"
            )

    @abstractmethod
    def start_std(self, fan_in: int, layer: int) -> float:
        """Standard deviation of the start weights of a layer (counted from 1)."""

    def input_shape(self, features: int) -> tuple[int, ...]:
        """Shape of the Program's input: one sample."""
        return (features,)

    def learnt_matrices(self, network: Network) -> tuple[str, ...]:
        """Names of the matrices whose range a rehearsal finds: none, where all stay within the range of their inputs.

        Calibration gives `emit` an exponent for each and one for its factor: "W1" and "s1", "H1" and "hs1".
        """
        return ()

    @abstractmethod
    def emit(self, build: Builder, network: Network, x: Tensor, exponents: Mapping[str, int]) -> None:
        """Write the sections `infer` and `learn`, ending in outputs `decision` and `choice`."""


def choose(build: Builder, decision: Tensor) -> None:
    """The output `choice`: the first of the largest decisions, in `infer` and `learn`."""
    layer = decision.layer or 0
    choice = build.tensor("choice", (), Format(FACTOR_BITS, 0), Role.OUTPUT, Kind.CHOICE, layer)
    for section in ("infer", "learn"):
        row = decision
        if len(decision.shape) > 1:  # `arg` looks along one axis
            everything = build.indices("everything", np.arange(decision.size), decision.size, layer)
            row = build.scratch("in_a_row", (decision.size,), decision.format, Kind.DECISION, layer)
            build.gather(section, row, decision, everything)
        build.emit(section, Arg(choice.name, row.name, layer=layer))


def check_layers(rule: Rule, layers: Sequence[Layer], allowed: Sequence[type], competing: bool = False) -> None:
    """Raise NetworkError where a layer is of a kind that a rule cannot teach."""
    for layer in layers:
        if type(layer) not in allowed or (layer.competes and not competing):
            names = ", ".join(kind.__name__ for kind in allowed)
            limit = "" if competing else ", whose neurons do not compete"
            raise NetworkError(f"rule {rule.name}: cannot teach layer {layer}; it teaches {names}{limit}")


def check_range(rule: Rule, parameter: str, least: float, most: float) -> None:
    """Raise NetworkError where a parameter is not above `least`, and at most `most`."""
    value = getattr(rule, parameter)
    if not least < value <= most:
        raise NetworkError(f"rule {rule.name}: {parameter} {value}; allowed is more than {least:g}, at most {most:g}")


def check_names(found: Sequence[str], allowed: Sequence[str], what: str) -> None:
    """Raise NetworkError where a name is not among those allowed."""
    for name in found:
        if name not in allowed:
            raise NetworkError(f"{what} {name!r}: allowed are {', '.join(allowed)}")
