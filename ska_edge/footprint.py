"""What learning costs on a chip: our rules beside backprop, on one network, one board, one compiler.

Bytes are the linker's; cycles and stack are the simulator's, of the very image; accuracy is that of the same integers
or the same C on this machine, and the simulated run must leave the same bits behind.  Backprop's rate is picked from a
grid, for every shape anew, by its accuracy on rows kept from those to learn; ours keeps the rule's defaults.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from firmware_sim.catalogue import Board, load_board
from firmware_sim.energy import energy
from firmware_sim.errors import SimError
from firmware_sim.timing import Cycles

from .bare import BareImage, BareRun, build_backprop, build_ours, digest_of, has_floats, run_bare, run_ours
from .baselines.embedded import Descent, HostRun, as_bytes, state_bytes
from .data import Dataset, split
from .errors import DataError, FitError, NetworkError, ProgramError, SkaError
from .fixed import IntArray
from .learner import Learner, encode
from .lowering import lower
from .network import Network, parse_shape
from .operations import Kind
from .plan import learning_bytes, plan, weight_bytes
from .program import Program
from .rules import PublishedBatch, rule_named
from .toolchain import CompilerError

BOARDS = ("nrf52840_dk", "nucleo_g071rb")
RATES: dict[tuple[str, str], tuple[float, ...]] = {
    ("int16", "sgd"): (1 / 8, 1 / 16, 1 / 32, 1 / 64),
    ("float32", "sgd"): (0.01, 0.02, 0.05, 0.1),
    ("float32", "momentum"): (0.01, 0.02, 0.05, 0.1),
    ("float32", "adam"): (0.001, 0.003, 0.01, 0.03),
}
BATCH_FACTOR = 4.0
"""A plain minibatch wants higher rates than single samples."""
BATCH = 16
METHODS = "methods"
SPLIT_SEED = 0


@dataclass(frozen=True)
class Ours:
    """A rule and a profile, learnt sample by sample."""

    rule: str
    profile: str

    @property
    def method(self) -> str:
        """In words."""
        return f"SKA, {self.rule}"


@dataclass(frozen=True)
class Backprop:
    """A way to descend; `hard`: with the core's unit for floats.  Its rate is a placeholder until one is picked."""

    descent: Descent
    hard: bool = False

    @property
    def method(self) -> str:
        """In words."""
        return self.descent.method

    @property
    def profile(self) -> str:
        """Its numbers."""
        return self.descent.numbers + {True: ", M4F", False: ""}[self.hard]


@dataclass(frozen=True)
class Paper:
    """The papers' own schedule, which holds a batch; only its memory is known here."""

    batch: int
    profile: str = "w16d15"

    @property
    def method(self) -> str:
        """In words."""
        return f"SKA, published, batch {self.batch}"


Contestant = Ours | Backprop | Paper


@dataclass(frozen=True)
class Row:
    """One learner on one board.  Bytes; cycles lowest, nominal, highest; None is unknown or not run.

    `learning_state_bytes`: beyond weights, biases and the sample.  `equal`: the simulated run left the bits that the
    run on this machine left.  `rate`: the one picked, of backprop's.
    """

    sweep: str
    method: str
    schedule: str
    shape: str
    board: str
    profile: str
    weight_bytes: int
    learning_state_bytes: int
    static_ram_bytes: int
    flash_bytes: int | None = None
    stack_bytes: int | None = None
    cycles_per_sample: Cycles | None = None
    cycles_per_prediction: Cycles | None = None
    joules_per_sample: Cycles | None = None
    accuracy: float | None = None
    rate: float | None = None
    equal: bool | None = None
    compiler: str = ""
    flags: tuple[str, ...] = field(default=(), repr=False)

    @property
    def ram_bytes(self) -> int:
        """Static and stack."""
        return self.static_ram_bytes + (self.stack_bytes or 0)

    @property
    def name(self) -> str:
        """Method and numbers."""
        return f"{self.method}, {self.profile}"

    def to_json(self) -> dict[str, Any]:
        """The contract's keys and more."""
        shown = asdict(self)
        for key in ("cycles_per_sample", "cycles_per_prediction", "joules_per_sample"):
            value = getattr(self, key)
            shown[key] = None if value is None else value._asdict()
        return {**shown, "ram_bytes": self.ram_bytes}


