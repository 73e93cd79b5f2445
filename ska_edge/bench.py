"""How fast the compiled core learns: against plain float32 NumPy, and against what the machine can do at best.

Contestants take turns in one process on one thread, and every figure is the median of the ratios of neighbouring turns:
a machine that slows down slows both.  The clock is the thread's own, so that other processes count little.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .backends import open_executor
from .baselines.plain import PlainBatch, PlainStream
from .data import Dataset, load_dataset
from .errors import DataError
from .executor import Executor
from .fixed import IntArray
from .learner import encode
from .lowering import lower
from .network import Network, parse_widths
from .operations import Contract, Flow, Kind, Op, OuterUpdate, Role, Update
from .plan import memory
from .profiles import PROFILES, profile_named
from .program import Program
from .rules import PublishedBatch, rule_named

BARS = {"stream_speedup": 100.0, "batch_ratio": 2.5, "forward": 2.0, "update": 2.0, "weights_changed": 0.2}
BOUND_IN_WORDS = (
    "the longer of two times, measured in the same turns: to read as many bytes as the weights take (update: read and "
    "write them) in a compiled loop of 64-bit additions, from the caches where the weights are; and to do one 16-bit "
    "multiply-add a weight, wrapping around, in a plain compiled loop on a row that never leaves the nearest cache"
)
_REHEARSED = 20
_SAMPLES_A_TURN = 8
_BATCH = 1000
_INK = 0.19  # share of pixels that are not blank in MNIST

Times = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Settings:
    """What is measured, and how often."""

    shape: str = "784-256-128-64-10"
    profile: str = "w16d15"
    repeats: int = 60
    dataset: str | None = None


@dataclass(frozen=True)
class _Subject:
    """A Program, its executor and the samples it learns in turn."""

    program: Program
    executor: Executor
    rows: dict[str, IntArray]

    @classmethod
    def of(cls, network: Network, profile: str, data: Dataset, labelled: bool = False) -> _Subject:
        labels = data.labels if labelled else None
        encoding = data.encoding(centred=network.rule.centred_inputs)
        program = lower(network, profile, data.samples[:_REHEARSED], labels, encoding)
        rows = {"x": encode(program, data.samples[:_BATCH])}
        if labels is not None:
            rows["label"] = labels[:_BATCH]
        return cls(program, open_executor("numba", program), rows)

    def turn(self, number: int, samples: int = _SAMPLES_A_TURN) -> float:
        """Seconds a sample, learning the next few."""
        at = [(number * samples + k) % len(self.rows["x"]) for k in range(samples)]
        rows = {name: values[at] for name, values in self.rows.items()}
        return seconds(lambda: self.executor.stream("learn", rows)) / samples

    def changed(self) -> float:
        """Share of the weights that differ from the start."""
        return weights_changed(self.program, self.executor)


def seconds(call: Callable[[], object]) -> float:
    """CPU seconds of this thread."""
    start = time.thread_time_ns()
    call()
    return (time.thread_time_ns() - start) * 1e-9


def weights_changed(program: Program, executor: Executor) -> float:
    """Share of the weights that an executor has moved."""
    matrices = [t.name for t in program.of_kind(Kind.WEIGHT, Kind.HEAD) if t.role is Role.STATE]
    moved = sum(int((executor.read(name) != program.values[name]).sum()) for name in matrices)
    return moved / sum(program.by_name[name].size for name in matrices)


def turns_of(settings: Settings) -> int:
    """How often `measure` tells that a turn is done."""
    return 5 * settings.repeats + _batch_repeats(settings)


def measure(settings: Settings, advance: Callable[[int], None] = lambda count: None) -> dict[str, Any]:
    """Run the whole benchmark; the keys of `ska-edge bench --json`.

    Raises NetworkError for an impossible shape or profile, DataError where samples do not fit it.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    shape = parse_widths(settings.shape)
    profile_named(settings.profile)
    data = data_for(shape[0], settings.dataset)
    with threadpool_limits(1):
        result = {
            **_stream(settings, shape, data, advance),
            **_batch(settings, shape, data, advance),
            **_shares(settings, shape, data, advance),
            "profiles": _profiles(settings, shape, data, advance),
            "digits_samples_per_second": _digits(settings, advance),
        }
    about = {
        "shape": settings.shape,
        "profile": settings.profile,
        "data": data.name,
        "repeats": settings.repeats,
        "clock": "CPU time of the thread",
        "threads": 1,
        "cpu": _cpu(),
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "numba": _numba_version()},
    }
    result["passed"] = passed(result)
    return {**result, "bars": BARS, **about}


def passed(result: dict[str, Any]) -> dict[str, bool]:
    """Which bars are met."""
    return {
        "stream_speedup": result["stream_speedup"] >= BARS["stream_speedup"],
        "batch_ratio": result["batch_ratio"] <= BARS["batch_ratio"],
        "forward": result["bounds"]["forward"] <= BARS["forward"],
        "update": result["bounds"]["update"] <= BARS["update"],
        "weights_changed": result["weights_changed"] >= BARS["weights_changed"],
    }


