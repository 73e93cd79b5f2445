"""Masked inputs: a share of a sample is set to 0 while learning, the same inputs on every backend (the lattice's)."""

from __future__ import annotations

from ..builder import Builder
from ..fixed import Format
from ..operations import Kind, Lattice, Tensor

_OFFSET = Format(16, -16, signed=False)


def masked(build: Builder, x: Tensor, share: float) -> Tensor:
    """x, with about `share` of its elements 0, others in every sample; x itself where nothing is masked."""
    if share == 0:
        return x
    layer = 1
    offsets = build.scratch("mask.offsets", x.shape, _OFFSET, Kind.OTHER, layer)
    build.emit("learn", Lattice(offsets.name, build.t.name, layer=layer))
    below = build.constant("mask.share", share, _OFFSET, Kind.OTHER)
    kept = build.scratch("x.masked", x.shape, x.format, Kind.SAMPLE, layer)
    return build.select("learn", kept, offsets, "lt", below, build.zero, x)
