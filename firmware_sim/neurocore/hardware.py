"""Neuromorphic hardware: one versioned TOML file a profile in `hardware/`, a source beside every constant.

A constant that nobody has published is left out: absent means unknown.  It is never taken as zero.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import HardwareError
from ..table import Table, read_table

PROFILES = Path(__file__).parent / "hardware"

LIMITS: Mapping[str, str] = {
    "cores": "cores a chip",
    "chip_synapses": "synapses a chip",
    "neurons": "neurons a core",
    "synaptic_bytes": "bytes of synaptic memory a core",
    "core_bytes": "bytes a core, synapses and neurons together",
    "in_axons": "axons that end in a core",
    "out_axons": "axons that start in a core",
    "weight_bits": "bits a weight",
    "neuron_state_bytes": "bytes of state a neuron",
    "epoch_steps": "timesteps a learning epoch",
}
"""What a profile may limit, in words."""

COSTS: Mapping[str, str] = {
    "message_out": "message sent to one core",
    "message_in": "message received by one core",
    "synaptic_op": "one synapse adds weight times message",
    "reduction_op": "one product of a sum without weights; charged as a synaptic operation",
    "synapse_update": "one weight learns",
    "neuron_update": "one neuron that has something to do, for one timestep",
    "idle_update": "one neuron that has not, for one timestep",
    "hop_within_tile": "message between two cores of one tile",
    "hop_east_west": "message over one tile, east or west",
    "hop_north_south": "message over one tile, north or south",
    "barrier": "all cores wait for each other, once a timestep",
}
"""What a profile may give a price, in words."""

Interval = tuple[float, float]
LARGEST = 1 << 40


@dataclass(frozen=True)
class Limit:
    """The most that is allowed, and who says so."""

    value: int
    source: str


@dataclass(frozen=True)
class Cost:
    """Picojoules and nanoseconds of one event, as an interval from low to high; None is unknown."""

    energy_pj: Interval | None
    time_ns: Interval | None
    source: str


@dataclass(frozen=True)
class Mesh:
    """A grid of tiles, `cores_per_tile` cores each."""

    columns: int
    rows: int
    cores_per_tile: int
    source: str

    @property
    def cores(self) -> int:
        """All of them."""
        return self.columns * self.rows * self.cores_per_tile

    def tile(self, slot: int) -> tuple[int, int]:
        """Column and row of the tile that holds the core in this slot; slots are counted tile by tile, row by row.

        >>> Mesh(8, 4, 4, "cited: an example").tile(37)
        (1, 1)
        """
        return slot // self.cores_per_tile % self.columns, slot // self.cores_per_tile // self.columns


@dataclass(frozen=True)
class SynapseFormat:
    """How the synapses of one axon lie in memory: blocks of words, a header each.

    `block_synapses`: most synapses a block; None: one block holds all.  `synapse_bits`: bits of one synapse where they
    do not depend on the weight's.
    """

    word_bits: int
    block_synapses: int | None
    header_bits: int
    synapse_bits: int | None
    source: str

    def axon_bits(self, synapses: int, weight_bits: int) -> int:
        """Bits that one axon's synapses take.

        >>> SynapseFormat(64, 64, 10, None, "cited: an example").axon_bits(128, 8)
        1152
        """
        block = self.block_synapses or max(synapses, 1)
        full, rest = divmod(synapses, block)
        return full * self._block_bits(block, weight_bits) + (self._block_bits(rest, weight_bits) if rest else 0)

    def _block_bits(self, synapses: int, weight_bits: int) -> int:
        bits = synapses * (self.synapse_bits or weight_bits) + self.header_bits
        return -(-bits // self.word_bits) * self.word_bits


@dataclass(frozen=True)
class Static:
    """Watts that one chip takes whether it works or not."""

    power_w: Interval | None
    source: str


@dataclass(frozen=True)
class Hardware:
    """A profile, as its file says.

    `soma`: `fixed` where the neuron is the maker's own, `microcode` where it can be programmed.  `mesh` and `synapses`
    are None where unknown: then hops are unknown, and synapses are counted without overhead.
    """

    name: str
    version: int
    title: str
    soma: str
    notes: str
    mesh: Mesh | None
    synapses: SynapseFormat | None
    limits: Mapping[str, Limit]
    costs: Mapping[str, Cost]
    static: Static | None

    def limit(self, name: str) -> int | None:
        """The most that is allowed, None where unknown.

        >>> load_hardware("loihi1").limit("neurons")
        1024
        """
        found = self.limits.get(name)
        return found.value if found else None

    def cost(self, name: str) -> Cost | None:
        """The price of an event, None where unknown.  Sums without weights cost what synaptic operations cost."""
        return self.costs.get("synaptic_op" if name == "reduction_op" else name)

    def axon_bits(self, synapses: int, weight_bits: int) -> int:
        """Bits that one axon's synapses take in a core; without a known format the weights alone."""
        return self.synapses.axon_bits(synapses, weight_bits) if self.synapses else synapses * weight_bits

    def with_limits(self, limits: Mapping[str, int]) -> Hardware:
        """The same hardware with some limits set by the user.  Raises HardwareError for an unknown or absurd one."""
        for name, value in limits.items():
            if name not in LIMITS:
                raise HardwareError(f"limit {name!r}: allowed are {', '.join(LIMITS)}")
            if not 1 <= value <= LARGEST:
                raise HardwareError(f"limit {name} = {value}: allowed are 1 to {LARGEST}")
        if self.mesh and limits.get("cores", 0) > self.mesh.cores:
            raise HardwareError(f"limit cores = {limits['cores']}: the mesh of {self.name} has {self.mesh.cores}")
        given = {name: Limit(value, "given by the user") for name, value in limits.items()}
        return replace(self, limits={**self.limits, **given})

    def and_costs_of(self, other: Hardware) -> Hardware:
        """The same hardware, each cost the interval that holds what both sources say of it.

        >>> both = load_hardware("loihi1").and_costs_of(load_hardware("loihi1-sanafe"))
        >>> both.costs["synaptic_op"].energy_pj
        (23.6, 35.5)
        """
        costs = {**other.costs, **self.costs}
        costs |= {
            name: _joined(self.costs[name], other.costs[name])
            for name in costs
            if name in self.costs and name in other.costs
        }
        title = f"{self.title}, and {other.title}"
        return replace(self, name=f"{self.name}+{other.name}", title=title, costs=costs)

    def to_json(self) -> dict[str, Any]:
        """Everything known, absent constants null."""
        data = asdict(self)
        data["limits"] = {name: asdict(self.limits[name]) if name in self.limits else None for name in LIMITS}
        data["costs"] = {name: asdict(found) if (found := self.cost(name)) else None for name in COSTS}
        return data


