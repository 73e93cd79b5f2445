"""What a Program's vectors hold while it decides and learns real samples: the recording that a simulation reads."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np

from ..backends import open_executor
from ..errors import DataError
from ..executor import Executor, row_count
from ..fixed import FloatArray, IntArray, quantise
from ..operations import Kind
from ..program import Program
from .circuit import Circuit, Timetable


def record(
    program: Program,
    circuit: Circuit,
    inputs: Mapping[str, IntArray],
    executor: str = "numba",
    advance: Callable[[int], None] = lambda count: None,
) -> dict[str, IntArray]:
    """Run every section of the circuit on every row: `section/vector` -> [samples, neurons], raw.

    `infer` runs with the weights that the Program carries, `learn` goes on learning from them.  Inputs are raw, as
    `verify.stream_of` makes them.  `advance` is told of each sample.
    """
    rows = row_count(inputs)
    recording: dict[str, IntArray] = {}
    for section, table in circuit.timetables.items():
        running = open_executor(executor, program)
        own = {name: values for name, values in inputs.items() if section != "infer" or name != "label"}
        found = {name: np.zeros((rows, _size(program, table, name)), np.int64) for name in table.recorded}
        for row in range(rows):
            for name, values in own.items():
                running.write(name, values[row])
            for name, values in _run(running, section, table).items():
                found[name][row] = values.reshape(-1)
            advance(1)
        recording |= {f"{section}/{name}": values for name, values in found.items()}
    return recording


def _size(program: Program, table: Timetable, name: str) -> int:
    return program.by_name[table.recorded[name][0]].size


def _run(running: Executor, section: str, table: Timetable) -> dict[str, IntArray]:
    """One run, stopped after every operation that writes a vector of the timetable: scratch lives no longer."""
    found, done = {}, 0
    for name, (tensor, position) in sorted(table.recorded.items(), key=lambda item: item[1][1]):
        if position >= done:
            running.run(section, done, position + 1)
            done = position + 1
        found[name] = running.read(tensor)
    running.run(section, done, None)
    return found


def without_centre(program: Program, recording: Mapping[str, IntArray], samples: FloatArray) -> dict[str, IntArray]:
    """The recording as if samples entered uncentred, their centre folded into the biases: zeros stay zero.

    `samples` [rows, features] are features as the user has them.  A what-if for counting: no Program runs so.
    """
    tensor = next(program.of_kind(Kind.SAMPLE))
    raw = quantise(program.encoding.unit(samples) + np.asarray(program.encoding.centre), tensor.format)
    named = {name: raw for name in recording if name.split("/")[1] == tensor.name}
    if any(len(recording[name]) != len(raw) for name in named):
        raise DataError(f"samples: {len(raw)} rows; the recording has another number")
    return {**recording, **named}


def to_npz(program: Program, recording: Mapping[str, IntArray]) -> bytes:
    """The recording as the neurocore machine reads it."""
    buffer = io.BytesIO()
    small = {name: values.astype(np.int32) for name, values in recording.items()}
    np.savez_compressed(buffer, program_digest=np.array(program.program_digest), **small)  # type: ignore[arg-type]
    return buffer.getvalue()
