"""What learning costs on a chip: our rules beside backprop, on one network, one board, one compiler."""

from .bench import Bench
from .contestants import (
    BOARDS,
    DEEP_OURS,
    METHODS,
    OURS,
    RANDOM,
    Backprop,
    Job,
    Ours,
    Paper,
    RandomFeatures,
    Sweep,
    board_named,
    everyone,
    jobs,
    rivals,
    sweeps,
)
from .measuring import Measuring
from .rows import Row

__all__ = [
    "BOARDS",
    "DEEP_OURS",
    "METHODS",
    "OURS",
    "RANDOM",
    "Backprop",
    "Bench",
    "Job",
    "Measuring",
    "Ours",
    "Paper",
    "RandomFeatures",
    "Row",
    "Sweep",
    "board_named",
    "everyone",
    "jobs",
    "rivals",
    "sweeps",
]
