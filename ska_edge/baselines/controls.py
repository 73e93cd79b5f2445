"""Controls: what can be had without learning features, lest the class layer's work pass for the rule's."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import ProgramError
from ..fixed import FloatArray, IntArray
from ..operations import Kind, OuterUpdate, Update
from ..program import Program
from . import FLOAT_BYTES, Classifier, Cost, FeatureLearner, Outcome, Rows, Setting

MAX_ITERATIONS = 5000
RIDGES = tuple(10.0**k for k in range(-4, 5))
"""Strengths that the ridge readout tries by leave-one-out, for features of unit mean square."""


def logistic_readout(learn: Rows, test: Rows) -> Outcome:
    """Multinomial logistic regression on standardised features, fitted on the host to convergence (scikit-learn).

    The best a linear class layer can do, so a strong control.  Its cost is that of the same class layer learnt on the
    device by float32 descent, the standardisation folded into its weights: one product a weight to decide and one to
    learn, one float32 a class for the error.  L2 strength is scikit-learn's default C = 1: on validation rows of the
    digits within 0.3 points of the best of 0.01, 0.1, 1, 10, 100 for raw input and for untrained features.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    started = time.perf_counter()
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=MAX_ITERATIONS))
    model.fit(learn.samples, learn.labels)
    seconds = time.perf_counter() - started
    return Outcome(float(model.score(test.samples, test.labels)), _readout_cost(learn), seconds)


def frozen(program: Program) -> Program:
    """A guided Program whose hidden layers keep their random start weights; the class layer learns as ever."""
    weights = {tensor.name for tensor in program.of_kind(Kind.WEIGHT)}
    biases = {f"b{program.by_name[name].layer}" for name in weights}
    learn = [op for op in program.sections["learn"] if not _moves(op, weights | biases)]
    if len(learn) == len(program.sections["learn"]):
        raise ProgramError("Program: learns no hidden weights that could be frozen")
    return replace(program, sections={**program.sections, "learn": tuple(learn)})


def _moves(op: object, names: set[str]) -> bool:
    return (isinstance(op, OuterUpdate) and op.w in names) or (isinstance(op, Update) and op.p in names)


def _readout_cost(learn: Rows) -> Cost:
    features, classes = learn.samples.shape[1], int(learn.labels.max()) + 1
    return Cost(FLOAT_BYTES * (features + 1) * classes, FLOAT_BYTES * classes, (2 * features + 1) * classes)


# -- features without learning ----------------------------------------------------------------------------------


