"""Characteristic times: known curves, unsettled ones, and the prediction from the inputs' Gram matrix."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from ska_edge.errors import DataError, NetworkError
from ska_edge.fixed import FloatArray
from ska_edge.reference import characteristic
from ska_edge.reference.characteristic import (
    TIMES,
    Case,
    CharacteristicTime,
    characteristic_time,
    estimate,
    fit,
    follow,
    growth,
    main,
    predicted_time,
    settle,
)
from ska_edge.reference.papers import paper_weights, trajectory
from ska_edge.reference.stepping import Curves

SHAPE = (64, 16, 10)


@pytest.fixture(scope="module")
def batch() -> FloatArray:
    return np.asarray(load_digits().data[:80] / 16.0, np.float64)


@pytest.fixture(scope="module")
def found(batch: FloatArray) -> CharacteristicTime:
    return characteristic_time(batch, SHAPE, range(5))


def curves(times: FloatArray, entropy: FloatArray, flow: FloatArray) -> Curves:
    return Curves(times, np.atleast_2d(entropy), np.atleast_2d(flow))


def test_known_curves() -> None:
    """T exp(1 - t) peaks at 1 with 1 and falls to 0.1 at t = 4.8897; exp(-(t - 2)^2) to 0.1 at 2 + sqrt(ln 10)."""
    times = np.arange(0.0, 12.0, 0.001)
    found = settle(curves(times, -np.exp(-((times - 2.0) ** 2)), times * np.exp(1.0 - times)))[0]
    assert found.entropy_minimum == pytest.approx(2.0, abs=1e-3)
    assert found.flow_peak == pytest.approx(1.0, abs=1e-3)
    assert found.entropy_settled == pytest.approx(2.0 + np.sqrt(np.log(10.0)), abs=1e-3)
    assert found.flow_settled == pytest.approx(4.8897, abs=1e-3)


def test_settled_for_good_only() -> None:
    """A second hump above the share counts: the curve had not settled before it."""
    times = np.arange(0.0, 60.0, 0.01)
    humps = np.exp(-((times - 2.0) ** 2)) + 0.3 * np.exp(-((times - 20.0) ** 2))
    found = settle(curves(times, -humps, humps))[0]
    assert found.flow_peak == pytest.approx(2.0, abs=0.01)
    assert found.flow_settled == pytest.approx(20.0 + np.sqrt(np.log(3.0)), abs=0.01)


@pytest.mark.parametrize("last", [0.9, 1.5, 5.0, 9.7])
def test_short_runs_do_not_settle(last: float) -> None:
    """Settled at 4.89: seen from twice that time on, not before.  The peak, at 1, is seen as soon as it is passed."""
    times = np.arange(0.0, last, 0.001)
    hump = times * np.exp(1.0 - times)
    found = settle(curves(times, -hump, hump))[0]
    assert found.flow_settled is None and found.entropy_settled is None
    assert (found.flow_peak is None) == (last < 1.0)


def test_flat_curves_have_no_times() -> None:
    times, still = np.arange(5.0), np.zeros(5)
    assert settle(curves(times, still, still))[0] == characteristic.LayerTimes(None, None, None, None)


def test_the_papers_run_has_not_settled(batch: FloatArray) -> None:
    """A Trajectory's times are eta k, k from 1; 49 entries of a run that goes on are no settling."""
    run = trajectory(batch, paper_weights(SHAPE), 0.01, 50)
    assert all(getattr(layer, name) is None for layer in settle(run) for name in TIMES)
    longer = trajectory(batch, paper_weights(SHAPE), 0.1, 50)
    assert settle(longer)[0].entropy_minimum == pytest.approx(0.1 * (int(np.argmin(longer.entropy[0])) + 1))


def test_chosen_steps_see_the_same_times(batch: FloatArray) -> None:
    """The flow's times against the published rule's at eta = 0.01, a first order error away."""
    weights = paper_weights(SHAPE)
    fixed = settle(trajectory(batch, weights, 0.01, 2000))
    chosen = settle(follow(batch, weights))
    for one, other in zip(fixed, chosen, strict=True):
        for name in TIMES:
            assert getattr(one, name) == pytest.approx(getattr(other, name), rel=0.03), name


def test_network_is_its_slowest_layer(found: CharacteristicTime) -> None:
    for name in TIMES:
        slowest = np.max([layer[name].values for layer in found.layers], axis=0)
        assert found.network[name].values == tuple(slowest)
        assert found.network[name].mean == pytest.approx(slowest.mean())
        assert 0.0 < float(found.network[name].ci95 or 0.0) < slowest.mean()


