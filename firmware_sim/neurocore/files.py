"""What the machine reads: a map (JSON) and a recording of activity (NPZ), checked before anything is counted.

The map lists `populations`, `connections`, `cores` with slices of populations, and a timetable a section.  The
recording holds one array a vector and section, `section/vector`, [samples, neurons], raw integers; only which of them
are zero matters here.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ActivityError

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
EVENTS = ("send", "sum", "work", "learn")


@dataclass(frozen=True)
class Population:
    """Neurons that share vectors; the host's have no layer."""

    name: str
    layer: int | None
    neurons: int


@dataclass(frozen=True)
class Connection:
    """Synapses; `index` [targets, fan-in] names each one's source, None where all sources reach all targets."""

    name: str
    layer: int
    source: str
    target: str
    copy: bool
    index: Ints | None


@dataclass(frozen=True)
class Slice:
    """Neurons start to stop - 1 of a population."""

    population: str
    start: int
    stop: int

    @property
    def neurons(self) -> int:
        """How many."""
        return self.stop - self.start


@dataclass(frozen=True)
class Core:
    """A core's layer, neurons, and tile (column, row), None where unknown."""

    layer: int
    slices: tuple[Slice, ...]
    slot: int | None
    tile: tuple[int, int] | None

    @property
    def neurons(self) -> int:
        """Neurons of all slices."""
        return sum(piece.neurons for piece in self.slices)


@dataclass(frozen=True)
class Event:
    """An entry of a timetable; fields that its kind does not have are None."""

    event: str
    step: int
    connection: str | None
    population: str | None
    layer: int | None
    values: str | None
    pre: str | None
    post: str | None
    sent: bool


@dataclass(frozen=True)
class Timetable:
    """What happens when in one sample."""

    steps: int
    events: tuple[Event, ...]


@dataclass(frozen=True)
class Map:
    """A network on cores."""

    program_digest: str
    populations: Mapping[str, Population]
    connections: Mapping[str, Connection]
    cores: tuple[Core, ...]
    timetables: Mapping[str, Timetable]

    def homes(self, population: str) -> list[tuple[int, Slice]]:
        """Cores that hold a population, each with the slice it holds; none for the host's."""
        return [
            (n, piece) for n, core in enumerate(self.cores) for piece in core.slices if piece.population == population
        ]


Activity = Mapping[str, Bools]
"""Which values are not zero: `section/vector` -> [samples, neurons]."""


