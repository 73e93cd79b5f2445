"""Two layers on synthetic data, and the linear readout."""

from __future__ import annotations

import numpy as np
import pytest

from ska_edge.errors import DataError
from ska_edge.fixed import FloatArray
from ska_edge.reference.papers import sigmoid
from ska_edge.reference.readout import readout_accuracy
from ska_edge.reference.two_layer import BACKPROP_RATE, KINDS, METHODS, STEPS, _backprop, points, run_two_layer


@pytest.fixture(scope="module")
def runs() -> dict[str, list[dict[str, float]]]:
    return {kind: [run_two_layer(kind, seed).accuracy for seed in range(3)] for kind in KINDS}


def mean(runs: dict[str, list[dict[str, float]]], kind: str, method: str) -> float:
    return float(np.mean([run[method] for run in runs[kind]]))


def test_where_the_published_rule_classifies_and_where_not(runs: dict[str, list[dict[str, float]]]) -> None:
    """Bars far from what is measured (0.96, 0.73, 0.72; backprop 0.96, 0.96, 0.95)."""
    assert mean(runs, "centred", "published rule") > 0.93
    assert mean(runs, "shifted", "published rule") < 0.85
    assert mean(runs, "exclusive or", "published rule") < 0.85
    for kind in KINDS:
        assert mean(runs, kind, "backprop") > 0.9
        assert mean(runs, kind, "untrained") < mean(runs, kind, "backprop") - 0.1


def test_runs_are_whole_and_repeatable() -> None:
    first, second = (run_two_layer("centred", 5, steps=20) for _ in range(2))
    assert first == second
    assert set(first.accuracy) == set(first.plain_accuracy) == set(METHODS)
    assert {method: [len(layer) for layer in layers] for method, layers in first.entropy.items()} == {
        "published rule": [19, 19],
        "backprop": [19, 19],
    }
    assert all(0.5 <= share <= 1.0 for share in first.plain_accuracy.values())
    assert sum(first.entropy["published rule"][0]) < 0.0


def test_backprop_descends_the_cross_entropy() -> None:
    """The step is the numerical gradient of the loss."""
    x, y = points("exclusive or", 1, 30)
    rng = np.random.default_rng(2)
    start = [rng.normal(size=(8, 4)), rng.normal(size=(4, 1))]

    def loss(weights: list[FloatArray]) -> float:
        output = sigmoid(sigmoid(x @ weights[0]) @ weights[1])[:, 0]
        return -float(np.mean(y * np.log(output) + (1 - y) * np.log(1 - output)))

    moved, _, _ = _backprop(x, y, start, 1)
    for layer, place in ((0, (3, 2)), (1, (1, 0))):
        nudged = []
        for step in (1e-6, -1e-6):
            weights = [w.copy() for w in start]
            weights[layer][place] += step
            nudged.append(loss(weights))
        gradient = (nudged[0] - nudged[1]) / 2e-6
        assert (start[layer][place] - moved[layer][place]) / BACKPROP_RATE == pytest.approx(gradient, rel=1e-4)


def test_points() -> None:
    x, _ = points("shifted", 3)
    assert x.mean() > 2.5
    assert STEPS > 2
    with pytest.raises(DataError, match="allowed are centred"):
        points("rings", 0)


def test_readout_sees_what_is_there() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 4
    noise = rng.normal(size=(200, 6))
    assert readout_accuracy(noise, labels) < 0.45
    assert readout_accuracy(noise + 6.0 * np.eye(4, 6)[labels], labels) > 0.98
    tiny = 0.5 + 1e-6 * (noise + 6.0 * np.eye(4, 6)[labels])
    assert readout_accuracy(tiny, labels) < 1.0 or readout_accuracy(tiny, labels, standardise=True) == 1.0
    assert readout_accuracy(tiny, labels, standardise=True) > 0.98
    assert readout_accuracy(np.ones((200, 3)), labels, standardise=True) == pytest.approx(0.25)
