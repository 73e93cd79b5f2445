"""What a scenario is: rows, a protocol that contestants plug into, metrics, and whom ours are measured against."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ..baselines import Outcome, Setting
from ..store import source_digest
from .rows import Comparison, Method, Result, seeds_of
from .store import OutcomeStore


@dataclass(frozen=True, kw_only=True)
class Contestant(Method):
    """A method of a scenario: `make` turns a `Setting` into the `Classifier`, `FeatureLearner` or `Detector` wanted.

    `parameters`: everything free about it, in words.  `sources`: modules of ska_edge it depends on.
    """

    make: Callable[[Setting], Any]
    parameters: str
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Goal:
    """Something the benchmark must show: what, the figure found, and whether it holds."""

    words: str
    holds: bool


@dataclass(frozen=True)
class Scenario(ABC):
    """One scenario on one data set.

    `passes`: over the learning rows.  `final`: whether the test rows are opened; otherwise rows for choices judge.
    """

    name: ClassVar[str]
    default_passes: ClassVar[Mapping[str, int]]
    """By data set: those it is made for."""
    metrics: ClassVar[tuple[str, ...]]
    """The first ranks."""
    rival_words: ClassVar[str]
    """Whom our rows are paired with, as in 'the best backprop'."""
    default_seeds: ClassVar[int] = 5
    dataset: str
    passes: int
    final: bool = False

    @abstractmethod
    def contestants(self) -> list[Contestant]:
        """Everyone who takes part."""

    @abstractmethod
    def run(self, contestant: Contestant, seed: int) -> Outcome:
        """One run: make the contestant, let it learn, judge it."""

    def rival(self, comparison: Comparison) -> Result | None:
        """The result that ours are paired with."""
        return comparison.best("backprop")

    def goals(self, comparison: Comparison) -> list[Goal]:
        """What must be shown here."""
        return []

    @property
    def definition(self) -> str:
        """Data, splits, seeds and metric: the docstring of the scenario's module."""
        return inspect.getdoc(inspect.getmodule(type(self))) or ""

    def key(self, contestant: Contestant, seed: int) -> dict[str, Any]:
        """Everything that decides the outcome of a run."""
        module = type(self).__module__.partition(".")[2]
        code = [module, "compare.splits", "data", *contestant.sources]
        return {
            "dataset": self.dataset,
            "scenario": self.name,
            "passes": self.passes,
            "final": self.final,
            "method": contestant.name,
            "profile": contestant.profile,
            "parameters": contestant.parameters,
            "seed": seed,
            "code": source_digest(code),
        }


def compete(
    scenario: Scenario,
    contestants: Sequence[Contestant],
    seeds: int,
    store: OutcomeStore,
    advance: Callable[[int], None] = lambda count: None,
) -> Comparison:
    """Run every contestant for seeds 0 to seeds - 1; runs found in the store are not made again."""
    outcomes: dict[int, list[Outcome]] = {index: [] for index in range(len(contestants))}
    for seed in range(seeds):
        for index, contestant in enumerate(contestants):
            if seed < seeds_of(contestant, seeds):
                key = scenario.key(contestant, seed)
                outcome = store.find(key)
                if outcome is None:
                    outcome = scenario.run(contestant, seed)
                    store.keep(key, outcome)
                outcomes[index].append(outcome)
                advance(1)
    results = tuple(Result(contestant, tuple(outcomes[index])) for index, contestant in enumerate(contestants))
    return Comparison(scenario.dataset, scenario.name, results, scenario.metrics)
