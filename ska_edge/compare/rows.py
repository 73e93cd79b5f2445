"""The table: rows with the contract's keys, results by method, and paired differences."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..baselines import Outcome


@dataclass(frozen=True)
class Row:
    """One line of a comparison, with the contract's keys.

    `metric`: what was measured; a scenario may have several, each with rows of its own.  `mean` is over `seeds` seeds,
    and `ci95` the half-width of its 95 % interval (Student's t; None for a single seed).  Bytes and multiplications are
    those of `baselines.Cost`.  `seconds`: median wall time of a run's learning on the host.
    """

    dataset: str
    scenario: str
    method: str
    family: str
    profile: str
    seeds: int
    metric: str
    mean: float
    ci95: float | None
    weight_bytes: int
    state_bytes: int
    macs_per_sample: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The row as a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class Method:
    """A way to learn.  `most_seeds` limits the slow ones; `readable` is its name in pictures."""

    name: str
    family: str
    profile: str
    readable: str
    most_seeds: int | None = None


@dataclass(frozen=True)
class Result:
    """A method and its outcome for seed 0, 1, 2, ..."""

    method: Method
    outcomes: tuple[Outcome, ...]

    def scores(self, metric: int = 0) -> list[float]:
        """Scores by seed, of one of the scenario's metrics."""
        return [outcome.scores[metric] for outcome in self.outcomes]

    @property
    def mean(self) -> float:
        """Mean of the first metric."""
        return statistics.fmean(self.scores())


@dataclass(frozen=True)
class Difference:
    """Paired difference over the seeds both have, in points (hundredths), and half its 95 % interval."""

    ours: str
    other: str
    points: float
    ci95: float | None
    seeds: int

    def in_words(self) -> str:
        """One sentence.

        >>> Difference("A", "B", -0.25, 0.5, 10).in_words()
        'A is 0.25 points below B (95 % interval of the paired difference -0.75 to +0.25, 10 seeds)'
        """
        if self.points == 0:
            relation = f"{self.ours} equals {self.other}"
        else:
            side = "above" if self.points > 0 else "below"
            relation = f"{self.ours} is {abs(self.points):.2f} points {side} {self.other}"
        if self.ci95 is None:
            return f"{relation} (one seed, no interval)"
        low, high = self.points - self.ci95, self.points + self.ci95
        return f"{relation} (95 % interval of the paired difference {low:+.2f} to {high:+.2f}, {self.seeds} seeds)"


@dataclass(frozen=True)
class Comparison:
    """All results of one scenario on one data set; the first of its `metrics` is the one that ranks."""

    dataset: str
    scenario: str
    results: tuple[Result, ...]
    metrics: tuple[str, ...] = ("accuracy",)

    @property
    def rows(self) -> list[Row]:
        """One row a method and metric, in the order they were given."""
        return [self.row(result, metric) for metric in range(len(self.metrics)) for result in self.results]

    def row(self, result: Result, metric: int = 0) -> Row:
        """A result as a line of the table."""
        scores = result.scores(metric)
        return Row(
            dataset=self.dataset,
            scenario=self.scenario,
            method=result.method.name,
            family=result.method.family,
            profile=result.method.profile,
            seeds=len(scores),
            metric=self.metrics[metric],
            mean=statistics.fmean(scores),
            ci95=half_width(scores),
            **asdict(result.outcomes[0].cost),
            seconds=statistics.median(outcome.seconds for outcome in result.outcomes),
        )

    def of(self, name: str, profile: str) -> Result:
        """The result of a method."""
        return next(r for r in self.results if (r.method.name, r.method.profile) == (name, profile))

    def best(self, *families: str) -> Result | None:
        """The method of these families with the highest mean: chosen in hindsight, which favours it."""
        found = [result for result in self.results if result.method.family in families]
        return max(found, key=lambda result: result.mean, default=None)

    def best_backprop(self) -> Result:
        """The best of backprop, which must be there."""
        return max((r for r in self.results if r.method.family == "backprop"), key=lambda result: result.mean)


def seeds_of(method: Method, seeds: int) -> int:
    """How many of so many seeds a method runs."""
    return min(seeds, method.most_seeds or seeds)


def half_width(values: Sequence[float]) -> float | None:
    """Half the 95 % interval of the mean by Student's t; None for one value.

    >>> round(half_width([0.90, 0.92, 0.94]), 4)
    0.0497
    """
    if len(values) < 2:
        return None
    from scipy.stats import t

    return float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))


def difference(ours: Result, other: Result, metric: int = 0) -> Difference:
    """Ours minus the other, seed by seed."""
    pairs = list(zip(ours.scores(metric), other.scores(metric), strict=False))  # a slow method has fewer seeds
    points = [100.0 * (a - b) for a, b in pairs]
    names = [f"{result.method.name} {result.method.profile}" for result in (ours, other)]
    return Difference(names[0], names[1], statistics.fmean(points), half_width(points), len(points))
