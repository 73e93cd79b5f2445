"""Populations split over cores: as few cores as the limits allow, every limit checked.

A core holds neurons of one layer, all their synapses, and the axons that end and start there.  Each connection has
axons of its own: a neuron that two connections read has two axons into a core that holds targets of both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from firmware_sim.errors import SimError
from firmware_sim.neurocore.hardware import LIMITS, Hardware, load_hardware

from ..errors import MappingError, SkaError
from ..fixed import FloatArray
from ..program import Program
from . import circuit as cutting
from .circuit import Circuit, Connection, Population
from .placement import Placement, place

_RUNAWAY = 16  # times the cores of a chip: enough to say how far off a map is


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
    """One core's share, and what it takes of each limit.  `slot`: its place on the mesh, None before placing."""

    layer: int
    slices: tuple[Slice, ...]
    synapses: int
    synaptic_bytes: int
    state_bytes: int
    in_axons: int
    out_axons: int
    slot: int | None = None

    @property
    def neurons(self) -> int:
        """Neurons of all slices."""
        return sum(piece.neurons for piece in self.slices)

    def needs(self) -> dict[str, int]:
        """What it takes, by the names of a hardware's limits."""
        return {
            "neurons": self.neurons,
            "synaptic_bytes": self.synaptic_bytes,
            "core_bytes": self.synaptic_bytes + self.state_bytes,
            "in_axons": self.in_axons,
            "out_axons": self.out_axons,
        }


@dataclass(frozen=True)
class Violation:
    """A limit that is broken.  `core` is None where the whole layer or chip breaks it; `layer`, where the chip does."""

    layer: int | None
    core: int | None
    limit: str
    need: int
    allowed: int

    def __str__(self) -> str:
        place = "the chip" if self.layer is None else f"layer {self.layer}"
        place += "" if self.core is None else f", core {self.core}"
        return f"{place}: needs {self.need:,} {LIMITS[self.limit]}; the limit is {self.allowed:,}"


@dataclass(frozen=True)
class Map:
    """A circuit on the cores of some hardware.  It fits where `violations` is empty."""

    hardware: Hardware
    circuit: Circuit
    program_digest: str
    cores: tuple[Core, ...]
    violations: tuple[Violation, ...]
    placement: Placement | None = None

    def tile(self, core: Core) -> tuple[int, int] | None:
        """Column and row of a core's tile, None where it has no place or the mesh is unknown."""
        return None if core.slot is None or self.hardware.mesh is None else self.hardware.mesh.tile(core.slot)

    def utilisation(self) -> dict[str, float]:
        """Share of each known limit that the fullest core, or the chip, uses."""
        most = {name: max(core.needs()[name] for core in self.cores) for name in self.cores[0].needs()}
        most |= {"cores": len(self.cores), "chip_synapses": sum(core.synapses for core in self.cores)}
        return {name: need / allowed for name, need in most.items() if (allowed := self.hardware.limit(name))}

    def to_json(self) -> dict[str, Any]:
        """Everything: the map's file, and the contract's keys."""
        return {
            "format": "neurocore map",
            "version": 1,
            "hardware": self.hardware.name,
            "hardware_version": self.hardware.version,
            "soma": self.hardware.soma,
            "program_digest": self.program_digest,
            "cores": [self._core(number, core) for number, core in enumerate(self.cores)],
            "violations": [{**vars(each), "message": str(each)} for each in self.violations],
            "utilisation": self.utilisation(),
            "placement": vars(self.placement) if self.placement else None,
            **cutting.to_json(self.circuit),
        }

    def _core(self, number: int, core: Core) -> dict[str, Any]:
        return {
            "core": number,
            "layer": core.layer,
            "neurons": core.neurons,
            "synapses": core.synapses,
            "synaptic_bytes": core.synaptic_bytes,
            "state_bytes": core.state_bytes,
            "in_axons": core.in_axons,
            "out_axons": core.out_axons,
            "slot": core.slot,
            "tile": self.tile(core),
            "slices": [vars(piece) for piece in core.slices],
        }


def map_program(program: Program, hardware: Hardware | str) -> Map:
    """Map a Program onto hardware.  A map that does not fit is returned with its violations.

    >>> from ska_edge import Network, lower
    >>> found = map_program(lower(Network((64, 16, 10))), "loihi1")
    >>> [(core.layer, core.neurons, core.synaptic_bytes, core.in_axons, core.out_axons) for core in found.cores]
    [(1, 26, 2032, 90, 26)]

    Raises MappingError for a Program that cannot be cut into cores, SkaError for unknown hardware.
    """
    chosen = open_hardware(hardware) if isinstance(hardware, str) else hardware
    found = map_circuit(cutting.circuit(program), chosen, program.program_digest)
    return placed(found) if not found.violations else found


