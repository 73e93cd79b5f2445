"""The neurocore machine: prices the events that recorded activity causes, timestep by timestep.

All cores work through a timestep side by side and then wait at a barrier.  A timestep lasts as long as its busiest
core, plus the longest way a message goes, plus the barrier.  Inside a core nothing overlaps, which errs upwards;
messages do not queue, which errs downwards.  What no source prices is left out of the sum and named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .events import HOPS, KINDS, LAYER_COUNTS, Tally, count
from .files import Activity, Ints, Map
from .hardware import COSTS, Hardware, Interval

_ELEMENTS = 1 << 22  # counts held at a time
_ENDS = ("low", "high")
_UPDATE = KINDS.index("synapse_update")

Floats = npt.NDArray[np.float64]
Span = dict[str, float | None]
"""An interval, `low` and `high`; both None where unknown."""


def simulate(found: Map, activity: Activity, hardware: Hardware, section: str) -> dict[str, Any]:
    """Count and price one section: JSON-ready data, a sample's mean unless it is called `counts`.

    `energy_j` and `time_s` are sums over the events that the hardware's source prices, from low to high; `unpriced`
    names the others that occur.  Both are null where nothing is priced.
    """
    run = _Run(found, hardware, section)
    for part in _parts(found, activity, section):
        run.add(count(found, part, section))
    return run.result()


def _parts(found: Map, activity: Activity, section: str) -> Iterator[Activity]:
    """The recording in pieces whose counts fit into memory."""
    own = {name: values for name, values in activity.items() if name.startswith(f"{section}/")}
    size = len(KINDS) * found.timetables[section].steps * len(found.cores)
    rows = max(1, _ELEMENTS // size)
    for start in range(0, len(next(iter(own.values()))), rows):
        yield {name: values[start : start + rows] for name, values in own.items()}


class _Run:
    """Sums over the samples of one section."""

    def __init__(self, found: Map, hardware: Hardware, section: str) -> None:
        self.found = found
        self.hardware = hardware
        self.section = section
        self.steps = found.timetables[section].steps
        self.samples = 0
        self.events = np.zeros((len(KINDS), len(found.cores)), np.int64)
        self.visits = np.zeros(len(found.cores), np.int64)
        self.layers: dict[int, Counter[str]] = {}
        self.nanoseconds = np.zeros(2)
        self.critical: dict[tuple[int | None, str], float] = {}  # nanoseconds at the high end, by core and kind

    def add(self, tally: Tally) -> None:
        """Some more samples."""
        self.samples += tally.samples
        self.events += tally.events.sum(axis=(1, 3))
        self.visits += tally.visits.sum(axis=(0, 2))
        for layer, counts in tally.layers.items():
            self.layers.setdefault(layer, Counter()).update(counts)
        for end in range(2):
            self._spend(tally, end)

    # -- time ---------------------------------------------------------------------------------------------------

    def _price(self, kind: str, what: str) -> Interval | None:
        cost = self.hardware.cost(kind)
        found: Interval | None = getattr(cost, what) if cost else None
        return found

    def _prices(self, kinds: Sequence[str], what: str, end: int) -> Floats:
        """One price a kind; 0 where unknown, for those are named apart."""
        return np.array([(self._price(kind, what) or (0.0, 0.0))[end] for kind in kinds])

    def _spend(self, tally: Tally, end: int) -> None:
        """Add the time of every timestep: its busiest core, its longest way, its barrier."""
        inside = np.where(np.isin(KINDS, HOPS), 0.0, self._prices(KINDS, "time_ns", end))
        charged = _charged(tally.events, tally.visits, end)
        busy = np.einsum("kscn,k->scn", charged, inside)
        network = np.zeros((self.steps, tally.samples))
        ways = self._prices(HOPS, "time_ns", end)
        for step, paths in enumerate(tally.paths):
            for path, sent in paths.items():
                network[step] = np.maximum(network[step], np.where(sent > 0, np.dot(path, ways), 0.0))
        barrier = self._prices(["barrier"], "time_ns", end)[0] * self.steps * tally.samples
        self.nanoseconds[end] += busy.max(axis=1).sum() + network.sum() + barrier
        if end == 1:
            slowest = busy.argmax(axis=1)[:, np.newaxis] == np.arange(len(self.found.cores))[:, np.newaxis]
            spent = np.einsum("kscn,k,scn->kc", charged, inside, slowest)
            for (kind, core), time in np.ndenumerate(spent):
                self._blame(core, KINDS[kind], float(time))
            self._blame(None, "network", float(network.sum()))
            self._blame(None, "barrier", float(barrier))

    def _blame(self, core: int | None, kind: str, nanoseconds: float) -> None:
        self.critical[core, kind] = self.critical.get((core, kind), 0.0) + nanoseconds

    def _bottleneck(self) -> dict[str, Any] | None:
        """What takes most of the time, None where no time is known."""
        total = sum(self.critical.values())
        if not total:
            return None
        core, kind = max(self.critical, key=lambda key: self.critical[key])
        layer = None if core is None else self.found.cores[core].layer
        return {"event": kind, "core": core, "layer": layer, "share": self.critical[core, kind] / total}

    # -- sums ---------------------------------------------------------------------------------------------------

    def _sum(self, what: str, unit: float, cores: Sequence[int], kinds: Sequence[str] = KINDS) -> Span:
        """Energy or time a sample of some cores and kinds; unknown where nothing that occurs there is priced."""
        chosen = [kind for kind in kinds if self._price(kind, what) and self.events[KINDS.index(kind), cores].any()]
        if not chosen:
            return _span(None)
        ends = []
        for end in range(2):
            charged = _charged(self.events, self.visits, end)[[KINDS.index(kind) for kind in chosen]][:, cores]
            ends.append(float(charged.sum(axis=1) @ self._prices(chosen, what, end)) * unit / self.samples)
        return _span(ends)

    def _energy(self, cores: Sequence[int] | None = None, kinds: Sequence[str] = KINDS) -> Span:
        return self._sum("energy_pj", 1e-12, range(len(self.found.cores)) if cores is None else cores, kinds)

    def result(self) -> dict[str, Any]:
        """Everything."""
        means = dict(zip(KINDS, (self.events.sum(axis=1) / self.samples).tolist(), strict=True))
        if self.found.cores[0].tile is None:
            means |= dict.fromkeys(HOPS)  # a way that nobody knows has no hops to count
        occurring = [kind for kind in COSTS if means.get(kind, self.steps)]
        timed = any(self._price(kind, "time_ns") for kind in occurring)
        time = _span([float(total) * 1e-9 / self.samples for total in self.nanoseconds] if timed else None)
        return {
            "hardware": self.hardware.name,
            "section": self.section,
            "samples": self.samples,
            "timesteps": self.steps,
            "events": {**means, "barrier": self.steps},
            "synapse_visits": int(self.visits.sum()) / self.samples,
            "time_s": time,
            "energy_j": self._energy(),
            "static_energy_j": self._static(time),
            "unpriced": {what: [k for k in occurring if not self._price(k, what)] for what in ("energy_pj", "time_ns")},
            "energy_by_event_j": {kind: self._energy(kinds=[kind]) for kind in KINDS if means[kind]},
            "bottleneck": self._bottleneck(),
            "layers": [self._layer(layer) for layer in self.layers],
            "cores": [self._core(number) for number in range(len(self.found.cores))],
            "counts": {
                "samples": self.samples,
                "layers": [{"layer": layer, **_named(found)} for layer, found in self.layers.items()],
            },
        }

    def _static(self, time: Span) -> Span:
        """What the chip takes merely for being on that long."""
        power = self.hardware.static.power_w if self.hardware.static else None
        low, high = time["low"], time["high"]
        return _span(None if power is None or low is None or high is None else [power[0] * low, power[1] * high])

    def _layer(self, layer: int) -> dict[str, Any]:
        cores = [number for number, core in enumerate(self.found.cores) if core.layer == layer]
        means = {name: total / self.samples for name, total in _named(self.layers[layer]).items()}
        return {"layer": layer, **means, "energy_j": self._energy(cores)}

    def _core(self, number: int) -> dict[str, Any]:
        inside = [kind for kind in KINDS if kind not in HOPS]
        means = (self.events[:, number] / self.samples).tolist()
        return {
            "core": number,
            "layer": self.found.cores[number].layer,
            "events": {kind: mean for kind, mean in zip(KINDS, means, strict=True) if mean},
            "energy_j": self._energy([number]),
            "working_s": self._sum("time_ns", 1e-9, [number], inside),
        }


def _charged(events: Ints, visits: Ints, end: int) -> Ints:
    """Events that are paid for: at the high end every synapse that a learning engine may have to pass."""
    if end == 0:
        return events
    charged = events.copy()
    charged[_UPDATE] = visits
    return charged


def _named(counts: Counter[str]) -> dict[str, int]:
    return {name: counts[name] for name in LAYER_COUNTS}


def _span(ends: Sequence[float] | None) -> Span:
    return dict(zip(_ENDS, ends or (None, None), strict=True))
