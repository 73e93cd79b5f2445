"""Backprop against finite differences, the controls against what they must not learn, costs against counts by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from ska_edge.baselines import Cost, Rows, backprop, controls, pass_orders
from ska_edge.baselines.backprop import Mlp, _backward, _forward
from ska_edge.baselines.chosen import KINDS, recipe_of
from ska_edge.baselines.descent import Recipe
from ska_edge.baselines.random_features import random_features
from ska_edge.compare import Difference, Result, difference, half_width
from ska_edge.compare.all_labels import standard_methods
from ska_edge.compare.cost import macs, program_cost
from ska_edge.data import load_dataset
from ska_edge.errors import NetworkError, ProgramError
from ska_edge.learner import Learner
from ska_edge.lowering import lower
from ska_edge.network import Network, parse_shape
from ska_edge.operations import Kind, Role
from ska_edge.rules import rule_named


def _float64(shape: tuple[int, ...], hidden: str, sample: np.ndarray) -> Mlp:
    mlp = Mlp.start(shape, hidden, 3)
    units = np.zeros(sum(shape))
    units[: shape[0]] = sample
    biases = np.linspace(-0.2, 0.3, sum(shape[1:]))  # away from ReLU's kink
    return Mlp(mlp.widths, mlp.weights.astype(np.float64), biases, units, mlp.relu)


NO_FEEDBACK = np.zeros(0)


def _loss(mlp: Mlp, label: int) -> float:
    """Cross-entropy of a softmax over the last units, in nats; an independent forward pass."""
    x, w, b = mlp.units[: mlp.widths[0]], 0, 0
    for layer, (fan_in, width) in enumerate(zip(mlp.widths[:-1], mlp.widths[1:], strict=True), start=1):
        x = x @ mlp.weights[w : w + fan_in * width].reshape(fan_in, width) + mlp.biases[b : b + width]
        if layer < len(mlp.widths) - 1:
            x = np.maximum(x, 0.0) if mlp.relu else 1.0 / (1.0 + np.exp(-x))
        w, b = w + fan_in * width, b + width
    return float(np.log(np.exp(x).sum()) - x[label])


@pytest.mark.parametrize("hidden", backprop.UNITS)
@pytest.mark.parametrize("shape", [(5, 4, 3), (4, 5, 3, 2), (3, 4, 3, 4, 2)])
def test_gradient_is_that_of_finite_differences(shape: tuple[int, ...], hidden: str) -> None:
    sample = np.linspace(-0.7, 0.9, shape[0])
    mlp, step = _float64(shape, hidden, sample), 1e-6
    wanted = {}
    for name in ("weights", "biases"):
        values = getattr(mlp, name)
        wanted[name] = np.zeros_like(values)
        for k in range(len(values)):
            kept = values[k]
            values[k] = kept + step
            above = _loss(mlp, 1)
            values[k] = kept - step
            wanted[name][k] = (above - _loss(mlp, 1)) / (2 * step)
            values[k] = kept
    before = {name: getattr(mlp, name).copy() for name in wanted}
    rate = 1e-3
    _forward(mlp.widths, mlp.weights, mlp.biases, mlp.units, mlp.relu)
    _backward(mlp.widths, mlp.weights, mlp.biases, mlp.units, 1, rate, mlp.relu, NO_FEEDBACK)
    for name, gradient in wanted.items():
        assert np.abs(gradient).max() > 1e-3
        np.testing.assert_allclose((before[name] - getattr(mlp, name)) / rate, gradient, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("hidden", backprop.UNITS)
def test_compiled_and_plain_python_descend_alike(hidden: str) -> None:
    random = np.random.default_rng(0)
    rows = Rows(random.normal(size=(20, 6)).astype(np.float32), random.integers(0, 3, 20))
    compiled, plain = (Mlp.start((6, 5, 3), hidden) for _ in range(2))
    compiled.learn(rows, np.arange(20), 0.1)
    for sample, label in zip(*rows, strict=True):
        plain.units[:6] = sample
        _forward(plain.widths, plain.weights, plain.biases, plain.units, plain.relu)
        state = (plain.widths, plain.weights, plain.biases, plain.units)
        _backward(*state, int(label), np.float32(0.1), plain.relu, plain.feedback)
    assert compiled.weights.dtype == np.float32
    np.testing.assert_allclose(compiled.weights, plain.weights, atol=1e-5)
    assert not np.array_equal(compiled.weights, Mlp.start((6, 5, 3), hidden).weights)


def test_backprop_learns_what_no_linear_model_can() -> None:
    corners = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]], np.float32)
    rows = Rows(corners, np.array([0, 1, 1, 0]))
    mlp = Mlp.start((2, 8, 2), "sigmoid", 1)
    mlp.learn(rows, np.tile(np.arange(4), 4000), 0.5)
    assert (mlp.decide(corners) == rows.labels).all()


def test_backprop_refuses_what_it_does_not_know() -> None:
    with pytest.raises(NetworkError, match=r"tanh.*sigmoid, relu"):
        Mlp.start((4, 3, 2), "tanh")
    with pytest.raises(NetworkError, match=r"ReLU.*no recipe for ecg, few-shot"):
        recipe_of("few-shot", "ecg", KINDS[0])
    with pytest.raises(NetworkError, match=r"decay 'cosine'.*constant, linear"):
        Recipe("relu", 0.1, "cosine")
    with pytest.raises(NetworkError, match="positive rate"):
        Recipe("relu", 0.0)


def test_orders_are_permutations_and_differ_by_pass_and_seed() -> None:
    orders = [*pass_orders(50, 2, 0), *pass_orders(50, 2, 1)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4


# --- controls and costs -------------------------------------------------------------------------------------------


def test_logistic_readout_separates_what_is_separable() -> None:
    random = np.random.default_rng(1)
    labels = random.integers(0, 3, 120)
    samples = (np.eye(3)[labels] * 4 + random.normal(size=(120, 3)) * 0.3).astype(np.float32)
    outcome = controls.logistic_readout(Rows(samples[:90], labels[:90]), Rows(samples[90:], labels[90:]))
    assert outcome.score == 1.0
    assert outcome.cost == Cost(weight_bytes=4 * 12, state_bytes=4 * 3, macs_per_sample=3 * 7)


def test_frozen_learns_the_class_layer_only() -> None:
    digits = load_dataset("digits")
    program = controls.frozen(lower(Network((64, 16, 10)), "w8d8"))
    learner = Learner(program)
    learner.learn_many(digits.samples[:200], digits.labels[:200])
    state = learner.executor.state()
    for name in ("W1", "b1"):
        assert np.array_equal(state[name], program.values[name]), name
    for name in ("head_W1", "head_b1"):
        assert not np.array_equal(state[name], program.values[name]), name


def test_frozen_refuses_what_is_frozen() -> None:
    with pytest.raises(ProgramError, match="no hidden weights"):
        controls.frozen(controls.frozen(lower(Network((6, 5, 3)))))


@pytest.mark.parametrize("settings", [{}, {"rectified": True, "readout": "sum"}, {"anneal": 8, "mask": 0.2}])
@pytest.mark.parametrize("shape", ["64-16-10", "64-8-6-10", "64-3c3s2-10", "64-4x3f5-10"])
def test_random_features_learn_what_frozen_learns(shape: str, settings: dict[str, Any]) -> None:
    digits = load_dataset("digits")
    network = Network(parse_shape(shape), rule=rule_named("guided", **settings))
    program = lower(network, "w8d8", digits.samples[:100], digits.labels[:100], digits.encoding(centred=True))
    frozen, least = Learner(controls.frozen(program)), Learner(random_features(program))
    for learner in (frozen, least):
        learner.learn_many(digits.samples[:100], digits.labels[:100])
    kept, wanted = least.executor.state(), frozen.executor.state()
    assert any(not np.array_equal(kept[name], program.values[name]) for name in kept)
    for name, values in kept.items():
        assert np.array_equal(values, wanted[name]), name
    samples = digits.samples[100:200]
    assert np.array_equal(least.predict_many(samples), frozen.predict_many(samples))
    assert not {op.verb for op in least.program.sections["learn"]} & {"flow"}
    assert {t.kind for t in least.program.of_role(Role.STATE)} <= {Kind.HEAD, Kind.BIAS, Kind.COUNTER}


def test_multiplications_by_hand() -> None:
    program = lower(Network((64, 16, 10)), "w8d8")
    forward, flow = 64 * 16 + 16 * 10, 16 * (2 + 6 * 7)
    lookups, surprise, head_factor = 16 + 10 + 2, 10, 10
    norms, entropy, drive, updates = 64 + 16, 10, 160, 64 * 16 + 16 * 10
    total = forward + flow + lookups + surprise + head_factor + norms + entropy + drive + updates
    assert macs(program, program.sections["learn"]) == total
    assert macs(program, program.sections["infer"]) == forward + 16 + 10
    assert program_cost(program).weight_bytes == 64 * 16 + 160 + 2 * 26
    published = lower(Network((8, 4), rule_named("published")), "w8d8")
    assert macs(published, published.sections["learn"]) == 8 * 4 * 2 + 8 + 1 + 4 * (2 + 6 * 49)


def test_backprop_cost_by_hand() -> None:
    assert backprop.cost((64, 16, 10), "relu") == Cost(4 * (1184 + 26), 4 * 26, 1184 + 160 + 1184 + 10)


# --- statistics ---------------------------------------------------------------------------------------------------


def _result(index: int, accuracies: list[float]) -> Result:
    from ska_edge.baselines import Outcome

    return Result(standard_methods(2)[index], tuple(Outcome(a, Cost(1, 1, 1), 0.1) for a in accuracies))


def test_interval_is_students() -> None:
    values = [0.9, 0.95, 0.97, 0.92]
    deviation = math.sqrt(sum((value - 0.935) ** 2 for value in values) / 3)
    assert half_width(values) == pytest.approx(3.182446 * deviation / 2, rel=1e-6)
    assert half_width([0.5]) is None


def test_difference_is_paired_over_common_seeds() -> None:
    found = difference(_result(0, [0.91, 0.93, 0.99]), _result(4, [0.90, 0.91]))
    assert found.seeds == 2
    assert found.points == pytest.approx(1.5)
    assert "guided w8d8 is 1.50 points above SGD backprop, sigmoid float32" in found.in_words()
    assert "no interval" in Difference("a", "b", 0.0, None, 1).in_words()