def open_hardware(name: str, limits: Mapping[str, int] | None = None) -> Hardware:
    """A profile by name or file, with limits of one's own.  Raises SkaError."""
    try:
        return load_hardware(name).with_limits(limits or {})
    except SimError as error:
        raise SkaError(str(error)) from None


def check_fits(found: Map) -> None:
    """Raise MappingError with every broken limit of a map that does not fit."""
    if found.violations:
        lines = "\n".join(f"  {each}" for each in found.violations)
        raise MappingError(f"{found.hardware.name}: does not fit\n{lines}")


def map_circuit(circuit: Circuit, hardware: Hardware, program_digest: str = "") -> Map:
    """Split a circuit over cores, without places on the mesh."""
    cores = _Split(circuit, hardware).cores()
    return Map(hardware, circuit, program_digest, cores, tuple(_violations(circuit, cores, hardware)))


def placed(found: Map) -> Map:
    """The same map with a place on the mesh for every core."""
    placement = place(traffic(found), found.hardware.mesh)
    cores = tuple(replace(core, slot=slot) for core, slot in zip(found.cores, placement.slots, strict=True))
    return replace(found, cores=cores, placement=placement)


def traffic(found: Map) -> FloatArray:
    """Axons from each core (row) to each (column); the last row is the host, who sends the samples."""
    count = len(found.cores)
    axons = np.zeros((count + 1, count))
    homes = {
        name: [(n, piece) for n, core in enumerate(found.cores) for piece in core.slices if piece.population == name]
        for name in found.circuit.populations
    }
    for connection in found.circuit.connections.values():
        for target, there in homes[connection.target]:
            reached = connection.fan_out(there.start, there.stop) > 0
            for source, here in homes[connection.source]:
                axons[source, target] += reached[here.start : here.stop].sum()
            if not homes[connection.source]:
                axons[count, target] += reached.sum()
    return axons


