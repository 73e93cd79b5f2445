"""Masked inputs: a share of a sample is set to 0 while learning, the same inputs on every backend (the lattice's)."""

from __future__ import annotations

from ..builder import Builder
from ..fixed import Format
from ..operations import Kind, Lattice, Site, Tensor

_OFFSET = Format(16, -16, signed=False)
_COUNT = Format(16, 0, signed=False)


def masked(build: Builder, x: Tensor, share: float) -> Tensor:
    """x, with about `share` of its elements 0, others in every sample; x itself where nothing is masked."""
    if share == 0:
        return x
    layer = 1
    offsets = build.scratch("mask.offsets", x.shape, _OFFSET, Kind.OTHER, layer)
    build.emit("learn", Lattice(offsets.name, _phase(build).name, layer=layer))
    below = build.constant("mask.share", share, _OFFSET, Kind.OTHER)
    kept = build.scratch("x.masked", x.shape, x.format, Kind.SAMPLE, layer)
    return build.select("learn", kept, offsets, "lt", below, build.zero, x)


def _phase(build: Builder) -> Tensor:
    """A counter of the mask's own, t C mod 2^16, so that the mask's offsets are i A + t C^2.

    With t itself, mask and dither would move in step: an input that is not masked would only ever meet the larger
    offsets, its rounding would be biased, and its weights would drift.
    """
    first = build.scratch("mask.first", (1,), _COUNT, Kind.OTHER, 1)
    build.emit("learn", Lattice(first.name, build.t.name, layer=1))
    only = build.constant("mask.only", [1], Format(2, 0, signed=False), Kind.OTHER, 1)
    phase = build.scratch("mask.t", (), _COUNT, Kind.COUNTER, 1)
    return build.contract("learn", phase, first, only, "i,i->", site=Site.SOMA)
