"""The benchmark: scenarios on data sets, one after the other, from runs made now or before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..progress import bar
from .ablation import Ablation
from .class_incremental import ClassIncremental
from .drift import Rotated, Scaled, Shifted
from .few_labels import FewLabels
from .few_shot import FewShot
from .novelty import Novelty
from .rows import Comparison, Row, difference, seeds_of
from .scenario import Contestant, Goal, Scenario, compete
from .store import OutcomeStore

SCENARIOS: tuple[type[Scenario], ...] = (
    FewShot,
    FewLabels,
    ClassIncremental,
    Shifted,
    Scaled,
    Rotated,
    Novelty,
    Ablation,
)
DATASETS = ("mnist", "digits", "ecg")


@dataclass(frozen=True)
class Choice:
    """What to run.  Empty `scenarios`: all but ablations.  `only`: parts of methods' names, or families."""

    datasets: tuple[str, ...]
    scenarios: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    seeds: int | None = None
    passes: int | None = None
    final: bool = False


@dataclass(frozen=True)
class Finding:
    """One scenario on one data set, run."""

    scenario: Scenario
    comparison: Comparison

    @property
    def goals(self) -> list[Goal]:
        """What it must show."""
        return self.scenario.goals(self.comparison)

    def pairs(self) -> list[str]:
        """Each of our rows, and the published rule's, against the rival, in words."""
        rival = self.scenario.rival(self.comparison)
        if rival is None:
            return []
        mine = [r for r in self.comparison.results if r.method.family in ("ours", "published") and r is not rival]
        return [difference(result, rival).in_words() for result in mine]


@dataclass(frozen=True)
class Benchmark:
    """All findings of one command."""

    findings: tuple[Finding, ...]

    @property
    def rows(self) -> list[Row]:
        """The table."""
        return [row for finding in self.findings for row in finding.comparison.rows]

    def to_json(self) -> dict[str, Any]:
        """The contract's `rows`, and what must be shown."""
        goals = [
            {"dataset": f.scenario.dataset, "scenario": f.scenario.name, "words": goal.words, "holds": goal.holds}
            for f in self.findings
            for goal in f.goals
        ]
        return {"rows": [row.to_json() for row in self.rows], "goals": goals}


def scenarios_of(choice: Choice) -> list[Scenario]:
    """The scenarios that a choice names.  A name stands for all that begin with it.  Raises DataError."""
    names = [scenario.name for scenario in SCENARIOS]
    for wanted in choice.scenarios:
        if not any(name.startswith(wanted) for name in names):
            raise DataError(f"scenario {wanted!r}: allowed are {', '.join(names)}, or how some of them begin")
    found = []
    for dataset in choice.datasets:
        for scenario in SCENARIOS:
            passes = scenario.default_passes.get(dataset)
            if passes is not None and _wanted(scenario.name, choice.scenarios):
                found.append(scenario(dataset, choice.passes or passes, choice.final))
    if not found:
        raise DataError(f"no scenario {', '.join(choice.scenarios)} on {', '.join(choice.datasets)}")
    return found


def _wanted(name: str, scenarios: Sequence[str]) -> bool:
    return any(name.startswith(wanted) for wanted in scenarios) if scenarios else name != Ablation.name


def contestants_of(scenario: Scenario, only: Sequence[str]) -> list[Contestant]:
    """Everyone, or those whose name, profile or family `only` names."""
    everyone = scenario.contestants()
    if not only:
        return everyone
    return [c for c in everyone if any(word in f"{c.name} {c.profile}" or word == c.family for word in only)]


def run_benchmark(choice: Choice, runs: Path | None = None, progress: bool = False) -> Benchmark:
    """Run what is missing in `runs`, scenario by scenario.

    Raises DataError where nobody or nothing is chosen, FileError where a run cannot be kept.
    """
    plans = [(scenario, contestants_of(scenario, choice.only)) for scenario in scenarios_of(choice)]
    plans = [(scenario, contestants) for scenario, contestants in plans if contestants]
    if not plans:
        raise DataError(f"--only {', '.join(choice.only)}: no method's name contains that, and it is no family")
    total = sum(
        seeds_of(contestant, choice.seeds or scenario.default_seeds)
        for scenario, contestants in plans
        for contestant in contestants
    )
    findings = []
    with _one_thread(), bar("comparing", total, progress) as advance:
        for scenario, contestants in plans:
            seeds = choice.seeds or scenario.default_seeds
            found = compete(scenario, contestants, seeds, OutcomeStore(runs), advance)
            findings.append(Finding(scenario, found))
    return Benchmark(tuple(findings))


def _one_thread() -> Any:
    """Small matrices are slower on several cores, and seconds are compared."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    return threadpool_limits(1)
