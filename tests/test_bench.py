"""The benchmark: its NumPy contestants compute the published rule, figures are there, bad input is refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from ska_edge.baselines.plain import PlainBatch, PlainStream
from ska_edge.bench import BARS, Settings, data_for, measure, passed, synthetic
from ska_edge.cli import main
from ska_edge.errors import DataError, NetworkError
from ska_edge.network import Network
from ska_edge.reference.papers import trajectory
from ska_edge.reference.stream import FloatLearner
from ska_edge.rules import rule_named

KEYS = {
    "stream_speedup",
    "stream_shares",
    "batch_ratio",
    "weight_updates_per_second",
    "weights_changed",
    "bounds",
    "profiles",
    "digits_samples_per_second",
    "passed",
    "data",
    "cpu",
    "versions",
    "threads",
}


def call(*words: str) -> Result:
    return CliRunner().invoke(main, ["bench", *words])


@pytest.mark.parametrize("steps", [2, 13])
def test_the_numpy_stream_is_the_published_rule(steps: int) -> None:
    """Against the float64 reference, which takes its K steps at once."""
    rate = 0.05
    network = Network((30, 12, 7, 4), rule_named("published", rate=rate, forward_steps=steps), seed=3)
    reference = FloatLearner(network)
    plain = PlainStream(network.start_weights(), rate, steps)
    for x in np.random.default_rng(1).random((10, 30)).astype(np.float32):
        reference.learn_one(x.astype(np.float64))
        plain.learn_one(x)
    for layer, w, b in zip(plain.layers, reference.weights, reference.biases, strict=True):
        assert layer.weights.dtype == layer.bias.dtype == layer.decision.dtype == np.float32
        np.testing.assert_allclose(layer.weights, w, rtol=2e-5, atol=2e-6)
        np.testing.assert_allclose(layer.bias, b, rtol=2e-5, atol=2e-6)
    assert np.abs(reference.weights[0] - network.start_weights()[0]).max() > 1e-4


def test_the_numpy_batch_is_the_papers_schedule() -> None:
    rate, steps = 0.01, 9
    starts = Network((20, 9, 6), rule_named("published"), seed=5).start_weights()
    batch = np.random.default_rng(2).random((50, 20))
    run = trajectory(batch, [start.T for start in starts], rate, steps)
    plain = PlainBatch(starts, batch.astype(np.float32), rate)
    plain.step(learns=False)
    for _ in range(steps - 1):
        plain.step()
    for mine, theirs in zip(plain.weights, run.weights, strict=True):
        assert mine.dtype == np.float32
        wanted = theirs if theirs.shape == mine.shape else theirs.T
        np.testing.assert_allclose(mine, wanted, rtol=1e-4, atol=1e-6)


def test_a_small_run_has_every_figure() -> None:
    turns = 0

    def count(more: int) -> None:
        nonlocal turns
        turns += more

    settings = Settings(shape="40-12-10", repeats=2)
    result = measure(settings, count)
    assert set(result) >= KEYS
    assert result["data"] == "synthetic"
    assert sum(result["stream_shares"].values()) == pytest.approx(1.0, abs=0.3)  # medians, each by itself
    assert set(result["stream_shares"]) == {"forward", "flow", "update"}
    assert set(result["profiles"]) == {"w16d15", "w16d8", "w8d8", "w4d8"}
    assert result["profiles"]["w16d15"]["relative_time"] == 1.0
    assert result["weights_changed"] > BARS["weights_changed"]
    assert min(result[key] for key in ("stream_speedup", "batch_ratio", "weight_updates_per_second")) > 0
    assert turns == 5 * 2 + 1
    json.dumps(result)


def test_bars_are_bars() -> None:
    at: dict[str, Any] = {
        "stream_speedup": 100.0,
        "batch_ratio": 2.5,
        "weights_changed": 0.2,
        "bounds": {"forward": 2.0, "update": 2.0},
    }
    assert all(passed(at).values())
    beyond = {
        "stream_speedup": 99.9,
        "batch_ratio": 2.51,
        "weights_changed": 0.19,
        "bounds": {"forward": 2.1, "update": 2.1},
    }
    assert not any(passed(beyond).values())


def test_data_is_what_fits() -> None:
    assert data_for(64, None).name == "digits"
    assert data_for(40, None).name == "synthetic"
    assert np.array_equal(synthetic(40).samples, synthetic(40).samples)
    assert 0.15 < (synthetic(784).samples > 0).mean() < 0.23
    with pytest.raises(DataError, match="64 features"):
        data_for(40, "digits")


def test_the_verb() -> None:
    done = call("--shape", "64-16-10", "--quick", "--json")
    assert done.exit_code == 0, done.output
    assert set(json.loads(done.stdout)) >= KEYS
    human = call("--shape", "64-16-10", "--repeats", "2", "--quiet")
    assert human.exit_code == 0, human.output
    for word in ("times faster than NumPy", "forward", "flow", "update", "digits", "bound:"):
        assert word in human.stdout


def test_a_missed_bar_is_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BARS, "stream_speedup", 1e9)
    words = ("--shape", "64-16-10", "--repeats", "1", "--json")
    assert call(*words).exit_code == 0
    missed = call(*words, "--check")
    assert missed.exit_code == 1
    assert "stream_speedup" in missed.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--shape", "64"), "shape"),
        (("--shape", "64-x"), "layer 'x'"),
        (("--profile", "w3"), "profile"),
        (("--dataset", "nothing"), "data set"),
        (("--dataset", "digits"), "features"),
    ],
)
def test_bad_input_is_refused(words: tuple[str, ...], message: str) -> None:
    done = call(*words, "--quick")
    assert done.exit_code == 2
    assert message in done.stderr


def test_a_shape_must_have_two_widths() -> None:
    with pytest.raises(NetworkError):
        measure(Settings(shape="64"))
