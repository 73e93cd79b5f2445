"""Who is compared on a chip: our rules, backprop, random features; on which networks, boards and compilers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from firmware_sim.catalogue import Board, load_board
from firmware_sim.errors import SimError

from ..bare import check_board, has_floats
from ..baselines.embedded import Descent
from ..errors import SkaError
from ..rules import PublishedBatch, Rule, rule_named
from ..rules.guided import DEEP

BOARDS = ("nrf52840_dk", "nucleo_g071rb")
BATCH = 16
METHODS = "methods"


@dataclass(frozen=True)
class Ours:
    """A rule and a profile, learnt sample by sample; `settings` [(parameter, value)] and a word for them."""

    rule: str
    profile: str
    settings: tuple[tuple[str, Any], ...] = ()
    word: str = ""

    @property
    def method(self) -> str:
        """In words."""
        return f"SKA, {self.rule}" + (f", {self.word}" if self.word else "")

    def made(self) -> Rule:
        """The rule."""
        return rule_named(self.rule, **dict(self.settings))


@dataclass(frozen=True)
class RandomFeatures:
    """The same network, whose hidden layers keep their random weights, as constants: only the class layer learns."""

    profile: str
    method: str = "random hidden layers"

    def made(self) -> Rule:
        """The rule that the class layer learns by."""
        return rule_named("guided")


@dataclass(frozen=True)
class Paper:
    """The papers' own schedule, which holds a batch; only its memory is known here."""

    batch: int
    profile: str = "w16d15"

    @property
    def method(self) -> str:
        """In words."""
        return f"SKA, published, batch {self.batch}"

    def made(self) -> Rule:
        """The rule."""
        return PublishedBatch(batch=self.batch)


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


Lowered = Ours | RandomFeatures | Paper
Contestant = Lowered | Backprop

OURS = Ours("guided", "w8d8")
DEEP_OURS = Ours("guided", "w8d8", tuple(DEEP.items()), "deep")
RANDOM = RandomFeatures("w8d8")
INTEGERS = Backprop(Descent("int16", 1 / 16))
CENTRED = Backprop(Descent("int16", 1 / 16, centred=True))


def _floats(board: Board, optimiser: str = "sgd", batch: int = 1, centred: bool = True) -> Backprop:
    """Float32, with the core's unit for floats where the simulator has one."""
    return Backprop(Descent("float32", 0.1, optimiser, batch, centred), has_floats(board))


def rivals(board: Board) -> list[Contestant]:
    """Ours in 8 bits, random features, and the backprop worth a curve: int16, float32 in place, Adam over batches."""
    return [OURS, DEEP_OURS, RANDOM, INTEGERS, CENTRED, _floats(board), _floats(board, "adam", BATCH)]


def everyone(board: Board) -> list[Contestant]:
    """Every method that is compared at all."""
    floats = _floats(board)
    return [
        *(Ours("guided", profile) for profile in ("w4d8", "w8d8", "w16d8", "w16d15")),
        DEEP_OURS,
        Ours("published", "w8d8"),
        Paper(BATCH),
        RANDOM,
        *(INTEGERS, CENTRED, _floats(board, centred=False), floats),
        *([replace(floats, hard=False)] if floats.hard else []),
        *(_floats(board, each, BATCH) for each in ("sgd", "momentum", "adam")),
    ]


@dataclass(frozen=True)
class Sweep:
    """Shapes along one axis; `values` are where they stand on it, `axis` says what that is.

    `ours`: the settings of our rule that ratios are taken to, those for depth where hidden layers are several.
    """

    name: str
    axis: str
    shapes: tuple[str, ...]
    values: tuple[float, ...]
    batches: tuple[int, ...] = ()
    ours: Ours = OURS


def sweeps(quick: bool = False) -> list[Sweep]:
    """Of the digits; `quick` takes two points of each."""
    widths, depths = (4, 16, 64, 128), (1, 2, 4, 8)
    fields, filters = (1, 4, 16), (2, 8, 16)
    places = ("64-8c3s1-10", "64-8c3s1-8c3s1-10", "64-8c3s1-8c3s1-8c3s1-10")
    deep = tuple("64-" + "32-" * k + "10" for k in depths)
    found = [
        Sweep("width", "hidden neurons", tuple(f"64-{w}-10" for w in widths), widths),
        Sweep("depth", "hidden layers of 32", deep, depths, ours=DEEP_OURS),
        Sweep("fields", "neurons on each of 9 fields of 4 x 4", tuple(f"64-9x{n}f4-10" for n in fields), fields),
        Sweep("convolution", "filters of 3 x 3", tuple(f"64-{n}c3s1-10" for n in filters), filters),
        Sweep("deep convolution", "layers of 8 filters of 3 x 3", places, (1, 2, 3), ours=DEEP_OURS),
        Sweep("batch", "samples in a batch", ("64-16-10",) * 4, (2, 4, 16, 32), (2, 4, 16, 32)),
    ]
    return [_cut(sweep) for sweep in found] if quick else found


def _cut(sweep: Sweep) -> Sweep:
    return replace(sweep, shapes=sweep.shapes[:2], values=sweep.values[:2], batches=sweep.batches[:2])


@cache
def board_named(name: str) -> Board:
    """A board of the catalogue that gets a bare image.  Raises SkaError for others."""
    try:
        board = load_board(name)
    except SimError as error:
        raise SkaError(str(error)) from None
    check_board(board)
    return board


@dataclass(frozen=True)
class Job:
    """One image to be built and run."""

    sweep: str
    contestant: Contestant
    shape: str
    board: Board
    compiler: str = "gcc"

    @property
    def words(self) -> str:
        """Who, where."""
        return f"{self.contestant.method}, {self.contestant.profile}, {self.shape}, {self.board.name}, {self.compiler}"


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
            each_of = [OURS, INTEGERS, CENTRED, *(one for pair in batched for one in pair)]
            found += [Job(sweep.name, each, sweep.shapes[0], board, compiler) for each in each_of]
        else:
            found += [Job(sweep.name, each, shape, board, compiler) for shape in sweep.shapes for each in rivals(board)]
    return found
