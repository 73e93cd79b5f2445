"""Writing Programs: declare tensors, emit operations; shifts follow from exponents.

Rules compose primitives through this class, so that no rule ever writes a shift by hand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import NetworkError
from .fixed import Format, IntArray, quantise
from .operations import (
    Advance,
    Contract,
    Flow,
    Gather,
    Kind,
    Lut,
    Op,
    OuterUpdate,
    Pool,
    Role,
    Rounding,
    Scale,
    Select,
    Site,
    Tensor,
    Update,
)
from .profiles import Profile
from .program import Encoding, Program
from .proof import prove

KNOWLEDGE = Format(16, -12)  # z in [-8, 8): sigmoid(8) is 1 within 15 bits
BIAS_EXPONENT = -11
ENTROPY = Format(64, KNOWLEDGE.exponent - 15)
FACTOR_BITS = 16
UPDATE_SHIFT = 16  # the lattice's own width: its offset is added as it is
NORM_BITS = 16
RATE_SEGMENTS = 64
BATCH_GAIN_BITS = 15  # of the factor rate / n; 8 would do
GUARD = 12  # fraction bits a flow keeps below z's own
LN2 = math.log(2.0)


class Builder:
    """Collects one Program.  `layer` of each call is the layer that owns what is made.

    `watched`: rules also write the sums that a monitor reads.
    """

    def __init__(self, profile: Profile, watched: bool = False, counter_bits: int = 16) -> None:
        self.profile = profile
        self.watched = watched
        self._tensors: dict[str, Tensor] = {}
        self._values: dict[str, IntArray] = {}
        self._sections: dict[str, list[Op]] = {}
        self.t = self._add(Tensor("t", (), Format(counter_bits, 0, signed=False), Role.STATE, Kind.COUNTER), 0)
        self._segment_width = 9 if profile.decision.exponent > -15 else 8  # 128 or 256 segments of the sigmoid
        knots = np.arange(KNOWLEDGE.lo, KNOWLEDGE.hi + 2, 1 << self._segment_width) * KNOWLEDGE.lsb
        self._sigmoid = self.constant("sigmoid", 1.0 / (1.0 + np.exp(-knots)), Format(16, -15), Kind.TABLE)

    # -- tensors ------------------------------------------------------------------------------------------------

    def _add(self, tensor: Tensor, values: npt.ArrayLike | None = None) -> Tensor:
        self._tensors[tensor.name] = tensor
        if values is not None:
            self._values[tensor.name] = np.array(values, np.int64)
        return tensor

    def constant(self, name: str, values: npt.ArrayLike, fmt: Format, kind: Kind, layer: int | None = None) -> Tensor:
        """A constant, quantised here."""
        raw = quantise(values, fmt)
        return self._add(Tensor(name, raw.shape, fmt, Role.CONST, kind, layer), raw)

    def state(self, name: str, values: npt.ArrayLike, fmt: Format, kind: Kind, layer: int) -> Tensor:
        """Something learnt, with its start values, quantised here."""
        raw = quantise(values, fmt)
        return self._add(Tensor(name, raw.shape, fmt, Role.STATE, kind, layer), raw)

    def indices(self, name: str, values: IntArray, count: int, layer: int) -> Tensor:
        """A constant of flat indices below `count`, in bytes or more: rows of nibbles would be padded."""
        fmt = Format(max(5, (count - 1).bit_length()), 0, signed=False)
        return self.constant(name, values, fmt, Kind.OTHER, layer)

    @property
    def label(self) -> Tensor:
        """The sample's label, -1 where it has none."""
        return self.tensor("label", (), Format(16, 0), Role.INPUT, Kind.LABEL)

    def classes(self, count: int) -> Tensor:
        """The numbers of all classes, to compare a label with."""
        return self.constant("classes", list(range(count)), Format(16, 0), Kind.OTHER)

    @property
    def half(self) -> Tensor:
        """The constant 1/2, as decisions of 15 bits are."""
        return self.constant("half", 0.5, Format(16, -15), Kind.OTHER)

    @property
    def zero(self) -> Tensor:
        """The constant 0."""
        return self.constant("zero", 0.0, Format(2, 0), Kind.OTHER)

    def tensor(
        self, name: str, shape: tuple[int, ...], fmt: Format, role: Role, kind: Kind, layer: int | None = None
    ) -> Tensor:
        """An input, output or scratch tensor; asking twice for the same gives the same."""
        tensor = Tensor(name, shape, fmt, role, kind, layer)
        if self._tensors.get(name, tensor) != tensor:
            raise NetworkError(f"tensor {name}: declared twice, differently")
        return self._add(tensor)

    def scratch(self, name: str, shape: tuple[int, ...], fmt: Format, kind: Kind, layer: int) -> Tensor:
        """A scratch tensor."""
        return self.tensor(name, shape, fmt, Role.SCRATCH, kind, layer)

    def named(self, name: str) -> Tensor:
        """A tensor declared before."""
        return self._tensors[name]

    # -- operations ---------------------------------------------------------------------------------------------

    def emit(self, section: str, op: Op) -> None:
        """Append an operation to a section."""
        self._sections.setdefault(section, []).append(op)

    def contract(
        self,
        section: str,
        out: Tensor,
        a: Tensor,
        b: Tensor,
        axes: str,
        *,
        c: Tensor | None = None,
        gain: int = 1,
        halvings: int = 0,
        site: Site = Site.SYNAPSE,
    ) -> Tensor:
        """Out = gain * sum a*b / 2^halvings (+ c) in real terms, rounded to out's format."""
        product = a.format.exponent + b.format.exponent - halvings
        self.emit(
            section,
            Contract(
                out.name,
                a.name,
                b.name,
                axes,
                c=c.name if c else None,
                c_shift=c.format.exponent - product if c else 0,
                gain=gain,
                shift=out.format.exponent - product,
                rounding=Rounding.HALF,
                layer=out.layer,
                site=site,
            ),
        )
        return out

    def scale(
        self,
        section: str,
        out: Tensor,
        a: Tensor,
        b: Tensor | None = None,
        *,
        c: Tensor | None = None,
        gain: int = 1,
        dither_row: int | None = None,
    ) -> Tensor:
        """Out = gain * a*b (+ c) in real terms; half-up, or dithered as input `dither_row` of the lattice."""
        product = a.format.exponent + (b.format.exponent if b else 0)
        dithered = dither_row is not None
        self.emit(
            section,
            Scale(
                out.name,
                a.name,
                b.name if b else None,
                c=c.name if c else None,
                t=self.t.name if dithered else None,
                c_shift=c.format.exponent - product if c else 0,
                gain=gain,
                shift=out.format.exponent - product,
                rounding=Rounding.LATTICE if dithered else Rounding.HALF,
                row=dither_row or 0,
                layer=out.layer,
            ),
        )
        return out

    def gather(self, section: str, out: Tensor, a: Tensor, index: Tensor) -> Tensor:
        """Out = a at flat indices."""
        self.emit(section, Gather(out.name, a.name, index.name, layer=out.layer))
        return out

    def select(self, section: str, out: Tensor, p: Tensor, relation: str, q: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Out = a where p relation q, else b."""
        self.emit(section, Select(out.name, p.name, q.name, a.name, b.name, relation, layer=out.layer))
        return out

    def sigmoid(self, section: str, out: Tensor, z: Tensor) -> Tensor:
        """Out = the decision of z, to as many bits as out has."""
        op = Lut(
            out.name,
            z.name,
            self._sigmoid.name,
            KNOWLEDGE.lo,
            self._segment_width,
            out.format.exponent + 15,
            layer=out.layer,
        )
        self.emit(section, op)
        return out

    def normalised_rate(
        self, section: str, name: str, x: Tensor, rate: float, layer: int, *, rows: int = 1, mean: bool = True
    ) -> Tensor:
        """The scalar rate / (ln 2 * (1 + |x|^2)), from a table over the squared norm (DESIGN: normalised rate).

        Of several rows the mean of 1 + |row|^2 counts, or without `mean` their sum.

        64 segments; below 1/64 of the largest possible norm the rate no longer grows.  Inside, linear interpolation
        of 1/n lies above it, by 12.5 % in the second segment and less further on.
        """
        largest = rows + x.size * (x.format.hi * x.format.lsb) ** 2
        norm_format = Format(NORM_BITS, math.ceil(math.log2(largest)) - NORM_BITS, signed=False)
        one = self.constant(f"{name}.one", rows, Format(rows.bit_length() + 1, 0, signed=False), Kind.OTHER, layer)
        norm = self.scratch(f"{name}.norm", (), norm_format, Kind.NORM, layer)
        axes = "ri"[-len(x.shape) :]
        self.contract(section, norm, x, x, f"{axes},{axes}->", c=one)
        width = NORM_BITS - int(math.log2(RATE_SEGMENTS))
        knots = np.arange(RATE_SEGMENTS + 1) * norm_format.lsb * (1 << width)
        rates = rate * (rows if mean else 1) / LN2 / np.maximum(knots, knots[1])
        rate_format = Format(16, math.ceil(math.log2(rates[0])) - 15)
        table = self.constant(f"{name}.rates", rates, rate_format, Kind.TABLE, layer)
        out = self.scratch(f"{name}.rate", (), rate_format, Kind.RATE, layer)
        self.emit(section, Lut(out.name, norm.name, table.name, 0, width, layer=layer))
        return out

    def annealed(self, section: str, rate: Tensor, log2_samples: int, floor: float) -> Tensor:
        """The rate times what falls from 1 to `floor` over the first 2^log2_samples samples, linearly."""
        layer = rate.layer or 0
        table = self.constant("fall", [1.0, floor], Format(16, -14), Kind.TABLE)
        share = self.scratch(f"{rate.name}.share", (), Format(16, -14), Kind.RATE, layer)
        self.emit(section, Lut(share.name, self.t.name, table.name, 0, log2_samples, layer=layer))
        out = self.scratch(f"{rate.name}.annealed", (), rate.format, Kind.RATE, layer)
        return self.scale(section, out, rate, share)

    def flow(
        self,
        section: str,
        factor: Tensor,
        decision: Tensor,
        z: Tensor,
        gain: Tensor,
        *,
        steps: int,
        rate: float,
        row: int,
        drive: Tensor | None = None,
        mean: Tensor | None = None,
        entropy_shift: int = 0,
        emit_first: bool = False,
    ) -> None:
        """The flow map of one layer: `steps` updates of relative size `rate`; its entropy sum becomes an output."""
        layer = z.layer
        entropy = self.tensor(f"entropy{layer}", (), ENTROPY, Role.OUTPUT, Kind.ENTROPY, layer)
        wanted = rate / LN2 * 2.0 ** (GUARD - KNOWLEDGE.exponent - 15)
        rate_shift = min(30, math.floor(math.log2(8191 / wanted)))
        if rate_shift < 1:
            raise NetworkError(f"rate {rate}: too large for one forward step; allowed are rates below 5")
        self.emit(
            section,
            Flow(
                factor.name,
                decision.name,
                entropy.name,
                z.name,
                gain.name,
                self._sigmoid.name,
                self.t.name,
                KNOWLEDGE.lo,
                self._segment_width,
                steps,
                round(wanted * 2**rate_shift),
                rate_shift,
                factor.format.exponent - (-15 + gain.format.exponent),
                row,
                mean=mean.name if mean else None,
                drive=drive.name if drive else None,
                guard=GUARD,
                entropy_shift=entropy_shift,
                emit_first=emit_first,
                decision_shift=decision.format.exponent + 15,
                layer=layer,
            ),
        )

    def clamped_entropy(self, section: str, z: Tensor, error: Tensor) -> None:
        """Entropy of a layer whose decisions are clamped to the label: -(1/ln 2) sum z dD with dD = -error."""
        entropy = self.tensor("entropy_class", (), ENTROPY, Role.OUTPUT, Kind.ENTROPY, z.layer)
        self.contract(section, entropy, z, error, "c,c->", site=Site.SOMA)

    def learn_dense(self, section: str, weights: Tensor, bias: Tensor, factor: Tensor, x: Tensor) -> None:
        """Weights += factor x^T and bias += factor, dithered; the bias is the lattice's input number fan_in."""
        shift = weights.format.exponent - factor.format.exponent - x.format.exponent
        op = OuterUpdate(weights.name, factor.name, x.name, self.t.name, shift, layer=weights.layer, site=Site.SYNAPSE)
        self.emit(section, op)
        bias_shift = bias.format.exponent - factor.format.exponent
        self.emit(
            section,
            Update(
                bias.name,
                factor.name,
                self.t.name,
                max(bias_shift, 0),
                v_shift=max(-bias_shift, 0),
                row=weights.size // factor.size,
                layer=weights.layer,
            ),
        )

    def learn_towards(self, section: str, weights: Tensor, factor: Tensor, x: Tensor) -> None:
        """Weights += factor (x - weights), dithered."""
        w, s, seen = weights.format.exponent, factor.format.exponent, x.format.exponent
        op = OuterUpdate(
            weights.name,
            factor.name,
            x.name,
            self.t.name,
            w - s - min(w, seen),
            towards=True,
            x_shift=max(seen - w, 0),
            w_shift=max(w - seen, 0),
            layer=weights.layer,
            site=Site.SYNAPSE,
        )
        self.emit(section, op)

    def pool(self, section: str, out: Tensor, a: Tensor, windows: Tensor) -> Tensor:
        """Out = the largest of a in each window of flat indices."""
        self.emit(section, Pool(out.name, a.name, windows.name, layer=out.layer))
        return out

    def follow(self, section: str, target: Tensor, away: Tensor, memory: int) -> None:
        """Target += away / 2^memory, dithered; both of one format."""
        self.emit(section, Update(target.name, away.name, self.t.name, memory, layer=target.layer))

    def learn_batch(
        self, section: str, target: Tensor, pull: Tensor, x: Tensor | None, axes: str, rate: float, row: int = 0
    ) -> None:
        """Target += rate * sum over the batch of pull (times x), dithered; the sum is kept in 32 bits.

        The gradient gets whatever exponent makes the update's shift 16, unless its largest value needs a coarser one.
        """
        one = self.constant("one", 1.0, Format(2, 0, signed=False), Kind.OTHER)
        x = x or one
        samples = pull.shape[0]
        largest = rate * samples * pull.format.hi * pull.format.lsb * x.format.hi * x.format.lsb
        finest = target.format.exponent - UPDATE_SHIFT
        exponent = max(finest, math.ceil(math.log2(largest)) - 31)
        gradient = self.scratch(f"g{target.name}", target.shape, Format(32, exponent), Kind.FACTOR, pull.layer or 0)
        wanted = rate * 2.0 ** (pull.format.exponent + x.format.exponent - exponent)
        shift = BATCH_GAIN_BITS - math.ceil(math.log2(wanted))
        op = Contract(
            gradient.name,
            pull.name,
            x.name,
            axes,
            gain=round(wanted * 2.0**shift),
            shift=shift,
            rounding=Rounding.HALF,
            layer=target.layer,
            site=Site.SYNAPSE,
        )
        self.emit(section, op)
        at = target.format.exponent - exponent
        self.emit(
            section,
            Update(target.name, gradient.name, self.t.name, at, row=row, layer=target.layer, site=Site.SYNAPSE),
        )

    def coarsened(self, section: str, factor: Tensor, weights: Tensor, x: Tensor, grain: float) -> Tensor:
        """The factor rounded so that, at an input of 1, it moves a weight by multiples of grain * LSB (0: as it is)."""
        finer = weights.format.exponent - factor.format.exponent  # bits from the factor's LSB to the weight's
        bits = finer + round(math.log2(grain)) if grain else 0
        if bits <= 0 or factor.layer is None:
            return factor
        coarse_format = Format(factor.format.bits, factor.format.exponent + bits)
        coarse = self.scratch(f"{factor.name}.coarse", factor.shape, coarse_format, factor.kind, factor.layer)
        again = self.scratch(f"{factor.name}.grained", factor.shape, factor.format, factor.kind, factor.layer)
        return self.scale(section, again, self.scale(section, coarse, factor))

    def factor_format(self, weights: Tensor, x: Tensor, coarsest: int) -> Format:
        """A factor fine enough to make the update's shift 16, unless its range needs the exponent `coarsest`."""
        return Format(FACTOR_BITS, max(weights.format.exponent - x.format.exponent - UPDATE_SHIFT, coarsest))

    # -- the end ------------------------------------------------------------------------------------------------

    def finish(self, section: str) -> None:
        """End a learning section: t moves on."""
        self.emit(section, Advance(self.t.name))

    def program(self, encoding: Encoding, meta: Mapping[str, Any]) -> Program:
        """The Program, its accumulators narrowed to 32 bits wherever the range proof allows."""
        read = {name for ops in self._sections.values() for op in ops for name in op.inputs().values()}
        tensors = tuple(t for t in self._tensors.values() if t.role is not Role.CONST or t.name in read)
        values = {t.name: self._values[t.name] for t in tensors if t.name in self._values}
        sections = {name: tuple(ops) for name, ops in self._sections.items()}
        wide = Program(tensors, sections, values, encoding, meta)
        for bound in prove(wide):
            if isinstance(bound.op, Contract | Scale) and bound.need_bits <= 32:
                self._sections[bound.section][bound.position] = replace(bound.op, acc_bits=32)
        return replace(wide, sections={name: tuple(ops) for name, ops in self._sections.items()})
