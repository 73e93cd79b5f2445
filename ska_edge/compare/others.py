"""Everyone who is not ours, as contestants."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ..baselines import Classifier, Setting, controls, novelty
from ..baselines.chosen import BACKPROP, OTHER_RULES, RECIPES, Kind, recipe_of
from ..baselines.descent import Recipe
from .scenario import Contestant

PATCH = {"mnist": 10, "digits": 4}
"""Side of a local unit's patch: about an eighth, on the digits a quarter, of the image."""
LOGISTIC_STRENGTH = {"mnist": (0.01, 0.1), "digits": (1.0, 1.0)}
"""scikit-learn's C for raw input and for untrained features.

MNIST, rows for choices, C of 0.001, 0.01, 0.1, 1: raw 0.794, 0.831, 0.821, 0.813; untrained local 0.747, 0.810, 0.811,
0.799.  Digits: 1 is within 0.3 points of the best.
"""


def backprops(scenario: str, dataset: str) -> list[Contestant]:
    """Backprop in every form that has a recipe for the scenario, without and with masked inputs."""
    return _descents(BACKPROP, scenario, dataset, "backprop")


def other_rules(scenario: str, dataset: str) -> list[Contestant]:
    """Direct feedback alignment and Forward-Forward."""
    return _descents(OTHER_RULES, scenario, dataset, "other")


def descent(kind: Kind, recipe: Recipe, family: str) -> Contestant:
    """A kind of descent that follows a recipe."""

    def make(setting: Setting) -> Classifier:
        return kind.make(setting, recipe)

    name = f"{kind.name}, masked" if recipe.masked else kind.name
    # a class's own module and those of the classes it comes from; `Mlp`, whose arrays all begin with, in backprop
    modules = {each.__module__.partition(".")[2] for each in kind.maker.__mro__ if "ska_edge." in each.__module__}
    sources = ("baselines.__init__", "baselines.backprop", "start", *sorted(modules - {"baselines"}))
    return Contestant(
        name,
        family,
        kind.profile,
        name if kind.profile == "float32" else f"{name}, {kind.profile}",
        make=make,
        parameters=recipe.in_words(),
        sources=sources,
    )


def readouts(dataset: str) -> list[Contestant]:
    """Logistic regression on raw input, then on untrained features: no learnt hidden layer."""
    units, side = {"mnist": 256, "digits": 16}[dataset], PATCH[dataset]
    raw, untrained = LOGISTIC_STRENGTH[dataset]
    dense = partial(_logistic, partial(controls.Untrained, units=units), untrained)
    local = partial(_logistic, partial(controls.Untrained, units=units, patch=side), untrained)
    words = f"scikit-learn's C = {untrained:g}, {units} units"
    return [
        _control("raw input + logistic", partial(_logistic, controls.RawInput, raw), f"scikit-learn's C = {raw:g}"),
        _control("untrained dense + logistic", dense, words),
        _control("untrained local + logistic", local, f"{words}, patches of {side} x {side}"),
    ]


def _logistic(features: Callable[[Setting], Any], strength: float, setting: Setting) -> controls.Logistic:
    return controls.Logistic(setting, features(setting), strength)


def prototypes() -> list[Contestant]:
    """Nearest class mean of raw input."""
    return [_control("nearest class mean, raw input", controls.NearestMean, "")]


def feature_controls(dataset: str) -> list[Contestant]:
    """Features of as many units as ours that learn nothing, and principal components."""
    units, side = {"mnist": 256, "digits": 64}[dataset], PATCH[dataset]
    components = units // 4

    def dense(setting: Setting) -> controls.Untrained:
        return controls.Untrained(setting, units)

    def local(setting: Setting) -> controls.Untrained:
        return controls.Untrained(setting, units, side)

    def principal(setting: Setting) -> controls.Principal:
        return controls.Principal(setting, components)

    return [
        _control("raw input", controls.RawInput, ""),
        _control("untrained, dense", dense, f"{units} units"),
        _control("untrained, local", local, f"{units} units, patches of {side} x {side}"),
        _control(f"{components} principal components", principal, "", family="other"),
    ]


def detectors() -> list[Contestant]:
    """What statistics offers for novelty."""

    def residual(components: int) -> Contestant:
        make = partial(novelty.PrincipalResidual, components=components)
        name = f"residual of {components} principal components"
        return _control(name, make, "", "baselines.novelty", family="other")

    ridge = f"a ridge of {novelty.RIDGE:g} times the mean variance"
    return [
        _control("Mahalanobis", novelty.Mahalanobis, ridge, "baselines.novelty"),
        _control("nearest neighbour", novelty.NearestNeighbours, "one neighbour", "baselines.novelty"),
        _control("diagonal Gaussian", novelty.Diagonal, "", "baselines.novelty"),
        residual(2),
        residual(10),
    ]


def _descents(kinds: tuple[Kind, ...], scenario: str, dataset: str, family: str) -> list[Contestant]:
    group = "drift" if scenario.startswith("drift") else scenario
    known = RECIPES[group, dataset]
    return [
        descent(kind, recipe_of(scenario, dataset, kind, masked), family)
        for kind in kinds
        for masked in (False, True)
        if (kind.name, kind.profile) in known
    ]


def _control(
    name: str,
    make: Callable[[Setting], Any],
    parameters: str,
    source: str = "baselines.controls",
    family: str = "control",
) -> Contestant:
    sources = (source, "baselines.__init__")
    return Contestant(name, family, "float32", name, make=make, parameters=parameters, sources=sources)
