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

An unlabelled sample (label -1) teaches nothing by default (`unlabelled="ignore"`), or through the entropy term alone
(`"entropy"`), which saturates in the end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..builder import FACTOR_BITS, KNOWLEDGE, Builder
from ..errors import NetworkError
from ..fixed import FloatArray, Format, lattice_offset
from ..operations import Arg, Kind, Role, Site, Tensor
from .base import DenseLayer, Rule, check_names
from .watch import Watch

_HEADS = ("learnt", "code")
_UNLABELLED = ("ignore", "entropy")
_TOLERANCES = {2.0**-k: k for k in range(1, 9)}
_GRAINS = tuple(2.0**-k for k in range(9))


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
    heads: str = "learnt"
    unlabelled: str = "ignore"

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise NetworkError for absurd parameters."""
        super().check(shape)
        check_names([self.heads], _HEADS, f"rule {self.name}: heads")
        check_names([self.unlabelled], _UNLABELLED, f"rule {self.name}: unlabelled")
        if len(shape) < 3:
            raise NetworkError(f"rule {self.name}: shape {shape}; needs inputs, at least one hidden layer, and classes")
        if not 0 < self.head_rate < 16:
            raise NetworkError(f"rule {self.name}: head_rate {self.head_rate}; allowed is more than 0 and less than 16")
        if not 0 <= self.entropy_shift <= 15:
            raise NetworkError(f"rule {self.name}: entropy_shift {self.entropy_shift}; allowed are 0 to 15")
        if not 0.5 < self.target <= 1:
            raise NetworkError(f"rule {self.name}: target {self.target}; allowed is more than 0.5, at most 1")
        if self.grain != 0 and self.grain not in _GRAINS:
            raise NetworkError(f"rule {self.name}: grain {self.grain}; allowed are 0, 1, 1/2, 1/4, ... 1/256")
        if self.tolerance not in _TOLERANCES:
            raise NetworkError(f"rule {self.name}: tolerance {self.tolerance}; allowed are 1/2, 1/4, ... 1/256")

    def start_std(self, fan_in: int) -> float:
        """1 / sqrt(inputs), so that knowledge starts near unit size."""
        return 1.0 / math.sqrt(fan_in)

    def learnt_matrices(self, shape: tuple[int, ...]) -> tuple[str, ...]:
        """W1 .. and the heads H1 .. that are learnt; the class layer is the last head."""
        hidden = range(1, len(shape) - 1)
        return (*(f"W{i}" for i in hidden), *(f"H{i}" for i in hidden if self.learns_head(i, len(hidden))))

    def learns_head(self, layer: int, hidden_layers: int) -> bool:
        """Whether the head of this hidden layer is learnt (the class layer always is)."""
        return self.heads == "learnt" or layer == hidden_layers

    def start_heads(self, starts: Sequence[FloatArray]) -> list[FloatArray]:
        """One [classes, neurons] matrix a hidden layer: codes of +-1/2, or start weights of 2 / sqrt(neurons)."""
        classes, hidden_layers = starts[-1].shape[0], len(starts) - 1
        heads = []
        for layer, width in enumerate((start.shape[0] for start in starts[:-1]), start=1):
            c, j = np.mgrid[0:classes, 0:width]
            signs = np.where(lattice_offset(j, c, layer) & 0x8000, 1.0, -1.0)
            heads.append(signs * (2.0 * self.start_std(width) if self.learns_head(layer, hidden_layers) else 0.5))
        heads[-1] = 2.0 * starts[-1]
        return heads

    def emit(self, build: Builder, starts: Sequence[FloatArray], x: Tensor, exponents: Mapping[str, int]) -> None:
        """Layer by layer: decide, let the head judge, flow, learn the layer, learn the head."""
        heads = self.start_heads(starts)
        below = (x, x)
        for layer, (start, head) in enumerate(zip(starts[:-1], heads, strict=True), start=1):
            below = self._layer(build, layer, below, start, head, exponents, is_last=layer == len(heads))
        choice = build.tensor("choice", (), Format(FACTOR_BITS, 0), Role.OUTPUT, Kind.CHOICE, len(heads))
        for section in ("infer", "learn"):
            build.emit(section, Arg(choice.name, "decision", layer=len(heads)))
        build.finish("learn")

    def _layer(
        self,
        build: Builder,
        layer: int,
        below: tuple[Tensor, Tensor],
        start: FloatArray,
        head_start: FloatArray,
        exponents: Mapping[str, int],
        *,
        is_last: bool,
    ) -> tuple[Tensor, Tensor]:
        """One hidden layer and its head; `below` and the result: what a next layer reads, in `infer` and in `learn`."""
        width, classes = start.shape[0], head_start.shape[0]
        seen, x = below
        dense = DenseLayer.declare(build, layer, x, start, exponents[f"W{layer}"])
        centred = build.scratch(f"C{layer}", (width,), _centred(build), Kind.DECISION, layer)
        head = self._head(build, layer, centred, head_start, exponents.get(f"H{layer}"), is_last)
        for section, source in (("infer", seen), ("learn", x)):
            dense.forward(build, section, source)
            build.scale(section, centred, dense.decision, c=self._minus_half(build))
            if is_last or section == "learn":
                head.forward(build, section, centred)
        error = self._error(build, layer, head, classes, is_last)

        drive = build.scratch(f"drive{layer}", (width,), KNOWLEDGE, Kind.DRIVE, layer)
        build.contract("learn", drive, head.weights, error, "ch,c->h")
        rate = build.normalised_rate("learn", f"x{layer}", x, self.rate, layer)
        rate = self._gate(build, layer, rate, error)
        factor_format = build.factor_format(dense.weights, x, exponents[f"s{layer}"])
        factor = build.scratch(f"s{layer}", (width,), factor_format, Kind.FACTOR, layer)
        kept = build.scratch(f"D{layer}.kept", (width,), build.profile.decision, Kind.DECISION, layer)
        watch = Watch.before(build, "learn", dense.knowledge) if build.watched else None
        build.flow(
            "learn",
            factor,
            kept,
            dense.knowledge,
            rate,
            steps=self.forward_steps - 1,
            rate=self.rate,
            row=x.size + 1,
            drive=drive,
            entropy_shift=self.entropy_shift,
            emit_first=True,  # neither the head nor the layer above may see what the label did to this layer
        )
        grain = 0.0 if self.unlabelled == "entropy" else self.grain  # the entropy term alone moves less than a grain
        factor = build.coarsened("learn", factor, dense.weights, x, grain)
        if watch:
            watch.after_flow(build, "learn", factor)
        build.learn_dense("learn", dense.weights, dense.bias, factor, x)
        handed_on = build.scratch(f"C{layer}.kept", (width,), _centred(build), Kind.DECISION, layer)
        build.scale("learn", handed_on, kept, c=self._minus_half(build))
        if head.learnt:
            head_rate = build.normalised_rate("learn", f"h{layer}", handed_on, self.head_rate, layer)
            factor_format = build.factor_format(head.weights, handed_on, exponents[f"hs{layer}"])
            head_factor = build.scratch(f"hs{layer}", (classes,), factor_format, Kind.FACTOR, layer)
            build.scale("learn", head_factor, error, head_rate, gain=-1, dither_row=width + 1)
            build.learn_dense("learn", head.weights, head.bias, head_factor, handed_on)
        return centred, handed_on

    def _head(
        self, build: Builder, layer: int, x: Tensor, start: FloatArray, exponent: int | None, is_last: bool
    ) -> DenseLayer:
        decision = None
        if is_last:
            shape = (start.shape[0],)
            decision = build.tensor("decision", shape, build.profile.decision, Role.OUTPUT, Kind.DECISION, layer)
        if exponent is not None:
            return DenseLayer.declare(
                build, layer, x, start, exponent, prefix="head_", kind=Kind.HEAD, decision=decision
            )
        return DenseLayer.fixed(build, layer, x, start, prefix="head_")

    def _label(self, build: Builder) -> Tensor:
        return build.tensor("label", (), Format(16, 0), Role.INPUT, Kind.LABEL)

    def _gate(self, build: Builder, layer: int, rate: Tensor, error: Tensor) -> Tensor:
        """The rate, or 0 where every class is within tolerance: a sample that is known teaches nothing."""
        zero = self._zero(build)
        surprise = build.scratch(f"surprise{layer}", (), Format(16, 2 * error.format.exponent), Kind.ERROR, layer)
        build.contract("learn", surprise, error, error, "c,c->", site=Site.SOMA)
        gated = build.scratch(f"x{layer}.gated", (), rate.format, Kind.RATE, layer)
        build.select("learn", gated, surprise, "eq", zero, zero, rate)
        if self.unlabelled == "ignore":
            return gated
        free = build.scratch(f"x{layer}.free", (), rate.format, Kind.RATE, layer)
        return build.select("learn", free, self._label(build), "lt", zero, rate, gated)

    def _minus_half(self, build: Builder) -> Tensor:
        return build.constant("minus_half", -0.5, Format(2, -1), Kind.OTHER)

    def _zero(self, build: Builder) -> Tensor:
        return build.constant("zero", 0.0, Format(2, 0), Kind.OTHER)

    def _error(self, build: Builder, layer: int, head: DenseLayer, classes: int, is_last: bool) -> Tensor:
        """E = P - target, 0 without a label, rounded to multiples of the tolerance; the class layer's entropy."""
        label, zero = self._label(build), self._zero(build)
        decision_format = build.profile.decision
        each = build.constant("classes", list(range(classes)), Format(16, 0), Kind.OTHER)
        sure = build.constant("sure", self.target, decision_format, Kind.OTHER)
        unsure = build.constant("unsure", 1.0 - self.target, decision_format, Kind.OTHER)
        error_format = Format(16, decision_format.exponent)
        target = build.scratch(f"target{layer}", (classes,), error_format, Kind.OTHER, layer)
        build.select("learn", target, label, "eq", each, sure, unsure)
        miss = build.scratch(f"miss{layer}", (classes,), error_format, Kind.ERROR, layer)
        build.scale("learn", miss, target, c=head.decision, gain=-1)
        fine = build.scratch(f"fine{layer}", (classes,), error_format, Kind.ERROR, layer)
        build.select("learn", fine, label, "lt", zero, zero, miss)
        if is_last:
            build.clamped_entropy("learn", head.knowledge, fine)
        error = build.scratch(
            f"e{layer}",
            (classes,),
            Format(_TOLERANCES[self.tolerance] + 2, -_TOLERANCES[self.tolerance]),
            Kind.ERROR,
            layer,
        )
        return build.scale("learn", error, fine)


def _centred(build: Builder) -> Format:
    """D - 1/2, exact: the same bits with a sign."""
    return Format(build.profile.decision.bits, build.profile.decision.exponent)
