"""The main job: learn scikit-learn's digits in 8-bit integers, watch it happen, compare, and write it all down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .compare import Comparison, Row, seeds_of
from .compare.all_labels import Bar, Trial, bars, compare, standard_methods
from .data import load_dataset
from .fixed import FloatArray, IntArray, dequantise
from .learner import Learner
from .operations import Kind
from .plan import memory
from .program import Program
from .progress import bar
from .report.demo import artefacts
from .report.files import claim, write_files

SHAPE = (64, 16, 10)
PROFILE = "w8d8"
MEMORY_PROFILES = ("w8d8", "w4d8", "w16d15")
SEED = 0
EARLY = 100
_WINDOW_SAMPLES = 20
_WINDOW_GROWTH = 1.08


@dataclass(frozen=True)
class Recording:
    """One stream of samples while it was learnt, a list entry a window; windows grow with the stream.

    `samples`: samples seen at the window's end.  `entropy`: mean bits a sample in it, by layer.  `online`: share
    of its samples decided rightly before they were learnt.  `test`: accuracy on the test rows at its end.  `weights`:
    samples seen -> real values of the first hidden layer's weights [neurons, features].
    """

    samples: list[int]
    entropy: dict[str, list[float]]
    online: list[float]
    test: list[float]
    weights: dict[int, FloatArray]


@dataclass(frozen=True)
class Decisions:
    """The test rows: features as measured [n, 64], labels [n], and the model's choices [n]."""

    samples: FloatArray
    labels: IntArray
    choices: IntArray


@dataclass(frozen=True)
class DemoResult:
    """Everything the demo found, and the files it wrote."""

    comparison: Comparison
    recording: Recording
    program: Program
    decisions: Decisions
    shape: tuple[int, ...]
    passes: int
    one_pass: int
    weight_updates: int
    weights_changed: float
    saturated: float
    files: tuple[Path, ...] = ()

    @property
    def rows(self) -> list[Row]:
        """The comparison, one row a method."""
        return self.comparison.rows

    @property
    def bars(self) -> list[Bar]:
        """Our promises against the best backprop."""
        return bars(self.comparison)

    @property
    def accuracy(self) -> float:
        """Test accuracy of the model written, seed 0."""
        return float((self.decisions.choices == self.decisions.labels).mean())

    @property
    def summary(self) -> str:
        """The promises in words, one a line."""
        return "\n".join(
            f"{each.difference.in_words()}: {'holds' if each.holds else 'MISSES'} the bar of -{each.allowed:g} points."
            for each in self.bars
        )

    def to_json(self) -> dict[str, Any]:
        """The contract's `rows` and `files`, and what the model has become."""
        return {
            "rows": [row.to_json() for row in self.rows],
            "files": [str(path) for path in self.files],
            "accuracy": self.accuracy,
            "program_digest": self.program.program_digest,
            "state_digest": self.program.state_digest,
            "samples": self.recording.samples[-1],
            "weight_updates": self.weight_updates,
            "weights_changed": self.weights_changed,
            "saturated": self.saturated,
            "memory": memory(self.program),
            "paired_differences": [each.to_json() for each in self.bars],
        }


def run_demo(out: Path, seeds: int = 10, passes: int = 20, progress: bool = False) -> DemoResult:
    """Learn, compare over `seeds` seeds with `passes` passes each, and write model, tables, figures and a page.

    Nothing is written before everything is known, and the page last.  Raises FileError where `out` cannot be written.
    """
    claim(out)
    digits = load_dataset("digits")
    methods = standard_methods(passes)
    trial = Trial(digits, SHAPE, passes, SEED)
    with bar("learning digits", 1 + sum(seeds_of(method, seeds) for method in methods), progress) as advance:
        learner = Learner(trial.program(PROFILE))
        recording = record(learner, trial)
        advance(1)
        comparison = compare(digits, methods, SHAPE, seeds, passes, advance)
    result = _result(learner, trial, recording, comparison)
    contents = artefacts(result, {profile: trial.program(profile) for profile in MEMORY_PROFILES})
    return replace(result, files=write_files(out, contents))


def record(learner: Learner, trial: Trial) -> Recording:
    """Learn all passes of a trial, window by window; the bits are those of `learn_many`."""
    rows = trial.split.learn[np.concatenate(trial.orders)]
    samples, labels, test = trial.dataset.samples, trial.labels, trial.split.test
    one_pass, total = len(trial.split.learn), len(rows)
    moments = {EARLY, one_pass, total}
    recording = Recording([], {}, [], [], {0: _hidden_weights(learner)})
    for start, end in _windows(total, moments):
        picked = rows[start:end]
        history = learner.learn_many(samples[picked], labels[picked], chunk=end - start)
        recording.samples.append(end)
        recording.online.append(history.accuracy[0])
        for name, bits in history.entropy.items():
            recording.entropy.setdefault(name, []).append(bits[0])
        recording.test.append(learner.accuracy(samples[test], labels[test]))
        if end in moments:
            recording.weights[end] = _hidden_weights(learner)
    return recording


def _windows(total: int, moments: set[int]) -> Iterator[tuple[int, int]]:
    """Start and end of each window: 20 samples at first, growing by 8 %, none reaching across a moment."""
    start = 0
    while start < total:
        end = max(start + _WINDOW_SAMPLES, round(start * _WINDOW_GROWTH))
        end = min([end, total, *(moment for moment in moments if start < moment < end)])
        yield start, end
        start = end


def _hidden_weights(learner: Learner) -> FloatArray:
    tensor = next(learner.program.of_kind(Kind.WEIGHT))
    return dequantise(learner.executor.read(tensor.name), tensor.format)


def _result(learner: Learner, trial: Trial, recording: Recording, comparison: Comparison) -> DemoResult:
    tested = trial.dataset.samples[trial.split.test]
    meta = {"dataset": trial.dataset.name, "seed": trial.seed, "passes": trial.passes}
    return DemoResult(
        comparison=comparison,
        recording=recording,
        program=learner.snapshot(meta),
        decisions=Decisions(tested, trial.labels[trial.split.test], learner.predict_many(tested)),
        shape=trial.shape,
        passes=trial.passes,
        one_pass=len(trial.split.learn),
        weight_updates=learner.weight_updates,
        weights_changed=learner.weights_changed(),
        saturated=learner.saturated(tested),
    )
