"""Watching a deployed learner: integer sums in, signs of health and of completion out.

All of it is additions, shifts, comparisons and a few products of 64-bit sums a window, so that a microcontroller can do
the same.  A Program lowered with `watched=True` leaves the sums behind (`rules/watch.py`); what is learnt is the same.

Onset, completion and the failure signs are those that the papers name (arXiv 2503.13942, 2504.03214):

- onset: the tensor net changes sign;
- completion: entropy and knowledge flow have changed since the start and settle, in every layer;
- plateau: entropy stays what it was, and the cosine alignment is near 0: the layer moves to no effect;
- growth: the knowledge norm keeps growing, beyond |z| = 4: decisions saturate;
- out of step: a layer has come to rest long since while another has not yet passed its peak.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from .errors import SkaError
from .fixed import IntArray
from .operations import Kind, Role, Tensor
from .program import Program
from .rules.watch import SUMS

PATIENCE = 4  # windows in a row before a sign is believed
ENTROPY_SHIFT = 4  # an entropy has settled when a window changes it by at most 1/16,
FLOW_SHIFT = 3  # a flow (its square) by at most 1/8,
GONE_SHIFT = 6  # or when it has fallen below 1/64 of its largest
PROGRESS_SHIFT = 2  # an entropy that is within 1/4 of its first window's has not moved
COSINE_SHIFT = 6  # a cosine is near 0 below 1/8; this is its square
GROWTH_SHIFT = 6  # a norm grows when its square does by more than 1/64 a window
SATURATED_SQUARE = 16  # |z| = 4 in the root mean square


class Sign(str, Enum):
    """What a monitor may say of a layer."""

    ONSET = "onset"
    COMPLETE = "complete"
    PLATEAU = "plateau"
    GROWTH = "growth"
    OUT_OF_STEP = "out of step"


FAILURES = (Sign.PLATEAU, Sign.GROWTH, Sign.OUT_OF_STEP)


@dataclass(frozen=True)
class Event:
    """A sign of a layer, and how many steps (or samples) had been seen when it was believed."""

    layer: int
    sign: Sign
    seen: int

    def __str__(self) -> str:
        return f"layer {self.layer}: {self.sign.value} after {self.seen}"


@dataclass
class _Layer:
    """One layer's sums of this window, of the last and of the first; how many windows in a row a condition has held."""

    neurons: int
    one_square: int  # z = 1 as a raw square
    cosine_shift: int  # brings alignment^2 to the unit of knowledge * shift
    now: dict[str, int] = field(default_factory=dict)
    before: dict[str, int] = field(default_factory=dict)
    first_entropy: int | None = None
    peak_entropy: int = 0
    peak_movement: int = 0
    since_peak: int = 0
    settled: int = 0
    idle: int = 0
    growing: int = 0
    said: set[Sign] = field(default_factory=set)


