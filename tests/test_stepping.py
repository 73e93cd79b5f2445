"""The papers' rule as a flow: what the fixed steps converge to, and what chosen steps save."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.datasets import load_digits

from ska_edge.errors import DataError, NetworkError
from ska_edge.fixed import FloatArray
from ska_edge.reference.papers import LN2, paper_weights, sigmoid
from ska_edge.reference.stepping import (
    PAIRS,
    Run,
    Solver,
    costs,
    errors_of,
    euler,
    integrate,
    main,
    passes_for,
    published,
)

SHAPE = (64, 16, 10)
HORIZON = 2.5


@pytest.fixture(scope="module")
def batch() -> FloatArray:
    return np.asarray(load_digits().data[:60] / 16.0, np.float64)


@pytest.fixture(scope="module")
def weights() -> list[FloatArray]:
    return paper_weights(SHAPE)


@pytest.fixture(scope="module")
def exact(batch: FloatArray, weights: list[FloatArray]) -> Run:
    return integrate(batch, weights, HORIZON, "dormand", 1e-9)


@pytest.mark.parametrize("method", [euler, published])
def test_fixed_steps_are_of_first_order(method, batch: FloatArray, weights: list[FloatArray], exact: Run) -> None:
    errors = np.array([errors_of(method(batch, weights, HORIZON, k), exact, weights) for k in (400, 800, 1600)])
    orders = np.log2(errors[:-1] / errors[1:])
    assert (np.abs(orders - 1.0) < 0.2).all(), orders


def test_published_rule_and_chosen_steps_have_one_limit(
    batch: FloatArray, weights: list[FloatArray], exact: Run
) -> None:
    """Richardson's extrapolation of the published rule, which knows nothing of the flow, meets the flow."""
    coarse, fine = (published(batch, weights, HORIZON, steps) for steps in (1000, 2000))
    for w, v, limit, begin in zip(coarse.weights, fine.weights, exact.weights, weights, strict=True):
        moved = np.linalg.norm(limit - begin)
        assert np.linalg.norm(2.0 * v - w - limit) / moved < 5e-4 < np.linalg.norm(v - limit) / moved


@pytest.mark.parametrize(("pair", "order"), [("heun", 2), ("bogacki", 3), ("dormand", 5)])
def test_error_follows_tolerance(
    pair: str, order: int, batch: FloatArray, weights: list[FloatArray], exact: Run
) -> None:
    """Over two decades of tolerance the error falls by one at least, at a price of tolerance^(-1 / order) or so."""
    loose, tight = (integrate(batch, weights, HORIZON, pair, tolerance) for tolerance in (1e-2, 1e-4))
    assert errors_of(tight, exact, weights)[0] < 0.1 * errors_of(loose, exact, weights)[0]
    assert tight.evaluations < 2.0 * 100.0 ** (1.0 / order) * loose.evaluations


def test_one_neuron_one_sample_is_the_scalar_flow() -> None:
    """dz/dt = (1 + |x|^2) z D' / ln 2, by quadrature of dt = ln 2 dz / ((1 + |x|^2) z D')."""
    x = np.array([[0.5, 1.0, 0.25]])
    weights = [np.array([[0.1], [0.2], [0.1]])]
    run = integrate(x, weights, 3.0, "dormand", 1e-10)
    end = float((x @ run.weights[0] + run.biases[0])[0, 0])
    z = np.linspace(float((x @ weights[0])[0, 0]), end, 200_001)
    pace = LN2 / ((1.0 + float(np.sum(x * x))) * z * sigmoid(z) * sigmoid(-z))
    assert abs(float(np.sum(0.5 * (pace[1:] + pace[:-1]) * np.diff(z))) - 3.0) < 1e-7
    speed = (1.0 + float(np.sum(x * x))) * end * sigmoid(np.array(end)) * sigmoid(np.array(-end)) / LN2
    assert run.curves.flow[0, -1] == pytest.approx(float(speed), rel=1e-7)


