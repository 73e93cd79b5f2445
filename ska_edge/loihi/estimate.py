"""Time, energy and traffic of a model on neuromorphic cores: map, record, hand both over as files, simulate.

The machine that counts and prices is `firmware_sim.neurocore`.  It gets what anybody else could give it, two files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from firmware_sim.errors import SimError
from firmware_sim.neurocore.files import load_activity, load_map
from firmware_sim.neurocore.hardware import Hardware
from firmware_sim.neurocore.machine import simulate

from .. import codec
from ..data import Dataset
from ..errors import DataError, SkaError
from ..operations import Kind
from ..program import Program
from ..verify import stream_of
from .activity import record, to_npz, without_centre
from .mapping import Map, check_fits, map_program

MAP, ACTIVITY, UNCENTRED = "map.json", "activity.npz", "activity-uncentred.npz"


@dataclass(frozen=True)
class Estimate:
    """What the machine says, by section.

    `uncentred` is the same with samples as they are, zeros and all, where the model subtracts a centre: what it would
    cost if the centre were folded into the biases.  None where no centre is subtracted.
    `input_density`: shares of nonzero inputs, as encoded and uncentred.
    """

    map: Map
    sections: Mapping[str, dict[str, Any]]
    uncentred: Mapping[str, dict[str, Any]] | None
    input_density: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """The contract's keys, of learning where the model learns; the other section beside them."""
        first = "learn" if "learn" in self.sections else "infer"
        data = {**self.sections[first], "input_density": dict(self.input_density)}
        if first == "learn":
            data["inference"] = self.sections.get("infer")
        if self.uncentred:
            data["uncentred"] = {name: _short(found) for name, found in self.uncentred.items()}
        return data


def _short(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: found[name] for name in ("events", "time_s", "energy_j", "static_energy_j", "bottleneck")}


def estimate(
    program: Program,
    hardware: Hardware,
    data: Dataset,
    samples: int,
    folder: Path,
    executor: str = "numba",
    advance: Callable[[int], None] = lambda count: None,
) -> Estimate:
    """Map a Program, run the first samples of a data set, and let the machine count and price them.

    Leaves `map.json` and `activity.npz` in the folder.  `advance` is told of samples run: two sections of each.
    Raises MappingError where the map breaks a limit, DataError for samples that do not fit the Program.
    """
    if not 1 <= samples <= len(data.samples):
        raise DataError(f"samples {samples}: {data.name} has {len(data.samples)}; at least 1")
    found = map_program(program, hardware)
    check_fits(found)
    inputs = {name: values[:samples] for name, values in stream_of(program, data).items()}
    recording = record(program, found.circuit, inputs, executor, advance)
    codec.write_atomically(folder / MAP, json.dumps(found.to_json()).encode())
    codec.write_atomically(folder / ACTIVITY, to_npz(program, recording))
    sample = next(program.of_kind(Kind.SAMPLE)).name
    first = next(name for name in recording if name.split("/")[1] == sample)
    density = {"encoded": float((recording[first] != 0).mean())}
    uncentred = None
    if any(program.encoding.centre):
        plain = without_centre(program, recording, data.samples[:samples])
        density["uncentred"] = float(np.mean(plain[first] != 0))
        codec.write_atomically(folder / UNCENTRED, to_npz(program, plain))
        uncentred = _simulate(folder / MAP, folder / UNCENTRED, hardware)
    return Estimate(found, _simulate(folder / MAP, folder / ACTIVITY, hardware), uncentred, density)


def _simulate(map_file: Path, activity: Path, hardware: Hardware) -> dict[str, dict[str, Any]]:
    """Every section, from the files alone."""
    try:
        found = load_map(map_file)
        vectors = load_activity(activity, found)
        return {section: simulate(found, vectors, hardware, section) for section in found.timetables}
    except SimError as error:
        raise SkaError(str(error)) from None