class _Split:
    """How many slices each population gets: as few as its own limits allow, then more until axons have room."""

    def __init__(self, circuit: Circuit, hardware: Hardware) -> None:
        self.circuit = circuit
        self.hardware = hardware
        self.most = _RUNAWAY * (hardware.limit("cores") or 1 << 12)
        self.counts = {each.name: self._fewest(each) for each in circuit.on_chip}
        self._give_axons_room()

    def cores(self) -> tuple[Core, ...]:
        """Cores in the order of layers; a population of one slice joins a core of its layer that can take it."""
        cores: list[Core] = []
        for population in sorted(self.circuit.on_chip, key=lambda each: each.layer or 0):
            own = [self._core(population.layer or 0, (piece,)) for piece in self._pieces(population)]
            host = self._host(cores, own[0]) if len(own) == 1 else None
            if host is None:
                cores.extend(own)
            else:
                cores[host] = self._core(own[0].layer, (*cores[host].slices, *own[0].slices))
        return tuple(cores)

    def _host(self, cores: list[Core], guest: Core) -> int | None:
        """The emptiest core of the same layer that can take one more slice."""
        for number in sorted(range(len(cores)), key=lambda n: cores[n].synaptic_bytes):
            if cores[number].layer == guest.layer:
                both = self._core(guest.layer, (*cores[number].slices, *guest.slices))
                if not broken(both.needs(), self.hardware):
                    return number
        return None

    def _pieces(self, population: Population) -> list[Slice]:
        return slices(population, self.counts[population.name])

    def _core(self, layer: int, pieces: tuple[Slice, ...]) -> Core:
        synapses, bits, in_axons = (sum(column) for column in zip(*map(self._incoming, pieces), strict=True))
        out_axons = sum(map(self._outgoing, pieces))
        return Core(layer, pieces, synapses, -(-bits // 8), sum(map(self._state_bytes, pieces)), in_axons, out_axons)

    def _state_bytes(self, piece: Slice) -> int:
        return piece.neurons * self.circuit.populations[piece.population].state_bytes

    def _incoming(self, piece: Slice) -> tuple[int, int, int]:
        """Synapses, their bits, and axons of all connections that end on a slice."""
        synapses = bits = axons = 0
        for connection in self.circuit.into(piece.population):
            for size, count in _axon_sizes(connection, piece.start, piece.stop):
                synapses += count * size
                bits += count * self.hardware.axon_bits(size, connection.weight_bits)
                axons += count
        return synapses, bits, axons

    def _outgoing(self, piece: Slice) -> int:
        """Axons that start from a slice: one for each neuron, connection and core that holds a target of it."""
        total = 0
        for connection in self.circuit.out_of(piece.population):
            if connection.index is None:
                total += piece.neurons * self.counts[connection.target]
            else:
                for there in self._pieces(self.circuit.populations[connection.target]):
                    reached = connection.fan_out(there.start, there.stop)[piece.start : piece.stop] > 0
                    total += int(reached.sum())
        return total

    def _fewest(self, population: Population) -> int:
        """The fewest equal slices that keep the limits on neurons, memory and axons that end there."""
        hopeless = self._broken_alone(Slice(population.name, 0, 1))  # more slices do not help one neuron
        dense = all(each.index is None for each in self.circuit.into(population.name))

        def fits(count: int) -> bool:
            pieces = slices(population, count)
            tried = [max(pieces, key=lambda piece: piece.neurons)] if dense else pieces
            return all(self._broken_alone(piece) <= hopeless for piece in tried)

        return least(fits, min(population.neurons, self.most))

    def _broken_alone(self, piece: Slice) -> set[str]:
        """Limits that a slice breaks on a core of its own, whatever the others do."""
        _, bits, in_axons = self._incoming(piece)
        core = Core(0, (piece,), 0, -(-bits // 8), self._state_bytes(piece), in_axons, 0)
        return set(broken(core.needs(), self.hardware))

    def _give_axons_room(self) -> None:
        """More slices for populations from which too many axons start; what they read may need more in turn."""
        allowed = self.hardware.limit("out_axons")
        changed = allowed is not None
        while changed and sum(self.counts.values()) <= self.most:
            changed = False
            for population in self.circuit.on_chip:
                starting = [self._outgoing(piece) for piece in self._pieces(population)]
                count = len(starting)
                if allowed is not None and max(starting) > allowed and count < population.neurons:
                    enough = -(-sum(starting) // allowed)  # slices, were the axons spread evenly
                    self.counts[population.name] = min(max(count + 1, enough), population.neurons)
                    changed = True


def slices(population: Population, count: int) -> list[Slice]:
    """So many slices, as equal as can be.

    >>> [(piece.start, piece.stop) for piece in slices(Population("z1", 1, 10, 6, 8), 3)]
    [(0, 3), (3, 6), (6, 10)]
    """
    ends = [population.neurons * n // count for n in range(count + 1)]
    return [Slice(population.name, start, stop) for start, stop in zip(ends[:-1], ends[1:], strict=True)]


def broken(needs: Mapping[str, int], hardware: Hardware) -> list[str]:
    """The limits of the hardware that these needs break; unknown limits cannot be."""
    return [name for name, need in needs.items() if (allowed := hardware.limit(name)) is not None and need > allowed]


def least(fits: Callable[[int], bool], most: int) -> int:
    """The least count from 1 to `most` that fits, if what fits stays so; `most` where none does.

    >>> least(lambda count: count * 3 >= 100, 1000)
    34
    """
    low, high = 0, 1
    while high < most and not fits(high):
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def _axon_sizes(connection: Connection, start: int, stop: int) -> list[tuple[int, int]]:
    """Synapses an axon, and how many axons have so many, on the targets start to stop - 1."""
    if connection.index is None:
        return [(stop - start, connection.sources)]
    sizes, counts = np.unique(connection.fan_out(start, stop), return_counts=True)
    return [(int(size), int(count)) for size, count in zip(sizes, counts, strict=True) if size]


def _violations(circuit: Circuit, cores: tuple[Core, ...], hardware: Hardware) -> Iterator[Violation]:
    """Every broken limit: of layers, of cores, of the chip."""

    def check(layer: int | None, core: int | None, needs: Mapping[str, int]) -> Iterator[Violation]:
        for name in broken(needs, hardware):
            yield Violation(layer, core, name, needs[name], hardware.limits[name].value)

    layers = sorted({each.layer for each in circuit.on_chip if each.layer is not None})
    for layer in layers:
        populations = [each for each in circuit.on_chip if each.layer == layer]
        needs = {
            "weight_bits": max(each.weight_bits for each in circuit.connections.values() if each.layer == layer),
            "neuron_state_bytes": max(each.state_bytes for each in populations),
            "epoch_steps": max(each.forward_steps for each in populations),
        }
        yield from check(layer, None, needs)
    for number, core in enumerate(cores):
        yield from check(core.layer, number, core.needs())
    yield from check(None, None, {"cores": len(cores), "chip_synapses": sum(core.synapses for core in cores)})
