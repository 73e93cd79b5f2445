"""All rows of a comparison: accuracies first, since backprop's images need the rate that was picked, then images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from ..errors import FitError, NetworkError, ProgramError
from ..processes import Processes
from ..toolchain import CompilerError
from .accuracy import Score, Trial, judge
from .bench import Bench
from .contestants import Job
from .rows import Row


@dataclass(frozen=True)
class Image:
    """A job, and backprop's rate."""

    job: Job
    rate: float | None

    @property
    def shape(self) -> str:
        """The network's."""
        return self.job.shape


@dataclass(frozen=True)
class Refused:
    """Why a network cannot be learnt so, or does not fit."""

    reason: str


Work = TypeVar("Work", Trial, Image)


class Measuring:
    """Jobs on a bench.  `splits`: how many the accuracy is the mean of."""

    def __init__(self, bench: Bench, todo: Sequence[Job], splits: int) -> None:
        self.bench, self.todo, self.splits = bench, todo, splits
        self.jobs = list(dict.fromkeys(replace(job, sweep="") for job in todo))
        self.trials = list(dict.fromkeys(trial for job in self.jobs for trial in self._of(job)))

    def __len__(self) -> int:
        """Trials and images, each once however many rows want it."""
        return len(self.trials) + len(self.jobs)

    def run(
        self, workers: int = 1, advance: Callable[[int], None] = lambda count: None
    ) -> tuple[list[Row], dict[str, str]]:
        """Every row that can be had, and why the others cannot, by their job's words."""
        with Processes(_attempt, self.bench, workers) as processes:
            scores = self._all(processes, self.trials, advance)
            images = [Image(job, getattr(scores[self._of(job)[0]], "rate", None)) for job in self.jobs]
            measured = self._all(processes, images, advance)
        rows, refused = [], dict[str, str]()
        found = {image.job: outcome for image, outcome in measured.items()}
        for job in self.todo:
            same = replace(job, sweep="")
            outcomes = [found[same], *(scores[trial] for trial in self._of(same))]
            reason = next((each.reason for each in outcomes if isinstance(each, Refused)), None)
            if reason is None:
                rows.append(_row(job, outcomes))
            else:
                refused[job.words] = reason
        return rows, refused

    def _of(self, job: Job) -> list[Trial]:
        return [Trial.of(job.contestant, job.shape, split) for split in range(self.splits)]

    def _all(
        self,
        processes: Processes[Bench, Trial | Image, Score | Row | Refused],
        work: Sequence[Work],
        advance: Callable[[int], None],
    ) -> dict[Work, Score | Row | Refused]:
        """Outcomes; the largest networks first, so that none waits for one at the end."""
        ordered = sorted(work, key=lambda each: -self.bench.network(each.shape).weight_count)
        found = dict[Work, Score | Row | Refused]()
        for position, outcome in processes.run(ordered):
            found[ordered[position]] = outcome
            advance(1)
        return found


def _attempt(bench: Bench, work: Trial | Image) -> Score | Row | Refused:
    try:
        return judge(bench, work) if isinstance(work, Trial) else bench.measure(work.job, work.rate)
    except (CompilerError, FitError, NetworkError, ProgramError) as error:
        return Refused(str(error))


def _row(job: Job, outcomes: Sequence[Score | Row | Refused]) -> Row:
    row = next(each for each in outcomes if isinstance(each, Row))
    scores = [each for each in outcomes if isinstance(each, Score)]
    accuracies = tuple(each.accuracy for each in scores if each.accuracy is not None)
    rates = tuple(each.rate for each in scores if each.rate is not None)
    return replace(row, sweep=job.sweep, accuracies=accuracies, rates=rates)