# --- data -------------------------------------------------------------------------------------------------------------


def data_for(features: int, name: str | None) -> Dataset:
    """The named data set; without a name, MNIST or the digits where they fit and are there, else `synthetic`."""
    if name is not None:
        data = load_dataset(name)
        if data.samples.shape[1] != features:
            raise DataError(f"{name}: {data.samples.shape[1]} features, the shape begins with {features}")
        return data
    fitting = {784: "mnist", 64: "digits"}.get(features)
    try:
        return load_dataset(fitting) if fitting else synthetic(features)
    except DataError:
        return synthetic(features)


def synthetic(features: int) -> Dataset:
    """Images drawn from one seed that are as blank as MNIST's: how long learning takes hardly depends on more."""
    random = np.random.default_rng(0)
    ink = random.random((_BATCH, features)) < _INK
    images = np.where(ink, random.integers(1, 256, ink.shape), 0).astype(np.float64)
    return Dataset("synthetic", images, None, 0.0, 255.0)


# --- contests ---------------------------------------------------------------------------------------------------------


def _stream(
    settings: Settings, shape: tuple[int, ...], data: Dataset, advance: Callable[[int], None]
) -> dict[str, Any]:
    """One sample at a time, K steps a layer."""
    network = Network(shape, rule_named("published"))
    subject = _Subject.of(network, settings.profile, data)
    plain = PlainStream(network.start_weights(), network.rule.rate, network.rule.forward_steps)
    samples = np.ascontiguousarray(subject.program.encoding.unit(data.samples[:_BATCH]), np.float32)
    subject.turn(0)
    plain.learn_one(samples[0])
    ours, theirs = np.zeros((2, settings.repeats))
    for turn in range(settings.repeats):
        theirs[turn] = seconds(lambda turn=turn: plain.learn_one(samples[turn % len(samples)]))  # type: ignore[misc]
        ours[turn] = subject.turn(turn + 1)
        advance(1)
    return {
        "stream_speedup": float(np.median(theirs / ours)),
        "stream_speedup_quartiles": _quartiles(theirs / ours),
        "stream_microseconds": {"ours": float(np.median(ours)) * 1e6, "numpy": float(np.median(theirs)) * 1e6},
        "samples": (settings.repeats + 1) * _SAMPLES_A_TURN,
        "weight_updates_per_second": network.weight_count / float(np.median(ours)),
        "weights_changed": subject.changed(),
    }


