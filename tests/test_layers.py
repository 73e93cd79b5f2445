"""Kinds of layers: what they see, counted by hand; what their text says; what does not fit."""

from __future__ import annotations

import numpy as np
import pytest

from ska_edge.errors import NetworkError
from ska_edge.layers import Convolution, Dense, Fields, Grid, Layer, parse_layer
from ska_edge.network import Network, parse_shape, parse_widths
from ska_edge.rules import rule_named


def test_inputs_lie_on_a_square_or_a_line() -> None:
    assert Grid.of(64) == Grid(8, 8)
    assert Grid.of(140) == Grid(1, 140)
    assert Grid.of(1) == Grid(1, 1)
    assert Grid(3, 4, 5).size == 60


def test_a_patch_by_hand() -> None:
    """Rows of 4: the patch of 2 x 2 at row 1, column 2 is 6, 7 and 10, 11."""
    assert Grid(4, 4).patches(2, np.array([1]), np.array([2])).tolist() == [[6, 7, 10, 11]]


def test_channels_lie_innermost() -> None:
    assert Grid(3, 3, 2).patches(2, np.array([0]), np.array([1])).tolist() == [[2, 3, 4, 5, 8, 9, 10, 11]]
    assert Grid(3, 3, 2).patch_size(2) == 8


def test_on_a_line_a_patch_is_one_row_high() -> None:
    assert Grid(1, 6).patches(3, np.array([0]), np.array([2])).tolist() == [[2, 3, 4]]
    assert Grid(1, 6).patch_size(3) == 3


def test_fields_by_hand() -> None:
    found = Fields(4, 1, 2).index(Grid(3, 3))
    assert found is not None
    assert found.tolist() == [[0, 1, 3, 4], [1, 2, 4, 5], [3, 4, 6, 7], [4, 5, 7, 8]]


@pytest.mark.parametrize("fields", [1, 2, 3, 5, 8, 10, 12, 16])
@pytest.mark.parametrize("features", [64, 784, 140])
def test_fields_are_spread_evenly(features: int, fields: int) -> None:
    """Rows of fields differ by one at most; from two on, both edges are reached, and steps differ by one at most."""
    grid, side = Grid.of(features), 5
    index = Fields(fields, 2, side).index(grid)
    assert index is not None and index.shape == (fields, grid.patch_size(side))
    tops, lefts = np.divmod(index[:, 0], grid.columns)
    rows = [np.sort(lefts[tops == top]) for top in np.unique(tops)]
    assert np.ptp([len(row) for row in rows]) <= 1
    for row in rows:
        if len(row) > 1:
            assert (row[0], row[-1]) == (0, grid.columns - side)
            assert np.ptp(np.diff(row)) <= 1
    if len(rows) > 1:
        assert (tops.min(), tops.max()) == (0, grid.rows - side)


def test_one_field_of_everything_needs_no_index() -> None:
    assert Fields(1, 8, 140).index(Grid.of(140)) is None
    assert Fields(1, 8, 8).index(Grid.of(64)) is None
    assert Fields(1, 8, 7).index(Grid.of(64)) is not None


def test_a_convolution_by_hand() -> None:
    layer, grid = Convolution(5, 2, 2), Grid(4, 5)
    assert layer.places(grid) == (2, 2)
    assert layer.shape(grid) == (4, 5)
    assert layer.out_grid(grid) == Grid(2, 2, 5)
    assert layer.start_shape(grid) == (5, 4)
    found = layer.index(grid)
    assert found is not None
    assert found.tolist() == [[0, 1, 5, 6], [2, 3, 7, 8], [10, 11, 15, 16], [12, 13, 17, 18]]


def test_a_convolution_above_a_convolution_sees_all_channels() -> None:
    network = Network(parse_shape("64-4c3s1-6c2s2-10"))
    assert network.grids == (Grid(8, 8), Grid(6, 6, 4), Grid(3, 3, 6))
    assert network.widths == (64, 144, 54, 10)
    assert network.weight_count == 4 * 9 + 6 * 16 + 54 * 10


def test_a_convolution_on_a_line() -> None:
    assert Convolution(3, 7, 4).shape(Grid.of(140)) == (34, 3)


@pytest.mark.parametrize("text", ["128", "16x12f10", "16x12k10", "8c5s2"])
def test_text_there_and_back(text: str) -> None:
    layer = parse_layer(text)
    assert str(layer) == text
    assert layer.competes == ("k" in text)


@pytest.mark.parametrize(
    "text", ["", "16x12", "8c5", "c5s2", "-3", "1.5", "16X12f10", "\uff11\uff16", "9" * 50, "8c5s2 "]
)
def test_text_that_names_no_layer(text: str) -> None:
    with pytest.raises(NetworkError, match="wanted a width"):
        parse_layer(text)


@pytest.mark.parametrize("text", ["", "64", "x-10", "64--10", "64-16x16f10-", "-64-10", "999999999-10"])
def test_text_that_names_no_shape(text: str) -> None:
    with pytest.raises(NetworkError):
        parse_shape(text)


def test_widths_only() -> None:
    with pytest.raises(NetworkError, match="dense layers only"):
        parse_widths("64-4x4f4-10")


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Dense(0), "0 neurons"),
        (Dense((1 << 16) + 1), "allowed are 1 to 65536"),
        (Fields(4, 2, 9), "grid of 8 x 8"),
        (Fields(0, 2, 4), "0 neurons"),
        (Fields(4, 2, 0), "at least one field"),
        (Fields(4, 1, 4, competing=True), "one neuron cannot compete"),
        (Convolution(0, 3), "0 neurons"),
        (Convolution(4, 9), "grid of 8 x 8"),
        (Convolution(4, 3, 0), "stride of at least 1"),
    ],
    ids=str,
)
def test_layers_that_do_not_fit(layer: Layer, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        Network((64, layer, 10))


def test_absurd_sizes_are_refused_before_anything_is_allocated() -> None:
    with pytest.raises(NetworkError, match="weights; allowed are"):
        Network((65536, 65536, 10))
    with pytest.raises(NetworkError, match="inputs in all"):
        Network(parse_shape("65536-8c128s1-10"))


@pytest.mark.parametrize(
    ("rule", "shape", "message"),
    [
        ("published", "64-4x4k4-10", "do not compete"),
        ("homeostatic", "64-4c3s1-10", "cannot teach layer 4c3s1"),
        ("guided", "64-12-4x4k3", "number of classes"),
        ("guided", "64-4x4k4-10", "the last of which does not compete"),
        ("competitive", "64-12-10", "layers that compete"),
        ("novelty", "64-1x8k4", "one field of them all"),
        ("novelty", "64-1x8k8-2", "one field of them all"),
    ],
)
def test_rules_that_cannot_teach_a_layer(rule: str, shape: str, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        Network(parse_shape(shape), rule_named(rule))
