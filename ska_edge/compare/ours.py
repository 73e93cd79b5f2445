"""Our rules as contestants: any rule and profile, through the same `Learner` that everyone uses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..baselines import Classifier, Cost, Detector, FeatureLearner, Setting
from ..baselines.controls import Logistic
from ..fixed import FloatArray, IntArray, dequantise
from ..layers import Fields, Layer
from ..learner import Learner
from ..lowering import lower
from ..network import Network
from ..operations import Kind
from ..program import Program
from ..rules import rule_named
from .cost import program_cost
from .scenario import Contestant

Shape = tuple[int | Layer, ...]
SOURCES = (
    "rules",
    "builder",
    "axes",
    "fixed",
    "layers",
    "learner",
    "lowering",
    "network",
    "plan",
    "profiles",
    "start",
    "reference.competition",
    "reference.stream",
    "compare.ours",
    "compare.cost",
)
"""What a run of ours depends on; which executor runs it cannot matter."""


WIDE: dict[str, Any] = {
    "rectified": True,
    "rate": 0.2,
    "head_rate": 0.4,
    "tolerance": 0.0625,
    "grain": 0.0,
    "gain": 4.0,
    "head_start": 6.0,
    "mask": 0.2,
    "anneal": 15,
    "entropy_shift": 15,
}
"""Guided learning in wide networks; chosen on MNIST's rows for choices."""
WIDE_4_BITS: dict[str, Any] = {**WIDE, "rate": 0.3, "head_rate": 0.6, "mask": 0.1, "anneal_floor": 0.02}
"""In 4 bits what a mask makes a network learn again and again costs more than it brings: half of it, and faster."""


class RuleClassifier(Classifier):
    """A rule with a class layer."""

    def __init__(self, setting: Setting, shape: Shape, rule: str, profile: str, parameters: dict[str, Any]) -> None:
        self.learner = _learner(setting, shape, rule, profile, parameters, setting.labels)
        self.cost = program_cost(self.learner.program)

    def learn_many(self, samples: FloatArray, labels: IntArray) -> None:
        """One sample at a time."""
        if len(samples):
            self.learner.learn_many(samples, labels)

    def predict_many(self, samples: FloatArray) -> IntArray:
        """Classes."""
        return self.learner.predict_many(samples)


class RuleFeatures(FeatureLearner):
    """A rule on hidden layers alone, without labels; its features are the hidden layers' decisions.

    `layers`: "last", or "all" one beside the other.
    """

    def __init__(
        self,
        setting: Setting,
        rule: str,
        profile: str,
        parameters: dict[str, Any],
        layers: str = "last",
        shape: Shape | None = None,
    ) -> None:
        shape = shape or setting.shape[:-1]
        self.learner = _learner(setting, shape, rule, profile, parameters, None)
        self.layers = layers
        self.cost = program_cost(self.learner.program)

    def learn_many(self, samples: FloatArray) -> None:
        """One sample at a time."""
        self.learner.learn_many(samples)

    def features(self, samples: FloatArray) -> FloatArray:
        """Decisions, 0 to 1."""
        found = hidden_decisions(self.learner, samples)
        return found[-1] if self.layers == "last" else np.concatenate(found, axis=1)


class RuleReadout(Logistic):
    """A rule's features, learnt without labels pass by pass, and logistic regression on what they have become."""

    def learn_many(self, samples: FloatArray, labels: IntArray) -> None:
        """The features learn every pass; the readout is fitted when somebody asks."""
        self.features.learn_many(samples)
        super().learn_many(samples, labels)
        self.fitted = False


class Prototypes(Detector):
    """The rule `novelty`: the distance to the nearest prototype, as the device itself computes it."""

    def __init__(self, setting: Setting, profile: str, parameters: dict[str, Any], neurons: int) -> None:
        features = setting.shape[0]
        shape = (features, Fields(1, neurons, features, competing=True))
        self.learner = _learner(setting, shape, "novelty", profile, parameters, None)
        self.cost = program_cost(self.learner.program)

    def learn_many(self, samples: FloatArray) -> None:
        """One sample at a time."""
        self.learner.learn_many(samples)

    def scores(self, samples: FloatArray) -> FloatArray:
        """Half the squared distance to the nearest prototype, scaled."""
        return self.learner.decide_many(samples)[:, 0]