def test_entropy_rate_is_minus_the_work_of_knowledge(batch: FloatArray, weights: list[FloatArray], exact: Run) -> None:
    fine = euler(batch, weights, HORIZON, 2000)
    between = np.array(
        [np.interp(exact.curves.times[:-1], fine.curves.times, layer) for layer in fine.curves.entropy_rate]
    )
    assert np.abs(between - exact.curves.entropy_rate[:, :-1]).max() < 0.01 * np.abs(between).max()
    assert (exact.curves.entropy_rate[:1] < 0.0).all()


def test_chosen_steps_need_fewer_passes(batch: FloatArray, weights: list[FloatArray]) -> None:
    found = costs(batch, weights, HORIZON, goal=0.02, most_steps=1600)
    for curve in (False, True):
        fixed = passes_for(found, "published", 0.02, curve)
        assert fixed is not None
        for pair in PAIRS:
            chosen = passes_for(found, pair, 0.02, curve)
            assert chosen is not None and 2.5 * chosen < fixed, (pair, curve)


def test_every_evaluation_counts(batch: FloatArray, weights: list[FloatArray], monkeypatch) -> None:
    asked = 0
    solver = Solver(batch, weights, HORIZON, "heun", 1e-3)
    inside = type(solver.flow).__call__

    def counted(self, time: float, y: FloatArray) -> FloatArray:
        nonlocal asked
        asked += 1
        return inside(self, time, y)

    monkeypatch.setattr(type(solver.flow), "__call__", counted)
    solver = Solver(batch, weights, HORIZON, "heun", 1e-3)
    steps = list(solver.steps())
    assert solver.flow.evaluations == asked >= 2 * len(steps) + 2
    assert [step.end for step in steps[:-1]] == [step.begin for step in steps[1:]]
    assert steps[-1].end == pytest.approx(HORIZON)


def test_nothing_moves_from_nothing() -> None:
    run = integrate(np.ones((2, 3)), [np.zeros((3, 2))], 1.0)
    assert not np.any(run.weights[0]) and not np.any(run.curves.flow)


def test_start_is_left_alone(batch: FloatArray) -> None:
    weights = paper_weights(SHAPE)
    integrate(batch, weights, 1.0)
    assert all((w == v).all() for w, v in zip(weights, paper_weights(SHAPE), strict=True))


@pytest.mark.parametrize("data", [np.zeros((0, 3)), np.full((2, 3), np.nan), np.zeros(3)])
def test_unusable_batches(data: FloatArray) -> None:
    with pytest.raises(DataError):
        integrate(data, [np.zeros((3, 2))])


@pytest.mark.parametrize(
    ("horizon", "pair", "tolerance", "shapes"),
    [
        (0.5, "euler", 0.1, [(3, 2)]),
        (0.0, "heun", 0.1, [(3, 2)]),
        (float("nan"), "heun", 0.1, [(3, 2)]),
        (0.5, "heun", 0.0, [(3, 2)]),
        (0.5, "heun", float("nan"), [(3, 2)]),
        (0.5, "heun", 0.1, []),
        (0.5, "heun", 0.1, [(4, 2)]),
        (0.5, "heun", 0.1, [(3, 2), (3, 2)]),
    ],
)
def test_unusable_runs(horizon: float, pair: str, tolerance: float, shapes: list[tuple[int, int]]) -> None:
    with pytest.raises(NetworkError):
        integrate(np.ones((2, 3)), [np.ones(shape) for shape in shapes], horizon, pair, tolerance)


def test_unusable_fixed_steps() -> None:
    with pytest.raises(NetworkError):
        euler(np.ones((2, 3)), [np.ones((3, 2))], 0.5, 0)


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--dataset", "digits", "--samples", "20", "--horizon", "1", "--goal", "0.1"]
    main([*small, "--json"])
    assert {cost["method"] for cost in json.loads(capsys.readouterr().out)["costs"]} == {*PAIRS, "published", "euler"}
    main([*small, "--quiet"])
    assert "| 10 % | bogacki |" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        main(["--dataset", "digits", "--samples", "0"])
    assert stopped.value.code == 2
