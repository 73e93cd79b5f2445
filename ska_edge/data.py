"""Data sets: scikit-learn's digits, files of the user's, and the folder of published data."""

from __future__ import annotations

import csv
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import DataError, FileError
from .fixed import FloatArray, IntArray
from .program import Encoding

DATASETS = ("digits", "mnist", "ecg")


@dataclass(frozen=True)
class Dataset:
    """`samples` [n, features] as measured; `labels` [n], 0 to classes - 1, or None; `low`, `high`: features' range."""

    name: str
    samples: FloatArray
    labels: IntArray | None
    low: float
    high: float
    class_names: tuple[str, ...] = ()

    def encoding(self, rows: IntArray | None = None, *, centred: bool = True) -> Encoding:
        """The encoding that some rows (all, if None) suggest: the range, and each feature's mean as its centre."""
        if not centred:
            return Encoding(self.low, self.high)
        plain = Encoding(self.low, self.high)
        mean = plain.unit(self.samples if rows is None else self.samples[rows]).mean(axis=0)
        return Encoding(self.low, self.high, tuple(float(value) for value in np.round(mean, 4)))


@dataclass(frozen=True)
class Split:
    """Row numbers to learn from and to test on."""

    learn: IntArray
    test: IntArray


def split(dataset: Dataset, seed: int, test_share: float = 0.2) -> Split:
    """A stratified random split, the same for the same seed."""
    from sklearn.model_selection import train_test_split

    rows = np.arange(len(dataset.samples))
    try:
        learn, test = train_test_split(rows, test_size=test_share, stratify=dataset.labels, random_state=seed)
    except ValueError as error:
        raise DataError(f"{dataset.name}: cannot be split into learning and test rows ({error})") from None
    return Split(learn, test)


def load_dataset(name: str) -> Dataset:
    """A data set by name.  Raises DataError for an unknown name or missing files, naming file and folder."""
    if name == "digits":
        from sklearn.datasets import load_digits

        bunch = load_digits()
        return Dataset(name, bunch.data, bunch.target.astype(np.int64), 0.0, 16.0, tuple("0123456789"))
    if name == "mnist":
        return load_mnist("train_100_per_class")
    if name == "ecg":
        table = np.loadtxt(_published("ecg5000_train.csv"), delimiter=",")
        low, high = float(table[:, 1:].min()), float(table[:, 1:].max())
        return Dataset(name, table[:, 1:], (table[:, 0] != 1).astype(np.int64), low, high, ("normal", "not normal"))
    raise DataError(f"data set {name!r}: allowed are {', '.join(DATASETS)}")


def load_mnist(part: str) -> Dataset:
    """`train_100_per_class`; `t10k_stream`, 4,000 images to learn unlabelled; or `t10k_test`, for final figures."""
    with np.load(_published(f"mnist_{part}.npz")) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    flat = images.reshape(len(images), -1).astype(np.float64)
    return Dataset("mnist", flat, labels.astype(np.int64), 0.0, 255.0, tuple("0123456789"))


def _published(name: str) -> Path:
    folders = [Path(os.environ["SKA_EDGE_DATA"])] if os.environ.get("SKA_EDGE_DATA") else [Path("../shared/data")]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{name}: not in {folders[0].absolute()}; set SKA_EDGE_DATA to the folder that holds it")


def load_file(path: str | Path, label_column: str = "last") -> Dataset:
    """Samples from a CSV or NPZ file.

    CSV: one sample a line, numbers separated by commas, an optional header line; `label_column` is `first`, `last`,
    `none` or a header's name.  NPZ: `samples` (or `x`, `images`) and, if there are any, `labels` (or `y`).  Labels are
    any whole numbers from 0; -1 means none.  Raises FileError or DataError.
    """
    path = Path(path)
    if path.suffix.lower() == ".npz":
        samples, labels = _load_npz(path)
    elif path.suffix.lower() == ".csv":
        samples, labels = _load_csv(path, label_column)
    else:
        raise FileError(f"{path}: allowed are .csv and .npz")
    if samples.ndim != 2 or not samples.size:
        raise DataError(f"{path}: no samples")
    if not np.isfinite(samples).all():
        row, column = np.argwhere(~np.isfinite(samples))[0]
        raise DataError(f"{path}: sample {row}, feature {column} is {samples[row, column]}; only finite numbers")
    low, high = float(samples.min()), float(samples.max())
    classes = () if labels is None else tuple(str(c) for c in range(int(labels.max(initial=0)) + 1))
    return Dataset(path.stem, samples, labels, low, high if high > low else low + 1.0, classes)


def _load_npz(path: Path) -> tuple[FloatArray, IntArray | None]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name.lower(): arrays[name] for name in arrays.files}
    except (OSError, ValueError, zipfile.BadZipFile, KeyError, EOFError) as error:
        raise FileError(f"{path}: cannot be read as NPZ ({error})") from None
    samples = next((found[name] for name in ("samples", "x", "images") if name in found), None)
    labels = next((found[name] for name in ("labels", "y") if name in found), None)
    if samples is None or samples.dtype.kind not in "fiub" or samples.ndim < 2:
        raise DataError(f"{path}: arrays {', '.join(found)}; wanted numbers `samples` [n, features], and `labels` [n]")
    return samples.reshape(len(samples), -1).astype(np.float64), None if labels is None else _labels(labels, path)


def _load_csv(path: Path, label_column: str) -> tuple[FloatArray, IntArray | None]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileError(f"{path}: cannot be read as CSV ({error})") from None
    if not rows:
        raise DataError(f"{path}: empty")
    header = [] if _all_numbers(rows[0]) else [name.strip() for name in rows.pop(0)]
    if not rows:
        raise DataError(f"{path}: no samples below the header")
    for number, row in enumerate(rows, start=2 if header else 1):
        if len(row) != len(rows[0]) or not _all_numbers(row):
            raise DataError(
                f"{path}: line {number} has {len(row)} fields or one that is no number; line 1 has {len(rows[0])}"
            )
    table = np.array(rows, np.float64).reshape(len(rows), -1)
    if label_column == "none":
        return table, None
    position = {"first": 0, "last": table.shape[1] - 1}.get(label_column)
    if position is None:
        if label_column not in header:
            raise DataError(
                f"{path}: no column {label_column!r}; allowed are first, last, none, {', '.join(header) or 'no header'}"
            )
        position = header.index(label_column)
    return np.delete(table, position, axis=1), _labels(table[:, position], path)


def _all_numbers(row: list[str]) -> bool:
    try:
        return all(float(field) is not None for field in row)
    except ValueError:
        return False


def _labels(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]], path: Path) -> IntArray:
    array = np.asarray(values)
    numbers = array.dtype.kind in "fiub" and array.ndim == 1 and np.isfinite(array).all()
    if not numbers or (array != np.floor(array)).any() or array.min(initial=0) < -1 or array.max(initial=0) > 32767:
        raise DataError(f"{path}: labels must be whole numbers from 0 to 32767, or -1 for none")
    return array.astype(np.int64)