class RawInput(FeatureLearner):
    """The samples themselves."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.cost = Cost(0, 0, 0)

    def learn_many(self, samples: FloatArray) -> None:
        """Nothing to learn."""

    def features(self, samples: FloatArray) -> FloatArray:
        """Encoded samples."""
        return self.setting.encode(samples).astype(np.float64)


class Untrained(RawInput):
    """Sigmoid units with random weights, dense, or each with a square patch of the image of its own.

    Weights are normal with standard deviation `gain` / sqrt(inputs of a unit).  `patch`: its side, None for dense; the
    patches lie on a grid as even as it can be.
    """

    def __init__(self, setting: Setting, units: int, patch: int | None = None, gain: float = 1.0) -> None:
        super().__init__(setting)
        inputs = setting.shape[0]
        random = np.random.default_rng([setting.seed, 4])
        self.mask = np.ones((units, inputs), bool) if patch is None else patches(inputs, units, patch)
        fan_in = int(self.mask.sum(axis=1).max())
        self.weights = np.where(self.mask, random.normal(size=self.mask.shape) * gain / np.sqrt(fan_in), 0.0)
        weights = int(self.mask.sum())
        self.cost = Cost(FLOAT_BYTES * weights, 0, weights)

    def features(self, samples: FloatArray) -> FloatArray:
        """Sigmoids."""
        return np.asarray(1 / (1 + np.exp(-self.setting.encode(samples) @ self.weights.T)), np.float64)


def patches(inputs: int, units: int, side: int) -> Any:
    """Which inputs of a square image each unit sees: [units, inputs] of bool.

    >>> patches(9, 4, 2).astype(int).sum(axis=0).tolist()
    [1, 2, 1, 2, 4, 2, 1, 2, 1]
    """
    width, across = round(inputs**0.5), round(units**0.5)
    if width * width != inputs or across * across != units or side > width:
        raise ProgramError(f"patches: {inputs} inputs and {units} units must be squares, {side} at most the width")
    corners = np.round(np.linspace(0, width - side, across)).astype(int)
    seen = np.zeros((across, across, width, width), bool)
    for down, top in enumerate(corners):
        for right, left in enumerate(corners):
            seen[down, right, top : top + side, left : left + side] = True
    return seen.reshape(units, inputs)


class Principal(RawInput):
    """Principal components of the unlabelled samples (scikit-learn): what a linear map can have."""

    def __init__(self, setting: Setting, components: int) -> None:
        from sklearn.decomposition import PCA

        super().__init__(setting)
        self.model = PCA(components, random_state=setting.seed)
        weights = setting.shape[0] * components
        # learnt on a device by Oja's rule: three products a weight
        self.cost = Cost(FLOAT_BYTES * (weights + setting.shape[0]), FLOAT_BYTES * components, 3 * weights)

    def learn_many(self, samples: FloatArray) -> None:
        """Fit."""
        self.model.fit(self.setting.encode(samples).astype(np.float64))

    def features(self, samples: FloatArray) -> FloatArray:
        """Projections."""
        return np.asarray(self.model.transform(self.setting.encode(samples).astype(np.float64)), np.float64)


def ridge_readout(learn: FloatArray, labels: IntArray, test: FloatArray, unlabelled: FloatArray) -> IntArray:
    """Classes of test features by ridge regression on one-hot labels, its strength chosen by leave-one-out.

    Features are centred and scaled, all by one number, as the unlabelled ones say.
    """
    from sklearn.linear_model import RidgeClassifierCV

    mean = unlabelled.mean(axis=0)
    scale = float(np.sqrt(((unlabelled - mean) ** 2).sum(axis=1).mean())) or 1.0
    model = RidgeClassifierCV(RIDGES).fit((learn - mean) / scale, labels)
    return np.asarray(model.predict((test - mean) / scale), np.int64)


# -- classifiers without hidden layers --------------------------------------------------------------------------


class Logistic(Classifier):
    """Logistic regression on features that need no labels, fitted by scikit-learn to convergence.

    It keeps the first pass of samples, which no device would: its bytes are those of the same layer learnt by descent.
    """

    def __init__(self, setting: Setting, features: FeatureLearner, strength: float = 1.0) -> None:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        self.features, self.rows = features, len(setting.samples)
        self.kept: list[tuple[FloatArray, IntArray]] = []
        self.model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=MAX_ITERATIONS))
        self.fitted = False
        self.only: int | None = None  # the class, where only one has come yet
        width = features.features(setting.samples[:1]).shape[1]
        classes = setting.shape[-1]
        self.cost = features.cost + Cost(
            FLOAT_BYTES * (width + 1) * classes, FLOAT_BYTES * classes, (2 * width + 1) * classes
        )

    def learn_many(self, samples: FloatArray, labels: IntArray) -> None:
        """Keep labelled rows of the first pass."""
        known = labels >= 0
        if sum(len(kept) for _, kept in self.kept) < self.rows:
            self.kept.append((samples[known], labels[known]))
            self.fitted = False
            if sum(len(kept) for _, kept in self.kept) == self.rows:
                self._fit()

    def predict_many(self, samples: FloatArray) -> IntArray:
        """Fit if need be, then decide."""
        if not self.fitted:
            self._fit()
        if self.only is not None:
            return np.full(len(samples), self.only, np.int64)
        return np.asarray(self.model.predict(self.features.features(samples)), np.int64)

    def _fit(self) -> None:
        kept, labels = (np.concatenate(parts) for parts in zip(*self.kept, strict=True))
        self.only = int(labels[0]) if (labels == labels[0]).all() else None
        if self.only is None:
            self.model.fit(self.features.features(kept), labels)
        self.fitted = True


class NearestMean(Classifier):
    """The class whose running mean of raw samples is nearest: cannot forget, and needs no rate."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        features, classes = setting.shape[0], setting.shape[-1]
        self.sums, self.counts = np.zeros((classes, features)), np.zeros(classes)
        self.cost = Cost(FLOAT_BYTES * classes * (features + 1), 0, features)

    def learn_many(self, samples: FloatArray, labels: IntArray) -> None:
        """Add to the sums of their classes."""
        known = labels >= 0
        np.add.at(self.sums, labels[known], self.setting.encode(samples[known]))
        np.add.at(self.counts, labels[known], 1)

    def predict_many(self, samples: FloatArray) -> IntArray:
        """The nearest mean of a class seen."""
        means = self.sums / np.maximum(self.counts, 1)[:, None]
        distances = (means**2).sum(axis=1) - 2 * self.setting.encode(samples) @ means.T
        return np.asarray(np.where(self.counts > 0, distances, np.inf).argmin(axis=1), np.int64)
