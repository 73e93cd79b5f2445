"""The search itself: ask a batch, learn it anywhere, tell it in order.

Optuna's sampler (tree-structured Parzen estimator, two objectives, constraints) is asked for a whole batch before any
of it is told, and told in the order of asking.  So what is asked follows from the seed and the scores alone: not from
how many workers there are, which was first, or which died.
"""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from firmware_sim.catalogue import Board

from ..data import Dataset, Split, split
from ..errors import DataError, FitError, MissingError, NetworkError, ProgramError
from ..profiles import PROFILES
from ..rules import rule_named
from .budget import Gauge, Limits, Needs, check_limits, draft, holds_weights, measure
from .journal import Journal
from .learning import Context, Job, Score
from .space import RULE, Candidate, Space
from .workers import Workers, open_workers, sources

if TYPE_CHECKING:
    import optuna

BATCH = 8
RANDOM_TRIALS = 16
ASKED_A_TRIAL = 60
"""So often at most is the sampler asked for one more candidate that keeps the limits and has not been learnt."""
_EXCESS = "excess"
PROFILES_MEASURED = len(PROFILES)


@dataclass(frozen=True)
class Plan:
    """What a search is told.  `seeds`: how many splits of the learning rows judge each candidate."""

    limits: Limits
    trials: int = 60
    seeds: int = 3
    passes: int = 10
    seed: int = 0
    test_share: float = 0.2
    workers: int = 1
    scheduler: str | None = None
    study: Path | None = None


@dataclass(frozen=True)
class Trial:
    """A candidate that was learnt: accuracies on judging rows, one a seed, and what it is estimated to need."""

    number: int
    candidate: Candidate
    scores: tuple[float, ...]
    needs: Needs

    @property
    def accuracy(self) -> float:
        """Mean over the seeds."""
        return sum(self.scores) / len(self.scores)

    @property
    def rank(self) -> tuple[float, float, float, int]:
        """Smaller is better: accuracy, then RAM, then time, then who was first."""
        return -self.accuracy, self.needs.ram_bytes, self.needs.milliseconds or 0.0, self.number

    def to_json(self) -> dict[str, Any]:
        """The trial as JSON-ready data."""
        return {
            "trial": self.number,
            **asdict(self.candidate),
            "accuracy": self.accuracy,
            "accuracies": list(self.scores),
            "ram_bytes": self.needs.ram_bytes,
            "flash_bytes": self.needs.flash_bytes,
            "milliseconds_estimated": self.needs.milliseconds,
        }


@dataclass(frozen=True)
class Search:
    """What was found.  `unfit`: candidates that broke a limit and were never learnt; `kept`: taken from the journal.

    `work_seconds`: seconds of learning, summed over the workers; `wall_seconds`: seconds in which it was done.
    """

    board: Board
    data: Dataset
    rows: Split
    plan: Plan
    gauge: Gauge
    trials: tuple[Trial, ...]
    unfit: int
    kept: int
    work_seconds: float
    wall_seconds: float
    workers: str
    exhausted: bool

    @property
    def ranked(self) -> list[Trial]:
        """Best first."""
        return sorted(self.trials, key=lambda trial: trial.rank)

    @property
    def front(self) -> list[Trial]:
        """Trials that none beats in accuracy and RAM together: most accurate first."""
        found: list[Trial] = []
        for trial in self.ranked:
            if not found or trial.needs.ram_bytes < found[-1].needs.ram_bytes:
                found.append(trial)
        return found


@dataclass
class Progress:
    """Who is told of progress: images measured, networks learnt (each once a seed)."""

    measured: Callable[[int], None] = lambda count: None
    learnt: Callable[[int], None] = lambda count: None


def search(
    board: Board, data: Dataset, plan: Plan, progress: Progress | None = None, gauge: Gauge | None = None
) -> Search:
    """Search; the journal, if any, has every trial finished so far at any moment.  `gauge`: measured before.

    Raises MissingError without Optuna, a compiler or a scheduler, FitError where nothing fits, SkaError for a journal
    of another search, DataError for data without labels.
    """
    progress = progress or Progress()
    _optuna()
    rows, learning = _rows(data, plan)
    classes = max(len(data.class_names), int(learning.labels.max()) + 1 if learning.labels is not None else 2)
    space = Space.within(data.samples.shape[1], classes, plan.limits.ram_bytes)
    encoding = learning.encoding(centred=rule_named(RULE).centred_inputs)
    journal = Journal(plan.study, _settings(board, data, plan))
    with open_workers(Context(learning, plan.passes), plan.workers, plan.scheduler) as workers:
        if gauge is None and journal.gauge is not None:
            gauge = Gauge.from_json(board, journal.gauge)
            progress.measured(PROFILES_MEASURED)
        gauge = gauge or measure(board, space, encoding, progress.measured)
        check_limits(gauge, space, encoding, plan.limits)
        journal.begin(gauge.to_json())
        hunt = _Hunt(plan, space, gauge, journal, workers, lambda one: draft(one, encoding))
        hunt.run(progress.learnt)
    return Search(
        board, data, rows, plan, gauge, tuple(hunt.trials), hunt.unfit, hunt.kept,
        hunt.work_seconds, hunt.wall_seconds, workers.words, hunt.exhausted,
    )  # fmt: skip


