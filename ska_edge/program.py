"""The Program: the one thing every backend runs (SPEC 4 to 6).

It is immutable and cannot exist in a broken state: its constructor checks shapes, order of definition and locality, and
proves that no accumulator can overflow.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from .errors import ProgramError
from .fixed import FloatArray, IntArray, pack
from .operations import Draft, Kind, Role, op_to_json, tensor_to_json
from .proof import prove
from .wellformed import check


@dataclass(frozen=True)
class Encoding:
    """How the host turns a real feature into a raw input (SPEC 6.3).

    u = (x - low) / (high - low), clipped to 0 .. 1; raw = quantise(u - centre), with one centre for all features or
    one each.
    """

    low: float = 0.0
    high: float = 1.0
    centre: tuple[float, ...] = (0.0,)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ProgramError(f"encoding: low {self.low}, high {self.high}; both finite, low less than high")
        if not self.centre or not all(0.0 <= value <= 1.0 for value in self.centre):
            raise ProgramError("encoding: centres lie in 0 .. 1, one or one a feature")

    def unit(self, samples: FloatArray) -> FloatArray:
        """Features as the network sees them, before rounding: u - centre, row by row."""
        scaled = np.clip((samples - self.low) / (self.high - self.low), 0.0, 1.0)
        return np.asarray(scaled - np.asarray(self.centre), np.float64)


@dataclass(frozen=True)
class Program(Draft):
    """A network lowered to integers: tensors, sections of operations, constants and the state it starts from.

    `values` holds every constant and the current state, raw, by name.  `meta` is free text for people; it is in no
    digest.  Raises ProgramError unless every rule of SPEC 4 holds and `proof.prove` succeeds.
    """

    encoding: Encoding = Encoding()
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sections", MappingProxyType(dict(self.sections)))
        object.__setattr__(
            self, "values", MappingProxyType({name: _frozen(name, v) for name, v in self.values.items()})
        )
        check(self)
        prove(self)

    def initial_state(self) -> dict[str, IntArray]:
        """A fresh, writable copy of the state the Program carries."""
        return {tensor.name: self.values[tensor.name].copy() for tensor in self.of_role(Role.STATE)}

    def with_state(self, state: Mapping[str, IntArray], meta: Mapping[str, Any] | None = None) -> Program:
        """The same Program carrying another state (and, if given, other notes)."""
        wanted = {tensor.name for tensor in self.of_role(Role.STATE)}
        if set(state) != wanted:
            raise ProgramError(f"state: tensors {sorted(state)}, the Program has {sorted(wanted)}")
        values = {**self.values, **{name: np.array(value, np.int64) for name, value in state.items()}}
        return Program(self.tensors, self.sections, values, self.encoding, self.meta if meta is None else meta)

    def structure(self) -> dict[str, Any]:
        """Everything but the values, as JSON-ready data in a fixed order (SPEC 6.1)."""
        return {
            "encoding": [self.encoding.low, self.encoding.high, list(self.encoding.centre)],
            "sections": {name: [op_to_json(op) for op in self.sections[name]] for name in sorted(self.sections)},
            "tensors": [tensor_to_json(tensor) for tensor in self.tensors],
        }

    @cached_property
    def program_digest(self) -> str:
        """SHA-256 of structure and constants: what the network is, not what it has learnt (SPEC 6.2)."""
        digest = hashlib.sha256(canonical_json(self.structure()))
        for tensor in self.of_role(Role.CONST):
            digest.update(pack(self.values[tensor.name], tensor.format))
        return digest.hexdigest()

    @cached_property
    def state_digest(self) -> str:
        """SHA-256 of the state: equal digests have learnt equally (SPEC 6.2)."""
        return self.digest_of(self.values)

    def digest_of(self, state: Mapping[str, IntArray]) -> str:
        """State digest of any state of this Program."""
        digest = hashlib.sha256()
        for tensor in self.of_role(Role.STATE):
            digest.update(pack(state[tensor.name], tensor.format))
        return digest.hexdigest()

    def weights_changed(self, state: Mapping[str, IntArray]) -> float:
        """Share of learnt weights (heads count, biases do not) in which a state differs from the one carried."""
        names = {name for section in self.sections for name in self._weights_learnt(section)}
        changed = sum(int((state[name] != self.values[name]).sum()) for name in names)
        return changed / max(sum(self.by_name[name].size for name in names), 1)

    def updates_per_run(self, section: str = "learn") -> int:
        """Weights touched by one run of a section (heads count, biases do not)."""
        return sum(self.by_name[name].size for name in self._weights_learnt(section))

    def _weights_learnt(self, section: str) -> list[str]:
        written = (name for op in self.sections.get(section, ()) for name in op.outputs().values())
        tensors = map(self.by_name.__getitem__, written)
        return [t.name for t in tensors if t.role is Role.STATE and t.kind in (Kind.WEIGHT, Kind.HEAD)]


def _frozen(name: str, values: IntArray) -> IntArray:
    """A private, read-only int64 copy: what was proved stays what is run."""
    if np.asarray(values).dtype.kind not in "iu":
        raise ProgramError(f"{name}: values of type {np.asarray(values).dtype}; only whole numbers")
    copy = np.array(values, np.int64)
    copy.setflags(write=False)
    return copy


def canonical_json(data: Any) -> bytes:
    """JSON with sorted keys and no spaces, as bytes: the form that is hashed and stored (SPEC 6.1)."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")