def test_first_layer_is_predicted(batch: FloatArray, found: CharacteristicTime) -> None:
    for scale in (0.5, 1.0, 2.0):
        times = found if scale == 1.0 else characteristic_time(scale * batch, SHAPE, range(3))
        assert times.layers[0]["entropy_minimum"].mean == pytest.approx(times.predicted[0], rel=0.12)


def test_one_sample_grows_by_one_plus_its_square() -> None:
    x = np.array([[1.0, 2.0, 0.5]])
    (mu, spread), *_ = growth(x, [np.full((3, 2), 0.01)])
    assert mu == pytest.approx(1.0 + 5.25)
    assert spread == pytest.approx(0.01 * np.sqrt(5.25))


def test_bias_alone_is_not_the_fastest() -> None:
    """Centred inputs of small variance: the bias has the largest eigenvalue, 1, but starts at exactly 0."""
    x = np.array([[0.5, 0.0], [-0.5, 0.0], [0.0, 0.1], [0.0, -0.1]])
    assert growth(x, [np.full((2, 3), 0.01)])[0][0] == pytest.approx(0.125)


def test_predicted_time_scales() -> None:
    assert predicted_time(1.0, 0.1) == pytest.approx(10.0 * predicted_time(10.0, 0.1))
    later = predicted_time(1.0, 0.001) - predicted_time(1.0, 0.01)  # linear growth: ln 10 of 4 ln 2
    assert later == pytest.approx(4.0 * np.log(2.0) * np.log(10.0), rel=0.02)


def test_tail_has_no_time_of_its_own(batch: FloatArray) -> None:
    """Flow falls as 1 / t: a tenth of the share takes ten times as long."""
    run = follow(batch, paper_weights(SHAPE), 0.001)
    late, later = (settle(run, share)[0] for share in (0.01, 0.001))
    assert later.flow_settled / late.flow_settled == pytest.approx(10.0, rel=0.15)


def test_unsettled_is_none(batch: FloatArray) -> None:
    short = characteristic_time(batch, SHAPE, [0, 1], longest=2.0)
    assert short.network["flow_settled"] == estimate([None, None])
    assert short.network["flow_settled"].mean is None


def test_fit_recovers_a_power() -> None:
    x = np.array([0.1, 0.3, 1.0, 5.0])
    found = fit("T", "x", [(float(a), float(3.0 * a**0.7)) for a in x])
    assert found.slope == pytest.approx(0.7) and found.r2 == pytest.approx(1.0)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_unusable_shares(share: float) -> None:
    with pytest.raises(NetworkError):
        settle(curves(np.arange(3.0), np.arange(3.0), np.arange(3.0)), share)


@pytest.mark.parametrize("values", [np.zeros(0), np.array([0.0, np.nan, 1.0])])
def test_unusable_curves(values: FloatArray) -> None:
    with pytest.raises(DataError):
        settle(curves(np.arange(float(len(values))), values, values))


@pytest.mark.parametrize(
    ("shape", "seeds", "std"),
    [((64,), [0], 0.01), ((63, 2), [0], 0.01), ((64, 0), [0], 0.01), ((64, 2), [], 0.01), ((64, 2), [0], 0.0)],
)
def test_unusable_networks(batch: FloatArray, shape: tuple[int, ...], seeds: list[int], std: float) -> None:
    with pytest.raises(NetworkError):
        characteristic_time(batch, shape, seeds, std=std)


def test_unusable_data() -> None:
    with pytest.raises(DataError):
        characteristic_time(np.full((5, 64), np.nan), SHAPE)
    with pytest.raises(NetworkError):
        predicted_time(0.0, 1.0)


def test_command(tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    cases = (Case("digits", SHAPE), Case("digits", SHAPE, scale=2.0), Case("digits", (64, 10), centred=True))
    monkeypatch.setattr(characteristic, "CASES", cases)
    monkeypatch.setattr(characteristic, "SHARES", (0.5, 0.1))
    small = ["--dataset", "digits", "--seeds", "2", "--samples", "40"]
    main([*small, "--json"])
    result = json.loads(capsys.readouterr().out)
    assert [f["case"]["scale"] for f in result["findings"]] == [1.0, 2.0, 1.0]
    assert result["fits"][0]["points"] == 3 and result["tail"][0]["share"] == 0.5
    main([*small, "--quiet", "--figure", str(tmp_path / "time.svg")])
    assert "| digits 64-16-10, inputs x 2 | all |" in capsys.readouterr().out
    assert 10_000 < (tmp_path / "time.svg").stat().st_size < 200_000
    with pytest.raises(SystemExit) as stopped:
        main(["--seeds", "0"])
    assert stopped.value.code == 2


def test_missing_folder_is_an_error(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SKA_EDGE_DATA", str(tmp_path))
    with pytest.raises(DataError):
        characteristic.case_batch(characteristic.PAPER_CASE, 10)
