"""What the example of an exported library learns, and what its state must be afterwards, computed by the oracle."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from ..backends.c.generate import state_image
from ..data import Dataset, load_dataset, split
from ..errors import DataError, ProgramError
from ..fixed import IntArray
from ..learner import Learner, encode
from ..operations import Kind
from ..plan import plan
from ..program import Program

MOST_SAMPLES = 20
MOST_BYTES = 8192  # of samples in flash
MADE_UP = "made up"


@dataclass(frozen=True)
class Example:
    """Raw samples [rows, features] and labels; `state_crc` is the CRC-32 of the state once they are learnt in order."""

    source: str
    samples: IntArray
    labels: tuple[int, ...]
    right: int
    state_crc: int
    state_digest: str


def make_example(program: Program, data: Dataset | None = None) -> Example:
    """A few samples and the state they lead to.

    Of `data`, the first; without, scikit-learn's digits held out in training where the model learnt them, else numbers
    made up.  Raises ProgramError for a Program that has no `infer` and `learn`, DataError for data of another width.
    """
    if not {"infer", "learn"} <= set(program.sections):
        raise ProgramError(
            f"export: this Program has sections {', '.join(program.sections)}; a library needs infer and learn, "
            "which rules that learn one sample at a time have (guided)"
        )
    sample = next(program.of_kind(Kind.SAMPLE))
    count = max(1, min(MOST_SAMPLES, MOST_BYTES // max(sample.byte_count, 1)))
    learner = Learner(program, "oracle")
    source, raw, labels = _pick(program, learner.classes, data, count)
    right = 0
    for x, label in zip(raw, labels, strict=True):
        learner.executor.write(sample.name, x)
        if "label" in program.by_name:
            learner.executor.write("label", np.array(label, np.int64))
        learner.executor.run("learn")
        right += int(learner.executor.read("choice")) == label
    learnt = learner.snapshot()
    crc = zlib.crc32(state_image(learnt, plan(program)))
    return Example(source, raw, tuple(int(label) for label in labels), right, crc, learnt.state_digest)


def _pick(program: Program, classes: int, data: Dataset | None, count: int) -> tuple[str, IntArray, IntArray]:
    """Where they come from, raw samples, labels."""
    given = data or _own(program)
    if given is None:
        source = np.random.RandomState(0)
        sample = next(program.of_kind(Kind.SAMPLE))
        low, high = sample.format.lo, sample.format.hi
        raw = source.randint(low, high + 1, (count, sample.size)).astype(np.int64)
        return f"{MADE_UP}; give --dataset or --data for real ones", raw, np.arange(count, dtype=np.int64) % classes
    held_out = held_out_rows(program, given) if data is None else None
    rows = np.arange(len(given.samples))[:count] if held_out is None else held_out[:count]
    raw = encode(program, given.samples[rows])
    labels = np.full(len(rows), -1, np.int64) if given.labels is None else given.labels[rows].astype(np.int64)
    if labels.size and (labels.min() < -1 or labels.max() >= classes):
        raise DataError(f"{given.name}: labels up to {labels.max()}; this model has classes 0 to {classes - 1}")
    return given.name, raw, labels


def _own(program: Program) -> Dataset | None:
    """The data a model says it learnt, where they are on every machine and of its width."""
    if program.meta.get("dataset") != "digits":
        return None
    digits = load_dataset("digits")
    return digits if digits.samples.shape[1] == next(program.of_kind(Kind.SAMPLE)).size else None


def held_out_rows(program: Program, data: Dataset) -> IntArray | None:
    """Rows the model has not learnt, where its notes say how it was trained."""
    seed, share = program.meta.get("seed"), program.meta.get("test_share")
    if isinstance(seed, int) and isinstance(share, float) and 0 <= seed < 2**32 and 0 < share <= 0.9:
        return split(data, seed, share).test
    return None
