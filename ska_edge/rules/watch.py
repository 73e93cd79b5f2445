"""What a monitor needs, as integer sums that a step leaves behind: five numbers a layer.

    knowledge  sum z^2                     shift      sum dD^2
    movement   sum dz^2 (knowledge flow)   alignment  sum z dD, for the cosine alignment
    net        sum dz (D - z D' / ln 2), the tensor net (arXiv 2504.03214; design 2)

On a stream dz is the third factor s, what the whole flow moved but for the positive factor 1 + |x|^2, and dD is s D'.
In the papers' schedule dz and dD are the steps' own.  Nothing here feeds back: with or without it the same is learnt.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..builder import LN2, Builder
from ..fixed import Format
from ..operations import Kind, Role, Tensor

SUMS = ("knowledge", "movement", "shift", "alignment", "net")
_DECISION = Format(16, -15)
_SLOPED = Format(16, -17)  # |z D'| <= 0.2239
_LEAN = Format(16, -14)  # |D - z D' / ln 2| <= 1.33


@dataclass(frozen=True)
class Watch:
    """The tensors one layer is watched through, in one section: z, D', z D' and D - z D' / ln 2."""

    z: Tensor
    slope: Tensor
    sloped: Tensor
    lean: Tensor

    @classmethod
    def before(cls, build: Builder, section: str, z: Tensor, decision: Tensor | None = None) -> Watch:
        """Note what depends on z, before the flow overwrites it; `decision` is D in 15 bits where it is there."""
        layer = z.layer or 0

        def scratch(name: str, fmt: Format) -> Tensor:
            return build.scratch(f"watch{layer}.{name}", z.shape, fmt, Kind.OTHER, layer)

        d = decision or build.sigmoid(section, scratch("decision", _DECISION), z)
        slope = build.scale(section, scratch("slope", _DECISION), d, d, gain=-1, c=d)
        sloped = build.scale(section, scratch("sloped", _SLOPED), z, slope)
        per_ln2 = build.constant("per_ln2", 1.0 / LN2, Format(16, -14), Kind.OTHER)
        lean = build.scale(section, scratch("lean", _LEAN), sloped, per_ln2, gain=-1, c=d)
        return cls(z, slope, sloped, lean)

    def after_flow(self, build: Builder, section: str, factor: Tensor) -> None:
        """The five sums of a flow: dz is its third factor, dD = D' dz."""
        fmt = Format(16, factor.format.exponent - 2)  # D' <= 1/4
        layer = self.z.layer or 0
        shift = build.scratch(f"watch{layer}.shift", self.z.shape, fmt, Kind.OTHER, layer)
        build.scale(section, shift, factor, self.slope)
        self._sum(build, section, "alignment", factor, self.sloped)
        self._sum(build, section, "shift", shift, shift)
        self._moved(build, section, factor)

    def after_step(self, build: Builder, section: str, moved: Tensor, shift: Tensor) -> None:
        """The five sums of a step of the papers' schedule: dz and dD [batch, neurons] are at hand."""
        self._sum(build, section, "alignment", self.z, shift)
        self._sum(build, section, "shift", shift, shift)
        self._moved(build, section, moved)

    def _moved(self, build: Builder, section: str, moved: Tensor) -> None:
        self._sum(build, section, "knowledge", self.z, self.z)
        self._sum(build, section, "movement", moved, moved)
        self._sum(build, section, "net", moved, self.lean)

    def _sum(self, build: Builder, section: str, name: str, a: Tensor, b: Tensor) -> None:
        """A sum over all neurons (and samples), exact, in 64 bits."""
        fmt = Format(64, a.format.exponent + b.format.exponent)
        layer = self.z.layer or 0
        out = build.tensor(f"watch{layer}.{name}.sum", (), fmt, Role.OUTPUT, Kind.NORM, layer)
        axes = "no"[-len(self.z.shape) :]
        build.contract(section, out, a, b, f"{axes},{axes}->")
