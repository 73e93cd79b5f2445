"""The guided rule: a decision head per hidden layer, clamped to the label, tells the layer which way to decide.

The head's decisions are P = sigmoid(M D + c).  Clamping them to the target y is a decision shift dD = y - P, and the
entropy gradient of a clamped decision is g = -(1/ln 2) dD = e / ln 2 with e = P - y: the head learns by it, and each
hidden neuron feels the sum of what the head's neurons feel, (M e) D', held during its own flow:

    g = (1/ln 2) (-a (z D' + dD) + (M e) D'),   a = 2^-entropy_shift

It minimises the head's cross-entropy in bits plus a times the layer's own entropy.  No signal crosses a layer.  Said
plainly: with a learnt head, a layer below its head is backprop through one layer; what it never does is pass an error
from one hidden layer to the next.  `code` heads hold fixed signs instead, drawn from the lattice: no memory, no weight
transport, every neuron knows only its own code.  The class layer is the last hidden layer's head, and always learnt.

Bound: |e| <= 1, and the drive saturates at 8 (SPEC 1.3), so |g| <= (0.22 a + a + 8/4) / ln 2 < 4.7 in every step.

`tolerance` rounds e to its multiples: a class decision nearer than half of it to its target teaches nothing more.
`grain` rounds what a hidden weight's update would be at an input of 1 to multiples of grain * LSB.  Both stop churn of
dithered rounding in narrow weights: its noise is about |update| * LSB, so every update that need not be made counts.
Weights that places share have no grain: theirs is one update, of the sum over all places.

An unlabelled sample (label -1) teaches nothing by default (`unlabelled="ignore"`), or through the entropy term alone
(`"entropy"`), which saturates in the end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..builder import KNOWLEDGE, Builder
from ..errors import NetworkError
from ..fixed import FloatArray, Format, lattice_offset
from ..layers import Convolution, Dense, Fields, Grid, Layer
from ..operations import Kind, Role, Site, Tensor
from .base import Rule, check_layers, check_names, check_range, choose
from .competition import Competition
from .masking import masked
from .stage import OWN_DECISION, Stage, hand_on, rectified
from .watch import Watch

if TYPE_CHECKING:
    from ..network import Network

MAX_ANNEAL = 30  # a table's segment has at most 2^30 steps
_VOTE = Format(16, -8)  # room for the heads of 64 layers
_READOUTS = ("last", "sum")
_HEADS = ("learnt", "code")
_UNLABELLED = ("ignore", "entropy")
_TOLERANCES = {2.0**-k: k for k in range(1, 9)}
_GRAINS = tuple(2.0**-k for k in range(9))

DEEP: Mapping[str, Any] = {
    "rectified": True,
    "gain": 4.0,
    "head_start": 8.0,
    "tolerance": 0.125,
    "grain": 0.0,
    "entropy_shift": 15,
    "readout": "sum",
}
"""Settings for networks of several hidden layers (docs/rules.md, Depth); the defaults are made for one."""


@dataclass(frozen=True)
class Above:
    """What one hidden layer is made of: its kind, where its inputs lie, start weights of the layer and of its head.

    `is_first`, `is_last`: of the guided layers.
    """

    layer: Layer
    grid: Grid
    start: FloatArray
    head: FloatArray
    is_first: bool
    is_last: bool


@dataclass(frozen=True)
class Guided(Rule):
    """Labels guide every hidden layer through its own head.

    `head_rate`: the head's normalised rate.  `entropy_shift`: the layer's own entropy counts 2^-entropy_shift as much
    as the drive.  `tolerance`: a power of two.
    """

    name: ClassVar[str] = "guided"
    centred_inputs: ClassVar[bool] = True
    rate: float = 0.03
    forward_steps: int = 8
    head_rate: float = 0.2
    entropy_shift: int = 5
    tolerance: float = 0.25
    target: float = 0.95
    grain: float = 0.25
    gain: float = 1.0
    head_start: float = 2.0
    mask: float = 0.0
    rectified: bool = False
    anneal: int = 0
    anneal_floor: float = 0.05
    competition_rate: float = 0.05
    conscience: float = 0.003
    heads: str = "learnt"
    unlabelled: str = "ignore"
    readout: str = "last"

    def check(self, network: Network) -> None:
        """Raise NetworkError for absurd parameters, or layers that the rule cannot teach."""
        super().check(network)
        check_layers(self, network.layers, (Dense, Fields, Convolution), competing=True)
        check_names([self.heads], _HEADS, f"rule {self.name}: heads")
        check_names([self.readout], _READOUTS, f"rule {self.name}: readout")
        check_names([self.unlabelled], _UNLABELLED, f"rule {self.name}: unlabelled")
        if len(network.shape) < 3 or not isinstance(network.shape[-1], int) or network.layers[-2].competes:
            raise NetworkError(
                f"rule {self.name}: shape {network}; needs inputs, at least one hidden layer, the last of which does "
                "not compete, and a number of classes"
            )
        competing = [layer.competes for layer in network.layers[:-1]]
        if self.readout == "sum" and competing != sorted(competing, reverse=True):
            raise NetworkError(
                f"rule {self.name}: readout sum of {network}: votes are handed up, and a layer that competes has none; "
                "such layers must come first"
            )
        Competition(self.competition_rate, self.conscience).check(self.name)
        for parameter, most in (("head_rate", 16), ("gain", 64), ("head_start", 64), ("anneal_floor", 1)):
            check_range(self, parameter, 0, most)
        if not 0 <= self.anneal <= MAX_ANNEAL:
            raise NetworkError(f"rule {self.name}: anneal {self.anneal}; allowed are 0 (never) to {MAX_ANNEAL}")
        if not 0 <= self.entropy_shift <= 15:
            raise NetworkError(f"rule {self.name}: entropy_shift {self.entropy_shift}; allowed are 0 to 15")
        check_range(self, "target", 0.5, 1)
        if not 0 <= self.mask < 1:
            raise NetworkError(f"rule {self.name}: mask {self.mask}; allowed is 0 to less than 1")
        if self.grain != 0 and self.grain not in _GRAINS:
            raise NetworkError(f"rule {self.name}: grain {self.grain}; allowed are 0, 1, 1/2, 1/4, ... 1/256")
        if self.tolerance not in _TOLERANCES:
            raise NetworkError(f"rule {self.name}: tolerance {self.tolerance}; allowed are 1/2, 1/4, ... 1/256")

    def start_std(self, fan_in: int, layer: int) -> float:
        """1 / sqrt(inputs) above samples; above decisions, which are small and half of them 0, four times as much."""
        return (1.0 if layer == 1 else self.gain) / math.sqrt(fan_in)

    def learnt_matrices(self, network: Network) -> tuple[str, ...]:
        """W1 .. and the heads H1 .. that are learnt; the class layer is the last head."""
        last = len(network.layers) - 1
        guided = [i for i, layer in enumerate(network.layers[:-1], start=1) if not layer.competes]
        return (*(f"W{i}" for i in guided), *(f"H{i}" for i in guided if self.learns_head(i, last)))

    def learns_head(self, layer: int, hidden_layers: int) -> bool:
        """Whether the head of this hidden layer is learnt (the class layer always is)."""
        return self.heads == "learnt" or layer == hidden_layers

    def start_heads(self, network: Network) -> list[FloatArray]:
        """[classes, neurons] for every hidden layer: codes of +-1/2, or start weights of head_start / sqrt(neurons)."""
        classes, widths = network.widths[-1], network.widths[1:-1]
        heads = []
        for layer, width in enumerate(widths, start=1):
            c, j = np.mgrid[0:classes, 0:width]
            signs = np.where(lattice_offset(j, c, layer) & 0x8000, 1.0, -1.0)
            heads.append(signs * (self.head_start / math.sqrt(width) if self.learns_head(layer, len(widths)) else 0.5))
        return heads

    def emit(self, build: Builder, network: Network, x: Tensor, exponents: Mapping[str, int]) -> None:
        """Layer by layer: decide, let the head judge, flow, learn the layer, learn the head."""
        below = (x, masked(build, x, self.mask))
        competition = Competition(self.competition_rate, self.conscience)
        hidden = len(network.layers) - 1
        starts, heads = network.start_weights(), self.start_heads(network)
        for i in range(hidden):
            layer, grid = network.layers[i], network.grids[i]
            if layer.competes:
                below = competition.layer(build, i + 1, layer, grid, starts[i], below)
            else:
                first = not i or network.layers[i - 1].competes
                above = Above(layer, grid, starts[i], heads[i], is_first=first, is_last=i == hidden - 1)
                below = self._layer(build, i + 1, below, above, exponents)
        choose(build, build.named("decision" if self.readout == "last" else f"vote{hidden}"))
        build.finish("learn")

    def _layer(
        self, build: Builder, layer: int, below: tuple[Tensor, Tensor], above: Above, exponents: Mapping[str, int]
    ) -> tuple[Tensor, Tensor]:
        """One hidden layer and its head; `below` and the result: what a next layer reads, in `infer` and in `learn`."""
        stage = Stage.declare(build, layer, above.layer, above.grid, below[0], above.start, exponents[f"W{layer}"])
        z = stage.knowledge
        own = build.scratch(f"D{layer}", z.shape, self._own(build), Kind.OTHER, layer)
        signal = build.scratch(f"C{layer}", z.shape, self._signal(build), Kind.DECISION, layer)
        head = self._head(build, layer, signal, above, exponents.get(f"H{layer}"))
        for section, source in zip(("infer", "learn"), below, strict=True):
            seen = stage.view.see(build, section, source)
            stage.forward(build, section, seen)
            build.sigmoid(section, own, z)
            self._hand_on(build, section, signal, own)
            if above.is_last or section == "learn" or self.readout == "sum":
                head.forward(build, section, signal)
                build.sigmoid(section, self._head_decision(build, head, above.is_last), head.knowledge)
                if self.readout == "sum":
                    self._vote(build, section, head, above)
        error = self._error(build, layer, head, above)

        drive = build.scratch(f"drive{layer}", z.shape, KNOWLEDGE, Kind.DRIVE, layer)
        neurons = "hij"[: len(z.shape)]
        build.contract("learn", drive, head.weights, error, f"c{neurons},c->{neurons}")
        rate = self._annealed(build, stage.rate(build, "learn", seen, self.rate))
        rate = self._gate(build, layer, rate, error)
        factor = stage.factor(build, seen, exponents[f"s{layer}"])
        kept = build.scratch(f"D{layer}.kept", z.shape, self._own(build), Kind.OTHER, layer)
        watch = Watch.before(build, "learn", z) if build.watched else None
        build.flow(
            "learn",
            factor,
            kept,
            z,
            rate,
            steps=1 if stage.shared else self.forward_steps - 1,
            rate=self.rate,
            row=seen.size + 1,
            drive=drive,
            entropy_shift=self.entropy_shift,
            emit_first=True,  # neither the head nor the layer above may see what the label did to this layer
        )
        if self.rectified:
            moving = build.scratch(f"s{layer}.moving", z.shape, factor.format, Kind.FACTOR, layer)
            factor = build.select("learn", moving, build.half, "lt", kept, factor, build.zero)
        # The entropy term alone moves less than a grain, and so does one place of many that share their weights.
        grain = 0.0 if stage.shared or self.unlabelled == "entropy" else self.grain
        factor = build.coarsened("learn", factor, stage.weights, seen, grain)
        if watch:
            watch.after_flow(build, "learn", factor)
        stage.learn(build, "learn", factor, seen)
        handed_on = build.scratch(f"C{layer}.kept", z.shape, signal.format, Kind.DECISION, layer)
        self._hand_on(build, "learn", handed_on, kept)
        if head.weights.role is Role.STATE:
            head_rate = build.normalised_rate("learn", f"h{layer}", handed_on, self.head_rate, layer)
            head_rate = self._annealed(build, head_rate)
            factor_format = build.factor_format(head.weights, handed_on, exponents[f"hs{layer}"])
            head_factor = build.scratch(f"hs{layer}", error.shape, factor_format, Kind.FACTOR, layer)
            build.scale("learn", head_factor, error, head_rate, gain=-1, dither_row=handed_on.size + 1)
            build.learn_dense("learn", head.weights, head.bias, head_factor, handed_on)
        return signal, handed_on

    @property
    def counter_bits(self) -> int:
        """An annealed rate must not start again when 16 bits wrap."""
        return 32 if self.anneal else 16

    def _annealed(self, build: Builder, rate: Tensor) -> Tensor:
        return build.annealed("learn", rate, self.anneal, self.anneal_floor) if self.anneal else rate

    def _own(self, build: Builder) -> Format:
        """A layer's own decisions: 15 bits where half of them goes, that all bits of the other half say something."""
        return OWN_DECISION if self.rectified else build.profile.decision

    def _signal(self, build: Builder) -> Format:
        """What a layer hands on: D - 1/2 where it is positive, in all the profile's bits; or with its sign."""
        signed = Format(build.profile.decision.bits, build.profile.decision.exponent)
        return rectified(build) if self.rectified else signed

    def _hand_on(self, build: Builder, section: str, out: Tensor, own: Tensor) -> None:
        if self.rectified:
            hand_on(build, section, out, own)
        else:
            build.scale(section, out, build.half, gain=-1, c=own)

    def _head(self, build: Builder, layer: int, x: Tensor, above: Above, exponent: int | None) -> Stage:
        fixed, grid = exponent is None, Grid.of(x.size)
        at = -2 if exponent is None else exponent
        return Stage.declare(
            build, layer, Dense(len(above.head)), grid, x, above.head, at, prefix="head_", kind=Kind.HEAD, fixed=fixed
        )

    def _vote(self, build: Builder, section: str, head: Stage, above: Above) -> None:
        """Votes are handed up with the decisions: those from below and the own head's."""
        layer, own = head.number, self._head_decision(build, head, above.is_last)
        vote = build.scratch(f"vote{layer}", own.shape, _VOTE, Kind.DECISION, layer)
        below = None if above.is_first else build.named(f"vote{layer - 1}")
        build.scale(section, vote, own, c=below)

    def _head_decision(self, build: Builder, head: Stage, is_last: bool) -> Tensor:
        name, role = ("decision", Role.OUTPUT) if is_last else (f"head_D{head.number}", Role.SCRATCH)
        shape = head.knowledge.shape
        return build.tensor(name, shape, build.profile.decision, role, Kind.DECISION, head.number)

    def _gate(self, build: Builder, layer: int, rate: Tensor, error: Tensor) -> Tensor:
        """The rate, or 0 where every class is within tolerance: a sample that is known teaches nothing."""
        zero = build.zero
        surprise = build.scratch(f"surprise{layer}", (), Format(16, 2 * error.format.exponent), Kind.ERROR, layer)
        build.contract("learn", surprise, error, error, "c,c->", site=Site.SOMA)
        gated = build.scratch(f"x{layer}.gated", (), rate.format, Kind.RATE, layer)
        build.select("learn", gated, surprise, "eq", zero, zero, rate)
        if self.unlabelled == "ignore":
            return gated
        free = build.scratch(f"x{layer}.free", (), rate.format, Kind.RATE, layer)
        return build.select("learn", free, build.label, "lt", zero, rate, gated)

    def _error(self, build: Builder, layer: int, head: Stage, above: Above) -> Tensor:
        """E = P - target, 0 without a label, rounded to multiples of the tolerance; the class layer's entropy."""
        label, zero, classes = build.label, build.zero, len(above.head)
        decision_format = build.profile.decision
        each = build.classes(classes)
        sure = build.constant("sure", self.target, decision_format, Kind.OTHER)
        unsure = build.constant("unsure", 1.0 - self.target, decision_format, Kind.OTHER)
        error_format = Format(16, decision_format.exponent)
        target = build.scratch(f"target{layer}", (classes,), error_format, Kind.OTHER, layer)
        build.select("learn", target, label, "eq", each, sure, unsure)
        miss = build.scratch(f"miss{layer}", (classes,), error_format, Kind.ERROR, layer)
        build.scale("learn", miss, target, c=self._head_decision(build, head, above.is_last), gain=-1)
        fine = build.scratch(f"fine{layer}", (classes,), error_format, Kind.ERROR, layer)
        build.select("learn", fine, label, "lt", zero, zero, miss)
        if above.is_last:
            build.clamped_entropy("learn", head.knowledge, fine)
        error = build.scratch(
            f"e{layer}",
            (classes,),
            Format(_TOLERANCES[self.tolerance] + 2, -_TOLERANCES[self.tolerance]),
            Kind.ERROR,
            layer,
        )
        return build.scale("learn", error, fine)
