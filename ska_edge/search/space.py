"""What is searched: shapes, profiles, parameters of the rule.  The rule's numbers are multiples of its own defaults."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ..layers import Convolution, Dense, Fields, Grid, Layer
from ..network import Network, parse_shape
from ..profiles import PROFILES
from ..rules import Guided, rule_named
from ..rules.base import MAX_FORWARD_STEPS, MAX_RATE

if TYPE_CHECKING:
    from optuna import Trial

RULE = "guided"
WIDTHS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
ON_A_FIELD = (2, 3, 4, 6, 8, 12, 16, 24, 32)
FILTERS = (2, 3, 4, 6, 8, 12, 16)
SIDES = (3, 4, 5, 6, 7)
STRIDES = (1, 2, 3)
KINDS = ("dense", "fields", "competing", "convolution")
EXTRA_LAYERS = 2
_SHARES = (0.25, 0.375, 0.5, 0.625)
"""Side of a field as a share of the inputs' columns."""
START_WIDTH = 16


@dataclass(frozen=True)
class Candidate:
    """One network that may be learnt: text of its shape, profile, parameters of the rule `guided`.

    >>> Candidate("64-16-10", "w8d8", {"forward_steps": 4}).network(seed=0).rule.forward_steps
    4
    """

    shape: str
    profile: str
    rule: Mapping[str, Any] = field(default_factory=dict)

    def network(self, seed: int) -> Network:
        """The declaration, with the start weights of a seed.  Raises NetworkError for what cannot be taught."""
        return Network(parse_shape(self.shape), rule_named(RULE, **self.rule), seed)

    @property
    def key(self) -> str:
        """The same text for the same candidate."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True)
class Space:
    """All candidates for so many features and classes.

    Up to three hidden layers: the first dense, of fields, competing or a convolution; those above it dense.  `ladder`
    are the widths tried: the board's RAM holds none of the wider ones, even in 4 bits.
    """

    features: int
    classes: int
    ladder: tuple[int, ...] = WIDTHS

    @classmethod
    def within(cls, features: int, classes: int, ram_bytes: int) -> Space:
        """The space for a budget of RAM.

        >>> Space.within(64, 10, 2048).ladder[-1]
        48
        """
        widest = 2 * ram_bytes // (features + classes)
        return cls(features, classes, tuple(width for width in WIDTHS if width <= widest) or WIDTHS[:1])

    @property
    def grid(self) -> Grid:
        """Where the features lie."""
        return Grid.of(self.features)

    def smallest(self, profile: str) -> Candidate:
        """The candidate with the fewest weights that a profile has here."""
        return Candidate(f"{self.features}-{self.ladder[0]}-{self.classes}", profile, {"forward_steps": 2})

    def plain(self, profile: str, width: int = START_WIDTH) -> Candidate:
        """One dense layer and the rule's defaults: what a search starts from."""
        return Candidate(f"{self.features}-{self._widest(width)}-{self.classes}", profile)

    def start(self, profile: str) -> dict[str, Any]:
        """The parameters that `suggest` turns into `plain`."""
        return {
            "profile": profile,
            "first": "dense",
            "width": self.ladder.index(self._widest(START_WIDTH)),
            "extra_layers": 0,
            **dict.fromkeys(("rate", "head_rate", "forward_steps", "tolerance", "grain"), 0),
        }

    def suggest(self, trial: Trial) -> Candidate:
        """The candidate that a trial of Optuna stands for."""
        profile = trial.suggest_categorical("profile", list(PROFILES))
        first = self._first(trial)
        extra = trial.suggest_int("extra_layers", 0, EXTRA_LAYERS)
        if first.competes:
            extra = max(1, extra)  # somebody above must learn from labels
        above = [Dense(self.ladder[trial.suggest_int(f"width_{n + 2}", 0, len(self.ladder) - 1)]) for n in range(extra)]
        shape = "-".join(map(str, (self.features, first, *above, self.classes)))
        rule = _parameters(trial)
        if extra + (not first.competes) > 1:  # with one guided layer there is one head, and it is learnt
            rule["heads"] = trial.suggest_categorical("heads", ["learnt", "code"])
            rule["readout"] = trial.suggest_categorical("readout", ["last", "sum"])
        return Candidate(shape, profile, rule)

    def _first(self, trial: Trial) -> Layer:
        kind = trial.suggest_categorical("first", list(KINDS))
        columns = self.grid.columns
        if kind == "dense":
            return Dense(self.ladder[trial.suggest_int("width", 0, len(self.ladder) - 1)])
        if kind == "convolution":
            sides = [side for side in SIDES if side <= columns] or [1]
            filters = FILTERS[trial.suggest_int("filters", 0, len(FILTERS) - 1)]
            side = sides[trial.suggest_int("filter_side", 0, len(sides) - 1)]
            return Convolution(filters, side, STRIDES[trial.suggest_int("stride", 0, len(STRIDES) - 1)])
        fields = (4, 9, 16, 25) if self.grid.rows > 1 else (2, 4, 8, 12)
        count = fields[trial.suggest_int("fields", 0, len(fields) - 1)]
        neurons = ON_A_FIELD[trial.suggest_int("on_a_field", 0, len(ON_A_FIELD) - 1)]
        side = max(1, round(_SHARES[trial.suggest_int("field_side", 0, len(_SHARES) - 1)] * columns))
        return Fields(count, neurons, side, kind == "competing")

    def _widest(self, width: int) -> int:
        return max(each for each in self.ladder if each <= max(width, self.ladder[0]))


def _parameters(trial: Trial) -> dict[str, Any]:
    """The rule's numbers: each its default times a power of two (of the root of two, for the rates)."""
    default = rule_named(RULE)
    assert isinstance(default, Guided)
    found: dict[str, Any] = {
        "rate": _times(default.rate, trial.suggest_int("rate", -4, 4) / 2, 0.0, 0.99 * MAX_RATE),
        "head_rate": _times(default.head_rate, trial.suggest_int("head_rate", -4, 4) / 2, 0.0, 15.0),
        "tolerance": _times(default.tolerance, trial.suggest_int("tolerance", -1, 1), 2.0**-8, 0.5),
        "grain": _times(default.grain, trial.suggest_int("grain", -1, 1), 2.0**-8, 1.0) if default.grain else 0.0,
    }
    steps = _times(default.forward_steps, trial.suggest_int("forward_steps", -2, 1), 2, MAX_FORWARD_STEPS)
    return {
        name: value
        for name, value in {**found, "forward_steps": round(steps)}.items()
        if value != getattr(default, name)
    }


def _times(default: float, power: float, least: float, most: float) -> float:
    """The default times 2^power, within bounds, to four digits: the same number on every machine."""
    value = min(max(default * 2.0**power, least), most)
    return value if math.isclose(power, round(power)) else float(f"{value:.4g}")
