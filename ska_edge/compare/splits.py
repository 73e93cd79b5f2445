"""Which rows a scenario learns from and is judged on.

MNIST: learn from 100 images a class of the training set; unlabelled, the first 4,000 images of the test set.  Judged on
the labels of those 4,000 while choices are made; on the next 4,000 only where `final` asks for it.
Digits: a stratified fifth of the 1,797 images is the test, split by seed; while choices are made, a fifth of the rest
stands in for it.
ECG5000: see `novelty`; it has no rows for choices.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from ..baselines import Setting
from ..data import Dataset, load_dataset, load_mnist, split
from ..errors import DataError
from ..fixed import FloatArray, IntArray

SHAPES = {"mnist": (784, 256, 128, 64, 10), "digits": (64, 16, 10)}


@dataclass(frozen=True)
class Part:
    """Samples [n, features] as measured, and labels [n]."""

    samples: FloatArray
    labels: IntArray

    def rows(self, picked: IntArray) -> Part:
        """Some of them."""
        return Part(self.samples[picked], self.labels[picked])


@dataclass(frozen=True)
class Data:
    """What one seed of a scenario learns from (`learn`; `unlabelled` samples), and what judges it (`test`)."""

    dataset: Dataset
    learn: Part
    test: Part
    unlabelled: FloatArray

    def setting(self, shape: tuple[int, ...], seed: int, stream: int | None = None) -> Setting:
        """What a method may know before it learns: the learning rows."""
        rows = replace(self.dataset, samples=self.learn.samples, labels=self.learn.labels)
        return Setting(shape, rows.encoding(), self.learn.samples, self.learn.labels, seed, stream)


def data_of(name: str, seed: int, final: bool) -> Data:
    """The rows of one seed.  Raises DataError for a data set without labels of ten classes."""
    if name == "mnist":
        learn, stream = load_dataset("mnist"), _mnist("t10k_stream")
        test = _mnist("t10k_test") if final else stream
        return Data(learn, _part(learn), _part(test), stream.samples)
    if name != "digits":
        raise DataError(f"data set {name!r}: allowed here are {', '.join(SHAPES)}")
    digits = _digits()
    rows = split(digits, seed)
    whole = _part(digits)
    learn_rows, test_rows = rows.learn, rows.test
    if not final:
        outer = whole.rows(rows.learn)
        inner = split(replace(digits, samples=outer.samples, labels=outer.labels), seed)
        learn_rows, test_rows = rows.learn[inner.learn], rows.learn[inner.test]
    return Data(digits, whole.rows(learn_rows), whole.rows(test_rows), digits.samples[learn_rows])


@cache
def _mnist(part: str) -> Dataset:
    return load_mnist(part)


@cache
def _digits() -> Dataset:
    return load_dataset("digits")


def _part(dataset: Dataset) -> Part:
    if dataset.labels is None:
        raise DataError(f"{dataset.name}: no labels to judge by")
    return Part(dataset.samples, dataset.labels)