class Monitor:
    """Watches the layers of one Program, window by window.

    `window`: steps (or samples) summed before anything is compared: 1 for the papers' schedule, some hundred on a
    stream.  Signs are said once.  Raises SkaError for a Program that was not lowered with `watched=True`.

    >>> from ska_edge import Network, lower
    >>> monitor = Monitor(lower(Network((4, 3, 2)), watched=True), window=2)
    >>> monitor.observe(dict.fromkeys(monitor.names, 0)), monitor.seen
    ([], 1)
    """

    def __init__(self, program: Program, window: int = 256) -> None:
        if window < 1:
            raise SkaError(f"window {window}: at least 1")
        self.window = window
        self.seen = 0
        self._layers: dict[int, _Layer] = {}
        for tensor in program.of_role(Role.OUTPUT):
            if tensor.name.startswith("watch") and tensor.name.endswith(".knowledge.sum") and tensor.layer:
                self._layers[tensor.layer] = _layer_of(program, tensor)
        if not self._layers:
            raise SkaError(
                "Program: leaves no sums to monitor; lower it with watched=True (train: --early-stop from the start)"
            )
        self.names = tuple(
            name
            for layer in self._layers
            for name in (f"entropy{layer}", *(f"watch{layer}.{each}.sum" for each in SUMS))
        )
        for name in self.names:
            if name not in program.by_name or program.by_name[name].kind not in (Kind.ENTROPY, Kind.NORM):
                raise SkaError(f"Program: lacks the sum {name}")

    @property
    def complete(self) -> bool:
        """Whether every layer has settled: nothing more is being learnt."""
        return all(Sign.COMPLETE in layer.said for layer in self._layers.values())

    def observe(self, sums: Mapping[str, int]) -> list[Event]:
        """One step's sums, raw, by the names of `names`; returns the signs that this step made certain."""
        for number, layer in self._layers.items():
            layer.now["entropy"] = layer.now.get("entropy", 0) + int(sums[f"entropy{number}"])
            for each in SUMS:
                layer.now[each] = layer.now.get(each, 0) + int(sums[f"watch{number}.{each}.sum"])
        self.seen += 1
        return self._compare() if self.seen % self.window == 0 else []

    def observe_many(self, sums: Mapping[str, IntArray]) -> list[Event]:
        """The sums of many steps, one array [steps] a name; other names are ignored."""
        rows = len(sums[self.names[0]])
        return [
            event for row in range(rows) for event in self.observe({name: int(sums[name][row]) for name in self.names})
        ]

    def _compare(self) -> list[Event]:
        events = []
        for layer in self._layers.values():
            self._count(layer)
        latest = min(layer.since_peak for layer in self._layers.values())
        for number, layer in self._layers.items():
            for sign in _signs(layer, latest):
                if sign not in layer.said:
                    layer.said.add(sign)
                    events.append(Event(number, sign, self.seen))
            layer.before, layer.now = layer.now, {}
        return events

    def _count(self, layer: _Layer) -> None:
        """Bring the counts up to date."""
        now, before = layer.now, layer.before or layer.now
        if layer.first_entropy is None:
            layer.first_entropy = now["entropy"]
        layer.since_peak = 0 if now["movement"] > layer.peak_movement else layer.since_peak + 1
        layer.peak_movement = max(layer.peak_movement, now["movement"])
        layer.peak_entropy = max(layer.peak_entropy, abs(now["entropy"]))
        entropy_holds = _settles(now["entropy"], before["entropy"], layer.peak_entropy, ENTROPY_SHIFT)
        flow_holds = _settles(now["movement"], before["movement"], layer.peak_movement, FLOW_SHIFT)
        largest = max(abs(now["entropy"]), abs(layer.first_entropy))
        progressed = abs(now["entropy"] - layer.first_entropy) << PROGRESS_SHIFT > largest
        aligned = now["alignment"] ** 2 << COSINE_SHIFT + max(layer.cosine_shift, 0)
        blind = aligned <= now["knowledge"] * now["shift"] << max(-layer.cosine_shift, 0)
        grows = now["knowledge"] - before["knowledge"] << GROWTH_SHIFT > now["knowledge"]
        large = now["knowledge"] > SATURATED_SQUARE * layer.one_square * layer.neurons * self.window
        layer.settled = layer.settled + 1 if layer.before and entropy_holds and flow_holds and progressed else 0
        layer.idle = layer.idle + 1 if layer.before and entropy_holds and blind and not progressed else 0
        layer.growing = layer.growing + 1 if grows and large else 0


def _layer_of(program: Program, knowledge: Tensor) -> _Layer:
    number = knowledge.layer or 0
    exponents = {each: program.by_name[f"watch{number}.{each}.sum"].format.exponent for each in SUMS}
    shift = 2 * exponents["alignment"] - exponents["knowledge"] - exponents["shift"]
    return _Layer(program.by_name[f"z{number}"].size, 1 << -exponents["knowledge"], shift)


def _settles(now: int, before: int, peak: int, shift: int) -> bool:
    """Whether a window changed little, or little is left."""
    return abs(now - before) << shift <= abs(now) or abs(now) << GONE_SHIFT <= peak


def _signs(layer: _Layer, latest: int) -> list[Sign]:
    """The signs that hold now; `latest`: windows since the last layer's movement peaked."""
    before, now = layer.before.get("net", 0), layer.now["net"]
    settled = layer.settled >= PATIENCE and layer.since_peak >= PATIENCE
    signs = {
        Sign.ONSET: bool(before and now) and (before < 0) != (now < 0),
        Sign.COMPLETE: settled,
        Sign.PLATEAU: layer.idle >= PATIENCE,
        Sign.GROWTH: layer.growing >= PATIENCE,
        Sign.OUT_OF_STEP: settled and latest == 0,
    }
    return [sign for sign, holds in signs.items() if holds]
