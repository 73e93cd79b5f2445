"""Ablations: our rule as it stands, and with one thing changed at a time: rate, forward steps K, profile, depth.

Data, passes, seeds and metric: those of the few-shot scenario.  Depth is counted in hidden layers of one width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ..profiles import PROFILES
from ..rules import rule_named
from . import ours
from .few_shot import FewShot
from .rows import Comparison, Result
from .scenario import Contestant, Goal

RULE, PROFILE = "guided", "w8d8"
RATES = (0.25, 0.5, 2.0, 4.0)
"""Times the rule's own."""
FORWARD_STEPS = (2, 4, 8, 16, 32)
DEPTHS = (1, 2, 3, 6, 12)
WIDTHS = {"mnist": 64, "digits": 16}


@dataclass(frozen=True)
class Ablation(FewShot):
    """Variants of one rule."""

    name: ClassVar[str] = "ablation"
    rival_words: ClassVar[str] = "the rule as it stands"

    def contestants(self) -> list[Contestant]:
        """The variants of the rule that the benchmark stands on."""
        return variants(RULE, PROFILE, self.dataset)

    def rival(self, comparison: Comparison) -> Result | None:
        """The rule as it stands."""
        return next((r for r in comparison.results if r.method.name == RULE), None)

    def goals(self, comparison: Comparison) -> list[Goal]:
        """Ablations only show."""
        return []


def variants(rule: str, profile: str, dataset: str, **parameters: Any) -> list[Contestant]:
    """A rule with some parameters, and what one change at a time makes of it."""
    base = rule_named(rule, **parameters)
    width, shape_ends = WIDTHS[dataset], {"mnist": (784, 10), "digits": (64, 10)}[dataset]

    def changed(what: str, profile: str = profile, shape: tuple[int, ...] | None = None, **change: Any) -> Contestant:
        return ours.classifier(rule, profile, f"{rule}, {what}", shape, **{**parameters, **change})

    return [
        ours.classifier(rule, profile, rule, **parameters),
        *(changed(f"rate {base.rate * times:g}", rate=base.rate * times) for times in RATES),
        *(changed(f"K = {steps}", forward_steps=steps) for steps in FORWARD_STEPS if steps != base.forward_steps),
        *(changed(f"profile {name}", profile=name) for name in PROFILES if name != profile),
        *(
            changed(f"{depth} hidden layer{'s' if depth > 1 else ''} of {width}", shape=_deep(shape_ends, width, depth))
            for depth in DEPTHS
        ),
    ]


def _deep(ends: tuple[int, int], width: int, depth: int) -> tuple[int, ...]:
    return (ends[0], *([width] * depth), ends[1])
