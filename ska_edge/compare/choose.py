"""Try every recipe of a scenario at other rates, on rows for choices.

`python -m ska_edge.compare.choose SCENARIO DATASET [SEEDS]` prints the mean score by rate; a star marks the rate that
`chosen.py` holds.  Digits take a minute or two, MNIST half an hour.  Test rows stay closed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

from ..baselines.chosen import KINDS, RECIPES, Kind, recipe_of
from ..baselines.descent import Recipe
from .benchmark import Choice, scenarios_of
from .others import descent
from .rows import Result
from .scenario import Scenario, compete
from .store import OutcomeStore

TIMES = (0.25, 0.5, 1.0, 2.0, 4.0)


def alternatives(
    scenario: Scenario, seeds: int, kinds: tuple[Kind, ...] = KINDS
) -> Iterator[tuple[Kind, list[tuple[Recipe, Result]]]]:
    """Each kind, without and with masked inputs, at several rates."""
    group = "drift" if scenario.name.startswith("drift") else scenario.name
    for kind in kinds:
        if (kind.name, kind.profile) not in RECIPES[group, scenario.dataset]:
            continue
        for masked in (False, True):
            chosen = recipe_of(scenario.name, scenario.dataset, kind, masked)
            recipes = [replace(chosen, rate=chosen.rate * times) for times in TIMES]
            contestants = [descent(kind, recipe, "backprop") for recipe in recipes]
            found = compete(scenario, contestants, seeds, OutcomeStore(None))
            yield kind, list(zip(recipes, found.results, strict=True))


def main(arguments: list[str]) -> None:
    """Print the alternatives of a scenario."""
    name, dataset, *rest = arguments
    scenario = scenarios_of(Choice((dataset,), (name,)))[0]
    for kind, found in alternatives(scenario, int(rest[0]) if rest else 3):
        chosen = found[TIMES.index(1.0)][0].rate
        words = [f"{recipe.rate:g}{'*' if recipe.rate == chosen else ''} {result.mean:.4f}" for recipe, result in found]
        print(f"{kind.name}, {kind.profile}, masked {found[0][0].masked:g}: {'  '.join(words)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
