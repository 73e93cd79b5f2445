"""The papers' entropy is the change of Shannon's for the sigmoid, and for no other function."""

from __future__ import annotations

import numpy as np
import pytest

from ska_edge.reference.shannon import INVERSES, accumulated, binary_entropy, compare_functions, logit

QUADRATURE = 1e-12  # eight Gauss-Legendre nodes between 199 decisions, in double precision


def test_sigmoid_is_shannon_to_the_quadrature() -> None:
    found = compare_functions()
    assert found.deviation["sigmoid"] < QUADRATURE
    assert found.shannon[len(found.path) // 2] == 0.0


@pytest.mark.parametrize(("start", "end"), [(0.5, 0.99), (0.02, 0.3), (0.2, 0.8)])
def test_any_path_of_a_sigmoid(start: float, end: float) -> None:
    path = np.linspace(start, end, 100)
    change = binary_entropy(path) - binary_entropy(path[:1])
    assert np.abs(accumulated(logit, path) - change).max() < QUADRATURE


def test_equal_without_a_constant_only_from_certainty() -> None:
    """From D = 1e-9 on the change is the entropy itself; from 1/2 they differ by a bit."""
    path = np.concatenate([np.geomspace(1e-9, 0.1, 400), np.linspace(0.1, 0.9, 100)[1:]])
    assert abs(accumulated(logit, path)[-1] - binary_entropy(path)[-1]) < 1e-7
    half = np.linspace(0.5, 0.9, 100)
    assert abs(accumulated(logit, half)[-1] - (binary_entropy(half)[-1] - 1.0)) < QUADRATURE


def test_other_functions_fail() -> None:
    """Against their closed forms: half of Shannon, (pdf(z) - pdf(0)) / ln 2, ln cos(pi (D - 1/2)) / (pi ln 2)."""
    found = compare_functions()
    z = INVERSES["probit"](found.path)
    closed = {
        "tanh": found.shannon / 2.0,
        "probit": (np.exp(-(z**2) / 2.0) - 1.0) / np.sqrt(2.0 * np.pi) / np.log(2.0),
        "arctangent": np.log(np.cos(np.pi * (found.path - 0.5))) / (np.pi * np.log(2.0)),
    }
    for name, bits in closed.items():
        assert np.abs(found.ska[name] - bits).max() < 1e-9, name
        assert found.deviation[name] > 0.3, name


def test_steps_of_a_sum_approach_the_integral() -> None:
    """The papers' sum over steps exceeds the integral, in proportion to the step."""
    excess = []
    for steps in (50, 100, 200):
        z = np.linspace(0.1, 4.0, steps)
        d = 1.0 / (1.0 + np.exp(-z))
        summed = -float(np.sum(z[1:] * np.diff(d))) / np.log(2.0)
        excess.append(summed / float(binary_entropy(d)[-1] - binary_entropy(d)[0]) - 1.0)
    assert 0 < excess[2] < excess[1] < excess[0]
    assert excess[0] / excess[1] == pytest.approx(2.0, rel=0.05)


def test_entropy_at_and_beyond_the_ends() -> None:
    assert binary_entropy(np.array([0.0, 1.0, -1.0, 2.0])).tolist() == [0.0] * 4