class DecisionSurprise(Detector):
    """How unlikely a sample's decisions are, each on its own, by their mean and variance over the normal samples."""

    def __init__(self, setting: Setting, rule: str, profile: str, parameters: dict[str, Any]) -> None:
        self.features = RuleFeatures(setting, rule, profile, parameters)
        units = setting.shape[-2]
        self.cost = self.features.cost + Cost(2 * 2 * units, 0, 2 * units)  # a mean and a variance of 16 bits each

    def learn_many(self, samples: FloatArray) -> None:
        """A pass; means and variances are taken after it."""
        self.features.learn_many(samples)
        found = self.features.features(samples)
        self.mean, self.variance = found.mean(axis=0), found.var(axis=0) + 1e-6

    def scores(self, samples: FloatArray) -> FloatArray:
        """Squared distance in standard deviations, summed."""
        found = self.features.features(samples)
        return np.asarray(((found - self.mean) ** 2 / self.variance).sum(axis=1), np.float64)


def hidden_decisions(learner: Learner, samples: FloatArray) -> list[FloatArray]:
    """Decisions of every hidden layer [n, neurons], 0 to 1, the lowest first.

    Scratch is overlaid, so each is collected right after the operation that writes it.
    """
    program = learner.program
    name = next(program.of_kind(Kind.SAMPLE)).name
    inputs = {name: learner.encode(samples)}
    found = []
    for position, tensor in _decisions(program):
        raw = learner.executor.stream("infer", inputs, [tensor], position + 1)[tensor]
        found.append(dequantise(raw, program.by_name[tensor].format).reshape(len(raw), -1))
    return found


def _decisions(program: Program) -> list[tuple[int, str]]:
    """(position in `infer`, name) of what each hidden layer hands on; a rule without classes ends in `decision`."""
    written = {}
    for position, op in enumerate(program.sections["infer"]):
        for name in op.outputs().values():
            layer = program.by_name[name].layer
            if name in (f"C{layer}", f"D{layer}") or (name == "decision" and layer not in written):
                written[layer] = (position, name)
    return list(written.values())


def _learner(
    setting: Setting,
    shape: Shape,
    rule: str,
    profile: str,
    parameters: dict[str, Any],
    labels: IntArray | None,
) -> Learner:
    network = Network(shape, rule_named(rule, **parameters), setting.seed)
    return Learner(lower(network, profile, setting.samples, labels, setting.encoding))


# -- contestants ------------------------------------------------------------------------------------------------


def classifier(
    rule: str, profile: str, name: str | None = None, shape: Shape | None = None, **parameters: Any
) -> Contestant:
    """A rule that learns with labels; `shape` other than the scenario's, where given."""

    def make(setting: Setting) -> RuleClassifier:
        return RuleClassifier(setting, shape or setting.shape, rule, profile, parameters)

    return _contestant(name or rule, rule, profile, make, {**parameters, **_in_words(shape)})


def feature_learner(
    rule: str,
    profile: str,
    name: str | None = None,
    layers: str = "last",
    shape: Shape | None = None,
    **parameters: Any,
) -> Contestant:
    """A rule that learns features without labels."""

    def make(setting: Setting) -> RuleFeatures:
        return RuleFeatures(setting, rule, profile, parameters, layers, shape)

    return _contestant(name or rule, rule, profile, make, {**parameters, "layers": layers, **_in_words(shape)})


def read_out(rule: str, profile: str, name: str | None = None, layers: str = "last", **parameters: Any) -> Contestant:
    """A rule that learns features without labels, and logistic regression on them."""

    def make(setting: Setting) -> RuleReadout:
        return RuleReadout(setting, RuleFeatures(setting, rule, profile, parameters, layers))

    return _contestant(name or f"{rule} + logistic", rule, profile, make, {**parameters, "layers": layers})


def prototypes(profile: str, neurons: int, **parameters: Any) -> Contestant:
    """The rule `novelty`."""
    make = partial(Prototypes, profile=profile, parameters=parameters, neurons=neurons)
    return _contestant("novelty", "novelty", profile, make, {**parameters, "prototypes": neurons})


def detector(rule: str, profile: str, name: str | None = None, **parameters: Any) -> Contestant:
    """A rule's decisions as a detector."""
    make = partial(DecisionSurprise, rule=rule, profile=profile, parameters=parameters)
    return _contestant(name or f"{rule}, surprise of decisions", rule, profile, make, parameters)


def _in_words(shape: Shape | None) -> dict[str, str]:
    return {"shape": "-".join(map(str, shape))} if shape else {}


def _contestant(
    name: str, rule: str, profile: str, make: Callable[[Setting], Any], parameters: dict[str, Any]
) -> Contestant:
    family = "published" if rule == "published" else "ours"
    words = ", ".join(f"{key} {value}" for key, value in sorted(parameters.items())) or "the rule's defaults"
    return Contestant(name, family, profile, f"{name}, {profile}", make=make, parameters=words, sources=SOURCES)