def load_map(path: Path) -> Map:
    """Read a map.  Raises ActivityError that names what is wrong."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ActivityError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise ActivityError(f"{path}: no JSON text") from None
    try:
        return parse_map(content)
    except ActivityError as error:
        raise ActivityError(f"{path}: {error}") from None


def parse_map(content: Any) -> Map:
    """A map from JSON data.  Raises ActivityError that names what is wrong."""
    if not isinstance(content, dict) or (content.get("format"), content.get("version")) != ("neurocore map", 1):
        raise ActivityError("not a neurocore map of version 1")
    try:
        if content["violations"]:
            raise ActivityError(f"breaks limits of {content['hardware']}; only a map that fits can be simulated")
        populations = [Population(each["name"], each["layer"], int(each["neurons"])) for each in content["populations"]]
        connections = [_connection(each) for each in content["connections"]]
        found = Map(
            str(content["program_digest"]),
            {each.name: each for each in populations},
            {each.name: each for each in connections},
            tuple(_core(each) for each in content["cores"]),
            {name: _timetable(each) for name, each in content["timetables"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ActivityError(f"key {error} is missing or not what it should be") from None
    _check(found)
    return found


def _connection(data: Mapping[str, Any]) -> Connection:
    index = None if data["index"] is None else np.array(data["index"], np.int64)
    return Connection(data["name"], int(data["layer"]), data["source"], data["target"], bool(data["copy"]), index)


def _core(data: Mapping[str, Any]) -> Core:
    pieces = tuple(Slice(each["population"], int(each["start"]), int(each["stop"])) for each in data["slices"])
    tile = None if data["tile"] is None else (int(data["tile"][0]), int(data["tile"][1]))
    return Core(int(data["layer"]), pieces, data["slot"], tile)


def _timetable(data: Mapping[str, Any]) -> Timetable:
    fields = ("connection", "population", "layer", "values", "pre", "post")
    events = tuple(
        Event(
            each["event"], int(each["step"]), sent=bool(each.get("sent")), **{name: each.get(name) for name in fields}
        )
        for each in data["events"]
    )
    return Timetable(int(data["steps"]), events)


def _check(found: Map) -> None:
    """Names lead somewhere, slices cover every population once, events lie inside their timetables."""
    for core in found.cores:
        for piece in core.slices:
            if piece.population not in found.populations:
                raise ActivityError(f"core of layer {core.layer}: no population {piece.population!r}")
    for connection in found.connections.values():
        for end in (connection.source, connection.target):
            if end not in found.populations:
                raise ActivityError(f"connection {connection.name}: no population {end!r}")
        index, sources = connection.index, found.populations[connection.source].neurons
        targets = found.populations[connection.target].neurons
        if index is not None and (
            index.ndim != 2 or len(index) != targets or not 0 <= index.min() <= index.max() < sources
        ):
            raise ActivityError(
                f"connection {connection.name}: index does not fit {targets} targets of {sources} sources"
            )
    for population in found.populations.values():
        covered = sorted((piece.start, piece.stop) for _, piece in found.homes(population.name))
        ends = [0, *(stop for _, stop in covered)]
        whole = [start for start, _ in covered] == ends[:-1] and ends[-1] == population.neurons
        if population.layer is not None and not whole:
            raise ActivityError(f"population {population.name}: slices {covered} of {population.neurons} neurons")
    for section, table in found.timetables.items():
        for event in table.events:
            if event.event not in EVENTS or not 1 <= event.step <= table.steps:
                raise ActivityError(f"timetable {section}: event {event.event!r} in timestep {event.step}")
            if event.connection is not None and event.connection not in found.connections:
                raise ActivityError(f"timetable {section}: no connection {event.connection!r}")
            if event.event == "work" and event.population not in found.populations:
                raise ActivityError(f"timetable {section}: no population {event.population!r}")


def load_activity(path: Path, found: Map) -> dict[str, Bools]:
    """Read a recording and check that it has every vector of the map's timetables, all of as many samples a section.

    Raises ActivityError that names what is wrong.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            if str(content["program_digest"]) != found.program_digest:
                raise ActivityError(f"{path}: recorded from another Program than the map's")
            arrays = {name: content[name] != 0 for name in content.files if "/" in name}
    except OSError as error:
        raise ActivityError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ActivityError(f"{path}: no recording of activity ({error})") from None
    try:
        check_activity(arrays, found)
    except ActivityError as error:
        raise ActivityError(f"{path}: {error}") from None
    return arrays


def check_activity(arrays: Activity, found: Map) -> None:
    """Raise ActivityError unless every vector of the timetables is there, with one row a sample."""
    for section, table in found.timetables.items():
        rows = set()
        for event in table.events:
            for vector, neurons in _vectors(event, found):
                name = f"{section}/{vector}"
                if name not in arrays:
                    raise ActivityError(f"vector {name!r} is missing")
                if arrays[name].ndim != 2 or (neurons is not None and arrays[name].shape[1] != neurons):
                    raise ActivityError(f"vector {name!r}: shape {arrays[name].shape}; wanted [samples, {neurons}]")
                rows.add(len(arrays[name]))
        if len(rows) != 1 or 0 in rows:
            raise ActivityError(f"section {section}: vectors of {sorted(rows)} samples; all need as many, at least one")


def _vectors(event: Event, found: Map) -> list[tuple[str, int | None]]:
    """Vectors that an event reads, and how many neurons each must have."""
    connection = found.connections.get(event.connection or "")
    sources = found.populations[connection.source].neurons if connection else None
    targets = found.populations[connection.target].neurons if connection else None
    wanted = ((event.values, sources), (event.pre, sources), (event.post, targets))
    return [(vector, neurons) for vector, neurons in wanted if vector is not None]
