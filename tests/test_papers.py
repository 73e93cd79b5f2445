"""The papers' experiment in float64 against every published history."""

from __future__ import annotations

import numpy as np
import published
import pytest

from ska_edge.errors import DataError, NetworkError
from ska_edge.reference.papers import Trajectory, paper_weights, trajectory
from ska_edge.reference.stream import flow


@pytest.fixture(scope="module")
def run() -> Trajectory:
    return trajectory(published.batch(), paper_weights())


def test_start_weights_need_no_pytorch() -> None:
    with np.load(published.path_of("ska_paper_init_seed42.npz")) as arrays:
        for name, ours in zip(("W0", "W1", "W2", "W3"), paper_weights(), strict=True):
            assert np.abs(arrays[name] - ours).max() < 6e-9


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("entropy", "entropy"),
        ("cosine", "cosine"),
        ("frobenius", "knowledge_norm"),
        ("weight_frobenius", "weight_norm"),
        ("tensor_net", "tensor_net"),
    ],
)
def test_published_histories(run: Trajectory, name: str, field: str) -> None:
    theirs, ours = published.history(name), np.array(getattr(run, field))
    assert theirs.shape == ours.shape
    assert (np.abs(theirs - ours).max(axis=1) / np.abs(theirs).max(axis=1)).max() < 3e-5


def test_key_steps(run: Trajectory) -> None:
    assert [int(np.argmin(h)) + 1 for h in run.entropy] == [29, 16, 25, 48]
    assert [int(np.argmax(h)) + 1 for h in run.flow] == [30, 17, 25, 48]
    signs = [np.sign(history[1:]) for history in (run.tensor_net[0], run.tensor_net[2])]  # nothing moves in step 1
    assert [int(np.flatnonzero(np.diff(sign))[0]) + 2 for sign in signs] == [24, 23]


def test_flow_map_equals_explicit_steps() -> None:
    """One rank-1 update with S is the same as K - 1 updates of one sample (design 3.2), to rounding."""
    rng = np.random.default_rng(0)
    x, w, eta = rng.random(20), rng.normal(0, 0.1, (20, 6)), 0.01
    explicit = trajectory(x[np.newaxis], [w], eta, 50)  # biases 0
    assert explicit.entropy[0][0] == 0.0
    rate = eta * (1.0 + x @ x)
    total, decision, entropy = flow(x @ w, rate, 49)
    assert abs(sum(explicit.entropy[0]) - entropy) < 1e-12
    assert np.abs(explicit.output[-1] - decision).max() < 1e-12
    moved = w + eta / np.log(2.0) * np.outer(x, total)
    assert abs(np.linalg.norm(moved) - explicit.weight_norm[0][-1]) < 1e-12


@pytest.mark.parametrize("batch", [np.zeros((0, 3)), np.full((2, 3), np.nan), np.zeros(3)])
def test_unusable_batches(batch: np.ndarray) -> None:
    with pytest.raises(DataError):
        trajectory(batch, [np.zeros((3, 2))])


@pytest.mark.parametrize(("rate", "steps"), [(0.0, 5), (-1.0, 5), (float("nan"), 5), (0.1, 1)])
def test_unusable_rates(rate: float, steps: int) -> None:
    with pytest.raises(NetworkError):
        trajectory(np.zeros((2, 3)), [np.zeros((3, 2))], rate, steps)