def _joined(a: Cost, b: Cost) -> Cost:
    return Cost(_hull(a.energy_pj, b.energy_pj), _hull(a.time_ns, b.time_ns), f"{a.source}; {b.source}")


def _hull(a: Interval | None, b: Interval | None) -> Interval | None:
    if a is None or b is None:
        return a or b
    return min(a[0], b[0]), max(a[1], b[1])


def hardware_names() -> list[str]:
    """Names of all profiles.

    >>> hardware_names()
    ['loihi1', 'loihi1-sanafe', 'loihi2']
    """
    return sorted(path.stem for path in PROFILES.glob("*.toml"))


def load_hardware(name: str) -> Hardware:
    """A profile by name, or from a TOML file of one's own.  Raises HardwareError with the nearest names.

    Names joined by commas: the first one's hardware, each cost as an interval over all sources.
    """
    first, *others = (each.strip() for each in name.split(","))
    found = _load_one(first)
    for other in others:
        found = found.and_costs_of(_load_one(other))
    return found


def _load_one(name: str) -> Hardware:
    if name.endswith(".toml"):
        return load_hardware_file(Path(name))
    names = hardware_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=2, cutoff=0.5)
        hint = f"nearest: {', '.join(near)}" if near else f"known are {', '.join(names)}"
        raise HardwareError(f"hardware {name[:60]!r}: no such profile; {hint}; or give a TOML file")
    return load_hardware_file(PROFILES / f"{name}.toml")


def load_hardware_file(path: Path) -> Hardware:
    """Read and check a profile.  Raises HardwareError that names file, key, what was found and what is allowed."""
    top = read_table(path, HardwareError)
    mesh, synapses, static = (top.optional_table(key) for key in ("mesh", "synapses", "static"))
    limits, costs = (top.optional_table(key) for key in ("limit", "cost"))
    hardware = Hardware(
        name=top.text("name"),
        version=top.whole("version", 1, 1_000_000),
        title=top.text("title"),
        soma=top.choice("soma", ("fixed", "microcode")),
        notes=top.text("notes", ""),
        mesh=mesh.done(_mesh(mesh)) if mesh else None,
        synapses=synapses.done(_synapses(synapses)) if synapses else None,
        limits=limits.done(_limits(limits)) if limits else {},
        costs=costs.done(_costs(costs)) if costs else {},
        static=static.done(_static(static)) if static else None,
    )
    top.done(hardware)
    if hardware.name != path.stem:
        raise top.fail(f"name = {hardware.name!r}; expected the file's own name, {path.stem!r}")
    cores = hardware.limit("cores")
    if hardware.mesh and (cores is None or hardware.mesh.cores != cores):
        raise top.fail(f"[mesh]: {hardware.mesh.cores} cores in its tiles; [limit.cores] says {cores}")
    return hardware


def _mesh(table: Table) -> Mesh:
    columns, rows = table.whole("columns", 1, 256), table.whole("rows", 1, 256)
    return Mesh(columns, rows, table.whole("cores_per_tile", 1, 64), table.source())


def _synapses(table: Table) -> SynapseFormat:
    block, bits = table.optional("block_synapses", 1, 4096), table.optional("synapse_bits", 1, 64)
    header = table.optional("header_bits", 0, 1024) or 0
    return SynapseFormat(table.whole("word_bits", 1, 1024), block, header, bits, table.source())


def _limits(table: Table) -> dict[str, Limit]:
    tables = {name: table.optional_table(name) for name in LIMITS}
    return {name: each.done(_limit(each)) for name, each in tables.items() if each}


def _limit(table: Table) -> Limit:
    return Limit(table.whole("value", 1, LARGEST), table.source())


def _costs(table: Table) -> dict[str, Cost]:
    tables = {name: table.optional_table(name) for name in COSTS if name != "reduction_op"}
    return {name: each.done(_cost(each)) for name, each in tables.items() if each}


def _cost(table: Table) -> Cost:
    return Cost(table.interval("energy_pj", 0, 1e9), table.interval("time_ns", 0, 1e9), table.source())


def _static(table: Table) -> Static:
    return Static(table.interval("power_w", 0, 1e4), table.source())
