"""What the papers' author published of the experiment: whole histories where the files are, key figures where not.

Files and figures: quantiota/Arxiv on GitHub, folder `saved` (MIT), the run of arXiv 2503.13942 and 2504.03214.  The
files stay where they are; the figures below are facts taken from them.
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DataError, FileError, MissingError
from ..fixed import FloatArray

SOURCE = "quantiota/Arxiv (MIT)"
LAYERS, OUTPUTS, STEPS = 4, 10, 50
ENTROPY_MINIMA = (29, 16, 25, 48)  # by layer
SIGN_CHANGES = (24, None, 23, None)  # of the tensor net, by layer: the last step with the old sign
KEY_STEPS = (10, 20, 30, 40, 49)
_FILES = {
    "entropy": "ska_paper_entropy_history.csv",
    "cosine": "ska_paper_cosine_history.csv",
    "knowledge_norm": "ska_paper_frobenius_history.csv",
    "weight_norm": "ska_paper_weight_frobenius_history.csv",
    "tensor_net": "ska_paper_tensor_net_history.csv",
    "output": "ska_paper_output_neuron_activation.csv",
}
HISTORIES = tuple(_FILES)


@dataclass(frozen=True)
class History:
    """One published history: `values` [layers or output neurons, len(steps)] at forward steps `steps`."""

    name: str
    steps: tuple[int, ...]
    values: FloatArray
    complete: bool


def load_published(folder: Path | None = None) -> dict[str, History]:
    """Every published history.

    `folder` holds the files; without it SKA_EDGE_DATA, else ../shared/data, is looked at, and a history whose file is
    not there is known by its key figures.  Raises MissingError for a file that a given folder lacks, FileError or
    DataError for one that is damaged.
    """
    given = folder is not None
    place = folder if folder is not None else Path(os.environ.get("SKA_EDGE_DATA") or "../shared/data")
    found = {}
    for name, file in _FILES.items():
        path = place / file
        if path.is_file():
            found[name] = _read(name, path)
        elif given:
            raise MissingError(
                f"{path}: not there; give --data the folder with the published histories from {SOURCE}, or leave it "
                f"out to compare with key figures"
            )
        else:
            found[name] = key_figures(name)
    return found


def key_figures(name: str) -> History:
    """A history by its values at steps 10, 20, 30, 40 and 49.

    >>> key_figures("entropy").values.shape
    (4, 5)
    """
    return History(name, KEY_STEPS, np.array(KEY_VALUES[name]), complete=False)


def _read(name: str, path: Path) -> History:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file) if row][1:]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileError(f"{path}: cannot be read as CSV ({error})") from None
    try:
        table = np.array([[float(field) for field in row[1:] if field] for row in rows])
    except ValueError:
        raise DataError(f"{path}: rows of different length, or a field that is no number; fetch it again") from None
    by_step = name == "output"
    values = table.T if by_step and table.ndim == 2 else table
    first = 0 if name in ("output", "knowledge_norm") else 1
    wanted = (OUTPUTS if by_step else LAYERS, STEPS - first)
    if values.shape != wanted:
        raise DataError(f"{path}: values {values.shape}; wanted {wanted}, layers (or neurons) by steps; fetch it again")
    if not np.isfinite(values).all():
        row, step = np.argwhere(~np.isfinite(values))[0]
        raise DataError(f"{path}: row {row + 1}, step {step + first} is {values[row, step]}; only finite numbers")
    return History(name, tuple(range(first, STEPS)), values, complete=True)


# by layer (output: by neuron), at KEY_STEPS; entropy in bits
KEY_VALUES: dict[str, tuple[tuple[float, ...], ...]] = {
    "entropy": (
        (-537.4425, -4108.21, -6930.9424, -5201.2305, -3182.145),
        (-3263.3496, -6890.5693, -1918.6111, -499.97577, -228.63858),
        (-102.1691, -2553.7903, -2612.97, -741.45831, -257.23938),
        (-1.3126078, -5.3745732, -37.369205, -169.49431, -252.30737),
    ),
    "cosine": (
        (0.94839638, 0.94027072, 0.76578426, 0.58363849, 0.50800651),
        (0.98622763, 0.65842044, 0.39100674, 0.87376243, 0.95502573),
        (0.99383438, 0.94254798, 0.5697003, 0.51861137, 0.82225734),
        (0.99620014, 0.98514557, 0.99876714, 0.9636302, 0.91267842),
    ),
    "knowledge_norm": (
        (114.48501, 386.03452, 858.14478, 1310.1885, 1631.8788),
        (232.09731, 913.74121, 1439.9438, 1747.7367, 1929.845),
        (46.457226, 254.80545, 717.31073, 1003.627, 1151.4106),
        (7.7901416, 14.831351, 34.707222, 86.91774, 160.61249),
    ),
    "weight_norm": (
        (4.5491982, 5.0025244, 6.4337783, 8.1784563, 9.5341215),
        (2.1209676, 4.0793824, 5.4713311, 6.1760116, 6.5691252),
        (0.93248624, 1.515165, 2.9979517, 3.924099, 4.4175391),
        (0.26775515, 0.28549257, 0.356258, 0.61255282, 1.0091841),
    ),
    "tensor_net": (
        (-157.02759, -560.60229, 1402.0361, 3521.8564, 4246.562),
        (46.106667, 5676.6318, 6675.9756, 4467.5591, 3280.5916),
        (-140.5498, -741.95068, 1811.2556, 1733.5137, 1283.1221),
        (-8.3377218, -12.989738, -52.308918, -165.11412, -173.02005),
    ),
    "output": (
        (0.47802097, 0.457466, 0.4042337, 0.26715586, 0.13068986),
        (0.47248772, 0.45032, 0.3951038, 0.25419956, 0.12285475),
        (0.4993999, 0.50253034, 0.50516796, 0.51129735, 0.5298589),
        (0.48215833, 0.46239138, 0.40805665, 0.27042207, 0.13259703),
        (0.51706386, 0.5321416, 0.57415444, 0.68714833, 0.8353797),
        (0.49059367, 0.49134663, 0.49662024, 0.4940856, 0.48452514),
        (0.5334563, 0.5669662, 0.6625507, 0.82433397, 0.91653013),
        (0.48299253, 0.4689383, 0.4269772, 0.31087747, 0.16266803),
        (0.48453206, 0.47303286, 0.44505775, 0.3560837, 0.20832656),
        (0.4858504, 0.4740646, 0.44214746, 0.34757647, 0.19840425),
    ),
}