def _batch_repeats(settings: Settings) -> int:
    return max(settings.repeats // 2, 1)


def _batch(settings: Settings, shape: tuple[int, ...], data: Dataset, advance: Callable[[int], None]) -> dict[str, Any]:
    """Steps of the papers' schedule."""
    rule = PublishedBatch(batch=min(_BATCH, len(data.samples)))
    network = Network(shape, rule)
    encoding = data.encoding(centred=False)
    program = lower(network, settings.profile, encoding=encoding)
    executor = open_executor("numba", program)
    executor.write("x", encode(program, data.samples[: rule.batch]))
    samples = np.ascontiguousarray(encoding.unit(data.samples[: rule.batch]), np.float32)
    plain = PlainBatch(network.start_weights(), samples, rule.rate)
    executor.run("prime")
    plain.step(learns=False)
    ours, theirs = np.zeros((2, _batch_repeats(settings)))
    for turn in range(_batch_repeats(settings)):
        theirs[turn] = seconds(plain.step)
        ours[turn] = seconds(lambda: executor.run("step"))
        advance(1)
    return {
        "batch_ratio": float(np.median(ours / theirs)),
        "batch_ratio_quartiles": _quartiles(ours / theirs),
        "batch_milliseconds": {"ours": float(np.median(ours)) * 1e3, "numpy": float(np.median(theirs)) * 1e3},
        "batch_size": rule.batch,
        "batch_weights_changed": weights_changed(program, executor),
    }


def _shares(
    settings: Settings, shape: tuple[int, ...], data: Dataset, advance: Callable[[int], None]
) -> dict[str, Any]:
    """Where a sample's time goes, operation by operation, less what an empty call takes; and the bounds beside it."""
    network = Network(shape, rule_named("published"))
    subject = _Subject.of(network, settings.profile, data)
    executor, ops = subject.executor, subject.program.sections["learn"]
    weights = memory(subject.program)["weights"]
    columns = max(shape[:-1])
    loops = _bound_loops(weights, network.weight_count, columns)
    spent = np.zeros((settings.repeats, len(ops)))
    bounds = np.zeros((settings.repeats, 2, 2))
    for turn in range(settings.repeats):
        for number in (2 * turn, 2 * turn + 1):  # the first finds the weights cold
            executor.write("x", subject.rows["x"][number % len(subject.rows["x"])])
            if number % 2 == 0:
                executor.run("learn")
        empty = min(seconds(lambda: executor.run("learn", 0, 0)) for _ in range(3))
        for position in range(len(ops)):
            took = seconds(lambda position=position: executor.run("learn", position, position + 1))  # type: ignore[misc]
            spent[turn, position] = max(took - empty, 0.0)
        for part, kind in np.ndindex(2, 2):
            loops[part][kind]()
            bounds[turn, part, kind] = max(seconds(loops[part][kind]) - empty, 1e-9)
        advance(1)
    bound = bounds.max(axis=2)
    parts = {part: spent[:, [_part_of(op) == part for op in ops]].sum(axis=1) for part in ("forward", "flow", "update")}
    whole = sum(parts.values())
    reads_weights = [isinstance(op, Contract) and op.a != op.b for op in ops]
    updates = [isinstance(op, OuterUpdate) for op in ops]
    return {
        "stream_shares": {part: float(np.median(times / whole)) for part, times in parts.items()},
        "bounds": {
            "forward": float(np.median(spent[:, reads_weights].sum(axis=1) / bound[:, 0])),
            "update": float(np.median(spent[:, updates].sum(axis=1) / bound[:, 1])),
            "forward_microseconds": _bound_parts(bounds[:, 0]),
            "update_microseconds": _bound_parts(bounds[:, 1]),
            "weight_bytes": weights,
            "words": BOUND_IN_WORDS,
        },
    }


def _bound_parts(times: Times) -> dict[str, float]:
    """Both times that a bound is the longer of."""
    bytes_, arithmetic = np.median(times, axis=0) * 1e6
    return {"bytes": float(bytes_), "arithmetic": float(arithmetic)}


def _part_of(op: Op) -> str:
    """Forward is whatever neither flows nor learns: knowledge, the sample's rate, the choice."""
    if isinstance(op, Flow):
        return "flow"
    return "update" if isinstance(op, OuterUpdate | Update) else "forward"


def _bound_loops(size: int, weights: int, columns: int) -> list[tuple[Callable[[], object], Callable[[], object]]]:
    """For forward and for update: the loop over so many bytes, and the loop over so many multiply-adds."""
    from numba import njit

    numbers = np.zeros(-(-size // 8), np.int64)
    row, x = np.zeros((2, columns), np.int16)
    rows = weights // columns

    @njit
    def read(array):  # type: ignore[no-untyped-def]
        total = np.int64(0)
        for k in range(array.size):
            total += array[k]
        return total

    @njit
    def write(array):  # type: ignore[no-untyped-def]
        for k in range(array.size):
            array[k] += 1

    @njit
    def dot(row, x, rows):  # type: ignore[no-untyped-def]
        total = np.int32(0)
        for j in range(rows):
            row[0] = j  # a new row each time, as far as the compiler knows
            for i in range(row.size):
                total = np.int32(total + row[i] * x[i])
        return total

    @njit
    def learn(row, x, rows):  # type: ignore[no-untyped-def]
        for j in range(rows):
            s = np.int16(j)
            for i in range(row.size):
                row[i] += s * x[i]

    return [
        (lambda: read(numbers), lambda: dot(row, x, rows)),
        (lambda: write(numbers), lambda: learn(row, x, rows)),
    ]


def _profiles(
    settings: Settings, shape: tuple[int, ...], data: Dataset, advance: Callable[[int], None]
) -> dict[str, dict[str, float]]:
    """A sample's time in every profile, as a share of the first's, in turns."""
    network = Network(shape, rule_named("published"))
    subjects = {name: _Subject.of(network, name, data) for name in PROFILES}
    times = np.zeros((settings.repeats, len(subjects)))
    for subject in subjects.values():
        subject.turn(0)
    for turn in range(settings.repeats):
        for column, subject in enumerate(subjects.values()):
            times[turn, column] = subject.turn(turn + 1)
        advance(2)
    relative = np.median(times / times[:, :1], axis=0)
    return {
        name: {"relative_time": float(relative[column]), "weights_changed": subject.changed()}
        for column, (name, subject) in enumerate(subjects.items())
    }


def _digits(settings: Settings, advance: Callable[[int], None]) -> float:
    """Samples a second of the default model: digits, guided, w8d8."""
    subject = _Subject.of(Network((64, 16, 10)), "w8d8", load_dataset("digits"), labelled=True)
    times = np.zeros(settings.repeats)
    subject.turn(0)
    for turn in range(settings.repeats):
        times[turn] = subject.turn(turn + 1, 10 * _SAMPLES_A_TURN)
        advance(1)
    return 1.0 / float(np.median(times))


def _quartiles(values: Times) -> list[float]:
    return [float(value) for value in np.percentile(values, [25, 75])]


def _numba_version() -> str:
    from numba import __version__

    return str(__version__)


def _cpu() -> str:
    """The processor's name, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
