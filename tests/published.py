"""The published data, where it stands (SKA_EDGE_DATA, else ../shared/data); elsewhere a named skip, in CI a failure."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from ska_edge.fixed import FloatArray

FOLDER = Path(os.environ.get("SKA_EDGE_DATA") or Path(__file__).parent.parent / "../shared/data")


def path_of(name: str) -> Path:
    path = FOLDER / name
    if not path.is_file():
        message = f"published data: {path} is not there; set SKA_EDGE_DATA"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path


def history(name: str) -> FloatArray:
    """A published history, [layers, steps]."""
    with path_of(f"ska_paper_{name}_history.csv").open() as file:
        rows = list(csv.reader(file))[1:]
    return np.array([[float(value) for value in row[1:] if value] for row in rows])


def batch() -> FloatArray:
    """The papers' batch: 100 images a class, pixels 0 to 1, [1000, 784]."""
    with np.load(path_of("mnist_train_100_per_class.npz")) as arrays:
        return np.asarray(arrays["images"].reshape(1000, -1) / 255.0, np.float64)