@dataclass(frozen=True)
class Job:
    """One measurement that is to be made."""

    sweep: str
    contestant: Contestant
    shape: str
    board: Board
    compiler: str = "gcc"


class Bench:
    """Measures contestants on one data set.

    `passes` over the rows to learn give the accuracy on test rows; `samples` are learnt in the simulator.
    """

    def __init__(self, data: Dataset, passes: int = 20, samples: int = 8, seed: int = 0) -> None:
        if data.labels is None:
            raise DataError(f"{data.name}: no labels; backprop cannot learn from it, so there is nothing to compare")
        self.data, self.labels = data, data.labels
        self.passes, self.samples, self.seed = passes, samples, seed
        rows = split(data, SPLIT_SEED)
        self.learnt, self.tested = np.random.RandomState(seed).permutation(rows.learn), rows.test
        kept = len(self.learnt) // 5
        self.inner, self.kept = self.learnt[kept:], self.learnt[:kept]
        encodings = {centred: data.encoding(self.learnt, centred=centred) for centred in (False, True)}
        self.bytes = {centred: as_bytes(data.samples, each) for centred, each in encodings.items()}
        self._programs: dict[tuple[str, Ours | Paper], Program] = {}
        self._accuracies: dict[tuple[str, str, str], tuple[float, float | None]] = {}

    def measure(self, job: Job) -> Row:
        """A row.  Raises SkaError where the network cannot be learnt so, or does not fit the board."""
        contestant = job.contestant
        if isinstance(contestant, Paper):
            return self._paper(job, contestant)
        with tempfile.TemporaryDirectory(prefix="ska-edge-memory-") as name:
            folder = Path(name)
            if isinstance(contestant, Ours):
                return self._ours(job, contestant, folder)
            return self._backprop(job, contestant, folder)

    # -- ours -------------------------------------------------------------------------------------------------------

    def program(self, contestant: Ours | Paper, shape: str) -> Program:
        """The lowered network."""
        key = shape, contestant
        if key not in self._programs:
            rule = (
                PublishedBatch(batch=contestant.batch) if isinstance(contestant, Paper) else rule_named(contestant.rule)
            )
            network = self.network(shape, rule=rule)
            encoding = self.data.encoding(self.learnt, centred=rule.centred_inputs)
            samples, labels = self.data.samples[self.learnt], self.labels[self.learnt]
            self._programs[key] = lower(network, contestant.profile, samples, labels, encoding)
        return self._programs[key]

    def _ours(self, job: Job, contestant: Ours, folder: Path) -> Row:
        program = self.program(contestant, job.shape)
        image = build_ours(program, job.board, folder, job.compiler)
        first = self.learnt[: self.samples]
        raw, labels = encode(program, self.data.samples[first]), self.labels[first]
        name = next(program.of_kind(Kind.SAMPLE)).name
        run = run_ours(image, program, [{name: row} for row in raw], labels.tolist())
        judge = Learner(program)
        judge.learn_many(self.data.samples[first], labels)
        equal = digest_of(program, run.state) == judge.snapshot().state_digest
        return replace(
            _row(job, contestant, image, run, equal),
            weight_bytes=weight_bytes(program),
            learning_state_bytes=learning_bytes(program),
            accuracy=self._own_accuracy(contestant, job.shape),
        )

    def _own_accuracy(self, contestant: Ours, shape: str) -> float | None:
        if "label" not in self.program(contestant, shape).by_name:
            return None  # learns without labels: its last decisions are no classes
        key = shape, contestant.rule, contestant.profile
        if key not in self._accuracies:
            learner = Learner(self.program(contestant, shape))
            for rows in self._orders(self.learnt):
                learner.learn_many(self.data.samples[rows], self.labels[rows])
            found = learner.accuracy(self.data.samples[self.tested], self.labels[self.tested])
            self._accuracies[key] = found, None
        return self._accuracies[key][0]

    def _paper(self, job: Job, contestant: Paper) -> Row:
        program = self.program(contestant, job.shape)
        layout = plan(program)
        held = next(program.of_kind(Kind.SAMPLE)).byte_count - self.data.samples.shape[1]
        return Row(
            job.sweep,
            contestant.method,
            "paper",
            job.shape,
            job.board.name,
            contestant.profile,
            weight_bytes(program),
            learning_bytes(program) + held,
            layout.arena_bytes,
        )

    # -- backprop ---------------------------------------------------------------------------------------------------

    def _backprop(self, job: Job, contestant: Backprop, folder: Path) -> Row:
        network = self.network(job.shape)
        accuracy, rate = self._host_accuracy(contestant.descent, job.shape)
        descent = replace(contestant.descent, rate=rate)
        image = build_backprop(network, descent, job.board, folder, job.compiler, contestant.hard)
        weights, state = state_bytes(network, descent)
        count = -(-self.samples // descent.batch) * descent.batch
        first = self.learnt[np.arange(count) % len(self.learnt)]
        rows = self.bytes[descent.centred][first]
        packed = [bytes(row) for row in rows]
        run = run_bare(image, packed, self.labels[first].tolist(), ("bp_weights", 0, weights))
        host = HostRun(network, descent, folder)
        host.learn(rows, self.labels[first])
        row = _row(job, contestant, image, run, host.weights() == run.state)
        return replace(row, weight_bytes=weights, learning_state_bytes=state, accuracy=accuracy, rate=rate)

    def _host_accuracy(self, descent: Descent, shape: str) -> tuple[float, float]:
        """Accuracy on the test rows at the rate that does best on rows kept from the others."""
        key = shape, descent.numbers, descent.method
        if key not in self._accuracies:
            plain = descent.optimiser == "sgd" and descent.batch > 1
            rates = [rate * (BATCH_FACTOR if plain else 1) for rate in RATES[descent.numbers, descent.optimiser]]
            with tempfile.TemporaryDirectory(prefix="ska-edge-memory-") as name:
                run = partial(self._host_run, shape, Path(name))
                best = max((run(replace(descent, rate=rate), self.inner, self.kept), rate) for rate in rates)[1]
                self._accuracies[key] = run(replace(descent, rate=best), self.learnt, self.tested), best
        accuracy, rate = self._accuracies[key]
        return accuracy, float(rate or 0)

    def _host_run(self, shape: str, folder: Path, descent: Descent, learnt: IntArray, tested: IntArray) -> float:
        host, samples = HostRun(self.network(shape), descent, folder), self.bytes[descent.centred]
        for rows in self._orders(learnt):
            host.learn(samples[rows], self.labels[rows])
        return float((host.predict(samples[tested]) == self.labels[tested]).mean())

    # -- both -------------------------------------------------------------------------------------------------------

    def network(self, shape: str, **given: Any) -> Network:
        """The network to compare on.  Raises SkaError where it does not suit the data."""
        network = Network(parse_shape(shape), seed=self.seed, **given)
        features, classes = self.data.samples.shape[1], int(self.labels.max()) + 1
        if network.widths[0] != features or network.widths[-1] < classes:
            raise DataError(f"shape {shape}: {self.data.name} has {features} features and {classes} classes")
        return network

    def _orders(self, rows: IntArray) -> Iterator[IntArray]:
        for number in range(self.passes):
            yield np.random.RandomState(number).permutation(rows)


def _row(job: Job, contestant: Ours | Backprop, image: BareImage, run: BareRun, equal: bool) -> Row:
    used = energy(job.board, run.per_sample, job.board.clock.hz)
    return Row(
        job.sweep,
        contestant.method,
        "layerwise" if isinstance(contestant, Ours) else "backprop",
        job.shape,
        job.board.name,
        contestant.profile,
        0,
        0,
        image.static_ram_bytes,
        image.flash_bytes,
        run.stack_bytes,
        run.per_sample,
        run.per_prediction,
        used.joules if used else None,
        equal=equal,
        compiler=image.compiler,
        flags=image.flags,
    )


# -- what is compared -----------------------------------------------------------------------------------------------

_OURS = Ours("guided", "w8d8")
_INTEGERS = Backprop(Descent("int16", 1 / 16))
_CENTRED = Backprop(Descent("int16", 1 / 16, centred=True))


def _floats(board: Board, optimiser: str = "sgd", batch: int = 1, centred: bool = True) -> Backprop:
    """Float32, with the core's unit for floats where the simulator has one."""
    return Backprop(Descent("float32", 0.1, optimiser, batch, centred), has_floats(board))


def rivals(board: Board) -> list[Contestant]:
    """Ours in 8 bits, and the backprop that is worth a curve: int16 and float32 in place, Adam over batches."""
    return [_OURS, _INTEGERS, _CENTRED, _floats(board), _floats(board, "adam", BATCH)]


def everyone(board: Board) -> list[Contestant]:
    """Every method that is compared at all."""
    floats = _floats(board)
    return [
        *(Ours("guided", profile) for profile in ("w4d8", "w8d8", "w16d8", "w16d15")),
        Ours("published", "w8d8"),
        Paper(BATCH),
        *(_INTEGERS, _CENTRED, _floats(board, centred=False), floats),
        *([replace(floats, hard=False)] if floats.hard else []),
        *(_floats(board, each, BATCH) for each in ("sgd", "momentum", "adam")),
    ]


@dataclass(frozen=True)
class Sweep:
    """Shapes along one axis; `values` are where they stand on it, `axis` says what that is."""

    name: str
    axis: str
    shapes: tuple[str, ...]
    values: tuple[float, ...]
    batches: tuple[int, ...] = ()


def sweeps(quick: bool = False) -> list[Sweep]:
    """Of the digits; `quick` takes two points of each."""
    widths, depths = (4, 16, 64, 128), (1, 2, 4, 8)
    fields, filters = (1, 4, 16), (2, 8, 16)
    places = ("64-8c3s1-10", "64-8c3s1-8c3s1-10", "64-8c3s1-8c3s1-8c3s1-10")
    found = [
        Sweep("width", "hidden neurons", tuple(f"64-{w}-10" for w in widths), widths),
        Sweep("depth", "hidden layers of 32", tuple("64-" + "32-" * k + "10" for k in depths), depths),
        Sweep("fields", "neurons on each of 9 fields of 4 x 4", tuple(f"64-9x{n}f4-10" for n in fields), fields),
        Sweep("convolution", "filters of 3 x 3", tuple(f"64-{n}c3s1-10" for n in filters), filters),
        Sweep("deep convolution", "layers of 8 filters of 3 x 3", places, (1, 2, 3)),
        Sweep("batch", "samples in a batch", ("64-16-10",) * 4, (2, 4, 16, 32), (2, 4, 16, 32)),
    ]
    return [_cut(sweep) for sweep in found] if quick else found


def _cut(sweep: Sweep) -> Sweep:
    return replace(sweep, shapes=sweep.shapes[:2], values=sweep.values[:2], batches=sweep.batches[:2])


@cache
def board_named(name: str) -> Board:
    """A board of the catalogue.  Raises SkaError for others."""
    try:
        return load_board(name)
    except SimError as error:
        raise SkaError(str(error)) from None


def jobs(
    boards: Sequence[Board],
    compilers: Sequence[str],
    chosen: Sequence[Sweep],
    shapes: Sequence[str],
    methods: Callable[[Board], Sequence[Contestant]] = everyone,
) -> list[Job]:
    """All that is to be measured: `methods` on `shapes`, on each board by each compiler; rivals on the sweeps.

    Sweeps run on the first board, by the first compiler.
    """
    found = [
        Job(METHODS, each, shape, board, compiler)
        for shape in shapes
        for board in boards
        for compiler in compilers
        for each in methods(board)
    ]
    board, compiler = boards[0], compilers[0]
    for sweep in chosen:
        if sweep.batches:
            batched = [(_floats(board, "adam", batch), Paper(batch)) for batch in sweep.batches]
            each_of = [_OURS, _INTEGERS, _CENTRED, *(one for pair in batched for one in pair)]
            found += [Job(sweep.name, each, sweep.shapes[0], board, compiler) for each in each_of]
        else:
            found += [Job(sweep.name, each, shape, board, compiler) for shape in sweep.shapes for each in rivals(board)]
    return found


def measure_all(
    bench: Bench,
    todo: Sequence[Job],
    skipped: dict[str, str],
    advance: Callable[[int], None] = lambda count: None,
) -> list[Row]:
    """Every row that can be had; `skipped` gets the others, with the reason."""
    rows, known = [], dict[Job, Row]()
    for job in todo:
        same = replace(job, sweep="")
        try:
            if same not in known:
                known[same] = bench.measure(job)
            rows.append(replace(known[same], sweep=job.sweep))
        except (CompilerError, FitError, NetworkError, ProgramError) as error:
            name = f"{job.contestant.method}, {job.contestant.profile}, {job.shape}, {job.board.name}, {job.compiler}"
            skipped[name] = str(error)
        advance(1)
    return rows