class _Hunt:
    """A search under way."""

    def __init__(
        self,
        plan: Plan,
        space: Space,
        gauge: Gauge,
        journal: Journal,
        workers: Workers,
        drafted: Callable[[Candidate], Any],
    ) -> None:
        self.plan, self.space, self.gauge, self.journal = plan, space, gauge, journal
        self.workers, self.drafted = workers, drafted
        self.study = _study(plan.seed)
        for profile in gauge.measured:
            self.study.enqueue_trial(space.start(profile))
        self.trials: list[Trial] = []
        self.known: dict[str, Trial] = {}
        self.needs: dict[str, Needs | None] = {}
        self.unfit = self.kept = 0
        self.work_seconds = self.wall_seconds = 0.0
        self.exhausted = False

    def run(self, learnt: Callable[[int], None]) -> None:
        """Batch by batch, until so many have been learnt or the sampler finds nothing new."""
        while len(self.trials) < self.plan.trials and not self.exhausted:
            batch = self._ask()
            batch = batch[: self.plan.trials - len(self.trials)]  # the batches of a longer search are the same
            scores = self._learn(batch, learnt)
            for (asked, candidate, needs), found in zip(batch, scores, strict=True):
                trial = Trial(len(self.trials), candidate, tuple(found), needs)
                self.trials.append(trial)
                self.known[candidate.key] = trial
                self.study.tell(asked, [trial.accuracy, float(needs.ram_bytes)])

    def _ask(self) -> list[tuple[optuna.Trial, Candidate, Needs]]:
        """A batch of candidates that keep the limits and have not been learnt; the others are told at once."""
        batch: list[tuple[optuna.Trial, Candidate, Needs]] = []
        for _ in range(ASKED_A_TRIAL * BATCH):
            asked = self.study.ask()
            candidate = self.space.suggest(asked)
            needs = self._needs(candidate)
            excess = 1.0 if needs is None else needs.excess(self.plan.limits)
            asked.set_user_attr(_EXCESS, excess)
            if needs is None or excess:
                self.unfit += 1
                self.study.tell(asked, [0.0, float(needs.ram_bytes) if needs else 2.0 * self.plan.limits.ram_bytes])
            elif known := self.known.get(candidate.key):
                self.study.tell(asked, [known.accuracy, float(needs.ram_bytes)])
            elif any(candidate == other for _, other, _ in batch):
                self.study.tell(asked, state=_optuna().trial.TrialState.FAIL)  # its twin's score is not known yet
            else:
                batch.append((asked, candidate, needs))
                if len(batch) == BATCH:
                    return batch
        self.exhausted = True
        return batch

    def _needs(self, candidate: Candidate) -> Needs | None:
        """None for a network that cannot be, or that the board does not hold."""
        if candidate.key not in self.needs:
            try:
                fits = holds_weights(candidate, self.plan.limits)
                self.needs[candidate.key] = (
                    self.gauge.needs(self.drafted(candidate), candidate.profile) if fits else None
                )
            except (NetworkError, ProgramError, FitError):
                self.needs[candidate.key] = None
        return self.needs[candidate.key]

    def _learn(
        self, batch: list[tuple[optuna.Trial, Candidate, Needs]], learnt: Callable[[int], None]
    ) -> list[list[float]]:
        """Scores of a batch, one a seed; each candidate goes to the journal when its last seed is done."""
        scores: list[list[float]] = [self.journal.scores.get(candidate.key, []) for _, candidate, _ in batch]
        self.kept += sum(map(bool, scores))
        learnt(self.plan.seeds * sum(map(bool, scores)))
        jobs = [(at, seed) for at, found in enumerate(scores) if not found for seed in range(self.plan.seeds)]
        jobs.sort(key=lambda job: -(batch[job[0]][2].milliseconds or 0.0))  # the longest first: none waits at the end
        found: dict[tuple[int, int], Score] = {}
        started = time.perf_counter()
        for position, score in self.workers.run([Job(batch[at][1], seed) for at, seed in jobs]):
            at, seed = jobs[position]
            found[at, seed] = score
            self.work_seconds += score.seconds
            learnt(1)
            seeds = [(at, each) for each in range(self.plan.seeds)]
            if all(each in found for each in seeds):
                scores[at] = [found[each].accuracy for each in seeds]
                asked, candidate, needs = batch[at]
                self.journal.keep(asked, candidate, scores[at], needs.ram_bytes)
        self.wall_seconds += time.perf_counter() - started
        return scores


def _study(seed: int) -> optuna.Study:
    library = _optuna()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # options of the sampler that Optuna calls experimental
        sampler = library.samplers.TPESampler(
            seed=seed,
            n_startup_trials=RANDOM_TRIALS,
            constant_liar=True,
            constraints_func=lambda trial: (trial.user_attrs.get(_EXCESS, 0.0),),
        )
    study: optuna.Study = library.create_study(directions=["maximize", "minimize"], sampler=sampler)
    return study


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise MissingError(f"{error.name}: not installed; pip install 'ska_edge[search]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _rows(data: Dataset, plan: Plan) -> tuple[Split, Dataset]:
    """The split that `train` makes with the same seed, and the labelled learning rows alone."""
    if data.labels is None:
        raise DataError(f"{data.name}: no labels to judge by; a search needs them")
    labelled = data.labels >= 0
    rows = split(data, plan.seed, plan.test_share)
    rows = Split(rows.learn[labelled[rows.learn]], rows.test[labelled[rows.test]])
    learning = replace(data, samples=data.samples[rows.learn], labels=data.labels[rows.learn])
    for seed in range(plan.seeds):
        split(learning, seed)  # too few rows of a class are said now
    return rows, learning


def _settings(board: Board, data: Dataset, plan: Plan) -> dict[str, Any]:
    """All that decides what is found, but for the number of trials."""
    digest = hashlib.sha256(data.samples.tobytes() + (b"" if data.labels is None else data.labels.tobytes()))
    return {
        "board": board.name,
        "dataset": data.name,
        "rows": digest.hexdigest()[:16],
        "limits": asdict(plan.limits),
        "seed": plan.seed,
        "seeds": plan.seeds,
        "passes": plan.passes,
        "test_share": plan.test_share,
        "sources": sources(),
    }
