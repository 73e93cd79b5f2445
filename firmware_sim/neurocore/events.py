"""Events of the neurocore machine: steps through a timetable and counts what recorded activity makes each core do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .files import Activity, Bools, Connection, Event, Ints, Map, Slice
from .hardware import COSTS

HOST = -1
ENTRY = (0, 0)
"""Where the host's messages enter the mesh is not published; this tile is assumed."""
KINDS = tuple(kind for kind in COSTS if kind != "barrier")
HOPS = ("hop_east_west", "hop_north_south", "hop_within_tile")
LAYER_COUNTS = ("synaptic_ops", "synapse_updates", "neuron_updates", "messages")


@dataclass(frozen=True)
class Tally:
    """Events of some samples in one section.

    `events` [kinds, steps, cores, samples], kinds as in `KINDS`.  `visits` [steps, cores, samples]: synapses that a
    learning engine passes which cannot tell a factor of zero, the upper end of `synapse_update`.  `paths`: for each
    step, how many messages each sample sends over so many hops (east or west, north or south, inside a tile).
    `layers`: totals by layer that do not depend on the map.
    """

    events: Ints
    visits: Ints
    paths: tuple[dict[tuple[int, int, int], Ints], ...]
    layers: Mapping[int, Counter[str]]

    @property
    def samples(self) -> int:
        """How many."""
        return int(self.events.shape[3])

    def add(self, step: int, core: int, kind: str, counts: Ints | int) -> None:
        """So many more events."""
        self.events[KINDS.index(kind), step - 1, core] += counts


def count(found: Map, activity: Activity, section: str) -> Tally:
    """Count every event of a section for every sample of a recording."""
    table = found.timetables[section]
    vectors = {name.removeprefix(f"{section}/"): values for name, values in activity.items()}
    samples = next(len(vectors[event.values]) for event in table.events if event.values is not None)
    shape = (table.steps, len(found.cores), samples)
    tally = Tally(
        np.zeros((len(KINDS), *shape), np.int64),
        np.zeros(shape, np.int64),
        tuple({} for _ in range(table.steps)),
        {layer: Counter() for layer in sorted({core.layer for core in found.cores})},
    )
    for event in table.events:
        {"send": _send, "sum": _sum, "learn": _learn, "work": _work}[event.event](tally, found, event, vectors)
    neurons = np.array([core.neurons for core in found.cores])[:, np.newaxis]
    tally.events[KINDS.index("idle_update")] = neurons - tally.events[KINDS.index("neuron_update")]
    return tally


def _work(tally: Tally, found: Map, event: Event, vectors: Mapping[str, Bools]) -> None:
    for core, piece in found.homes(event.population or ""):
        tally.add(event.step, core, "neuron_update", piece.neurons)
        tally.layers[found.cores[core].layer]["neuron_updates"] += tally.samples * piece.neurons


def _reached(connection: Connection, piece: Slice, sources: int) -> Ints:
    """Synapses of each source on a slice of targets: [sources]."""
    if connection.index is None:
        return np.full(sources, piece.neurons, np.int64)
    return np.bincount(connection.index[piece.start : piece.stop].ravel(), minlength=sources)


def _send(tally: Tally, found: Map, event: Event, vectors: Mapping[str, Bools]) -> None:
    connection, values = found.connections[event.connection or ""], vectors[event.values or ""]
    for core, piece in found.homes(connection.target):
        operations = values @ _reached(connection, piece, values.shape[1])
        tally.add(event.step, core, "synaptic_op", operations)
        tally.layers[connection.layer]["synaptic_ops"] += int(operations.sum())
    used = _reached(
        connection, Slice(connection.target, 0, found.populations[connection.target].neurons), values.shape[1]
    )
    tally.layers[connection.layer]["messages"] += int(values[:, used > 0].sum())
    _messages(tally, found, event.step, connection, values)


def _messages(tally: Tally, found: Map, step: int, connection: Connection, values: Bools) -> None:
    """One message for every nonzero value and core that holds a synapse of its neuron."""
    everything = Slice(connection.source, 0, values.shape[1])
    origins = found.homes(connection.source) or [(HOST, everything)]
    for core, there in found.homes(connection.target):
        reached = _reached(connection, there, values.shape[1]) > 0
        for origin, here in origins:
            sent = (values & reached)[:, here.start : here.stop].sum(axis=1)
            tally.add(step, core, "message_in", sent)
            if origin != HOST:
                tally.add(step, origin, "message_out", sent)
            _travel(tally, found, step, origin, core, sent)


def _travel(tally: Tally, found: Map, step: int, origin: int, core: int, sent: Ints) -> None:
    """Hops, charged to the core that receives."""
    start, end = ENTRY if origin == HOST else found.cores[origin].tile, found.cores[core].tile
    if start is None or end is None:
        return
    across, down = abs(start[0] - end[0]), abs(start[1] - end[1])
    path = (across, down, int(not across and not down and origin != core))
    for kind, hops in zip(HOPS, path, strict=True):
        if hops:
            tally.add(step, core, kind, hops * sent)
    if any(path):
        ways = tally.paths[step - 1]
        ways[path] = ways.get(path, np.zeros_like(sent)) + sent


def _sum(tally: Tally, found: Map, event: Event, vectors: Mapping[str, Bools]) -> None:
    """Products of a sum that has no weights: along a connection's synapses, or on the first core of the layer.

    Without values, over the weights themselves.
    """
    if event.connection is not None:
        connection = found.connections[event.connection]
        sources = found.populations[connection.source].neurons
        values = np.ones((tally.samples, sources), bool) if event.values is None else vectors[event.values]
        for core, piece in found.homes(connection.target):
            tally.add(event.step, core, "reduction_op", values @ _reached(connection, piece, sources))
        return
    values = vectors[event.values or ""]
    first = next(n for n, core in enumerate(found.cores) if core.layer == event.layer)
    tally.add(event.step, first, "reduction_op", values.sum(axis=1))


def _learn(tally: Tally, found: Map, event: Event, vectors: Mapping[str, Bools]) -> None:
    """A weight moves where both of its vectors are nonzero; of one that is not named, every value counts."""
    connection = found.connections[event.connection or ""]
    shapes = {end: found.populations[end].neurons for end in (connection.source, connection.target)}
    pre, post = (
        np.ones((tally.samples, shapes[end]), bool) if name is None else vectors[name]
        for name, end in ((event.pre, connection.source), (event.post, connection.target))
    )
    for core, piece in found.homes(connection.target):
        here = post[:, piece.start : piece.stop]
        if connection.index is None:
            updates = pre.sum(axis=1) * here.sum(axis=1)
            passed = pre.sum(axis=1) * (piece.neurons)
        else:
            active = pre[:, connection.index[piece.start : piece.stop]]  # [samples, targets, fan-in]
            updates = (active & here[:, :, np.newaxis]).sum(axis=(1, 2))
            passed = active.sum(axis=(1, 2))
        tally.add(event.step, core, "synapse_update", updates)
        tally.visits[event.step - 1, core] += np.where(here.any(axis=1), passed, 0)
        if not connection.copy:
            tally.layers[connection.layer]["synapse_updates"] += int(updates.sum())
    if event.sent:
        _messages(tally, found, event.step, connection, pre)
