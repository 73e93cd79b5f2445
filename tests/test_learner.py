"""The learner's own promises: one sample or many, any executor, snapshots that go on where they stopped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ska_edge import Learner, Network, lower, rule_named
from ska_edge.data import Dataset, load_dataset, split
from ska_edge.errors import DataError, NetworkError, SkaError


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


def make(digits: Dataset, executor: str = "numba", profile: str = "w8d8", rows: int = 200) -> Learner:
    samples, labels = digits.samples[:rows], digits.labels
    assert labels is not None
    return Learner(lower(Network((64, 16, 10)), profile, samples, labels[:rows], digits.encoding()), executor)


def test_one_by_one_equals_many(digits: Dataset) -> None:
    one, many = make(digits), make(digits)
    for x, y in zip(digits.samples[:50], digits.labels[:50], strict=True):  # type: ignore[index]
        one.learn_one(x, int(y))
    many.learn_many(digits.samples[:50], digits.labels[:50], chunk=7)  # type: ignore[index]
    assert one.snapshot().state_digest == many.snapshot().state_digest
    assert one.weight_updates == many.weight_updates == 50 * 1184
    assert [one.predict_one(x) for x in digits.samples[:20]] == many.predict_many(digits.samples[:20]).tolist()


def test_resume_equals_going_on(digits: Dataset, tmp_path: Path) -> None:
    whole, part = make(digits), make(digits)
    whole.learn_many(digits.samples[:200], digits.labels[:200])  # type: ignore[index]
    part.learn_many(digits.samples[:80], digits.labels[:80])  # type: ignore[index]
    part.save(tmp_path / "part.ska")
    resumed = Learner.load(tmp_path / "part.ska", "oracle")
    resumed.learn_many(digits.samples[80:200], digits.labels[80:200])  # type: ignore[index]
    assert resumed.snapshot().state_digest == whole.snapshot().state_digest


@pytest.mark.parametrize("profile", ["w16d15", "w16d8", "w8d8", "w4d8"])
def test_unlabelled_samples_teach_nothing_by_default(digits: Dataset, profile: str) -> None:
    learner = make(digits, profile=profile)
    before = {name: value.copy() for name, value in learner.executor.state().items()}
    learner.learn_many(digits.samples[:30])
    after = learner.executor.state()
    assert all((after[name] == before[name]).all() for name in before if name != "t")
    assert int(after["t"]) == 30


def test_unlabelled_samples_teach_through_entropy_if_told(digits: Dataset) -> None:
    rule = rule_named("guided", unlabelled="entropy")
    program = lower(Network((64, 16, 10), rule), "w8d8", digits.samples[:100], None, digits.encoding())
    learner = Learner(program)
    heads = learner.executor.read("head_W1").copy()
    history = learner.learn_many(digits.samples[:500])
    assert learner.weights_changed() > 0.2
    assert (learner.executor.read("head_W1") == heads).all()
    assert np.isnan(history.accuracy).all()


def test_history_counts_every_sample(digits: Dataset) -> None:
    history = make(digits).learn_many(digits.samples[:100], digits.labels[:100], passes=3, chunk=40)  # type: ignore[index]
    assert history.samples == [40, 80, 100, 140, 180, 200, 240, 280, 300]
    assert set(history.entropy) == {"entropy1", "entropy_class"}


@pytest.mark.parametrize(
    ("samples", "labels", "said"),
    [
        ([[0.0] * 63], None, "rows of 64 features"),
        ([0.0] * 64, None, "rows of 64 features"),
        (np.zeros((0, 64)), None, "none given"),
        ([[np.nan] * 64], None, "row 0, feature 0 is nan"),
        ([[0.0] * 63 + [np.inf]], None, "row 0, feature 63 is inf"),
        ([["a"] * 64], None, "not numbers"),
        ([[0.0] * 64], [10], "classes 0 to 9"),
        ([[0.0] * 64], [-2], "classes 0 to 9"),
        ([[0.0] * 64], [0.5], "whole numbers"),
        ([[0.0] * 64], [0, 1], "one label a sample"),
    ],
)
def test_bad_data_is_refused_and_nothing_is_learnt(samples: object, labels: object, said: str, digits: Dataset) -> None:
    learner = make(digits)
    digest = learner.snapshot().state_digest
    with pytest.raises(DataError, match=said):
        learner.learn_many(samples, labels)  # type: ignore[arg-type]
    assert learner.snapshot().state_digest == digest


@pytest.mark.parametrize(
    ("shape", "parameters", "said"),
    [
        ((64,), {}, "1 to 64 layers"),
        ((64, 0, 10), {}, "0 neurons"),
        ((64, 10), {}, "hidden layer"),
        ((64, 16, 10), {"head_rate": 0.0}, "head_rate"),
        ((64, 16, 10), {"tolerance": 0.3}, "tolerance"),
        ((64, 16, 10), {"target": 0.2}, "target"),
        ((64, 16, 10), {"entropy_shift": 99}, "entropy_shift"),
        ((64, 16, 10), {"speed": 1}, "it has rate"),
    ],
)
def test_impossible_networks(shape: tuple[int, ...], parameters: dict[str, float], said: str) -> None:
    with pytest.raises(NetworkError, match=said):
        Network(shape, rule_named("guided", **parameters))


def test_unknown_executor(digits: Dataset) -> None:
    with pytest.raises(SkaError, match="allowed are oracle, numba"):
        make(digits, "abacus")


def test_splits_are_stratified_and_repeat(digits: Dataset) -> None:
    first, again, other = split(digits, 1), split(digits, 1), split(digits, 2)
    assert (first.test == again.test).all()
    assert not (first.test == other.test).all()
    assert not set(first.learn) & set(first.test)
