"""How often each learner is right on rows it has not seen: the same integers, or the same C, on this machine.

Backprop's rate is picked from a grid, for every network and split anew, by its accuracy on rows kept from those to
learn; ours keeps its rule's settings.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ..baselines.embedded import Descent, HostRun
from ..fixed import IntArray
from ..learner import Learner
from ..network import Network
from ..store import Store, source_digest
from .bench import Bench, Part
from .contestants import Backprop, Contestant

RATES: Mapping[tuple[str, str], tuple[float, ...]] = {
    ("int16", "sgd"): (1 / 8, 1 / 16, 1 / 32, 1 / 64),
    ("float32", "sgd"): (0.01, 0.02, 0.05, 0.1),
    ("float32", "momentum"): (0.01, 0.02, 0.05, 0.1),
    ("float32", "adam"): (0.001, 0.003, 0.01, 0.03),
}
BATCH_FACTOR = 4.0
"""A plain minibatch wants higher rates than single samples."""
_SOURCES = ("footprint.accuracy", "footprint.bench", "data")
_BACKPROP = ("baselines.embedded", "baselines.csrc", "network", "layers", "start")
_PLACEHOLDER = 1.0


@dataclass(frozen=True)
class Trial:
    """A learner, a network, a split."""

    contestant: Contestant
    shape: str
    split: int

    @staticmethod
    def of(contestant: Contestant, shape: str, split: int) -> Trial:
        """The same trial for all whose bits agree: a unit for floats changes none."""
        if isinstance(contestant, Backprop):
            contestant = Backprop(replace(contestant.descent, rate=_PLACEHOLDER))
        return Trial(contestant, shape, split)


@dataclass(frozen=True)
class Score:
    """Share of test rows decided rightly, None for what learns no classes; backprop's rate."""

    accuracy: float | None = None
    rate: float | None = None


def judge(bench: Bench, trial: Trial) -> Score:
    """A score, from a run now or before.  Raises SkaError where the network cannot be learnt so."""
    key: dict[str, Any] = {"data": _digest(bench), "passes": bench.passes, "split": trial.split}
    if isinstance(trial.contestant, Backprop):
        descent, network = trial.contestant.descent, bench.network(trial.shape, trial.split)
        code = source_digest((*_SOURCES, *_BACKPROP))
        key |= {"shape": trial.shape, "descent": asdict(descent), "rates": _rates(descent), "code": code}
        run = partial(_descended, bench, network, descent, bench.part(trial.split))
    else:
        program = bench.program(trial.contestant, trial.shape, trial.split)
        if "label" not in program.by_name:
            return Score()  # learns without labels: its last decisions are no classes
        key |= {"program": program.program_digest, "state": program.state_digest, "code": source_digest(_SOURCES)}
        run = partial(_learnt, bench, Learner(program), bench.part(trial.split))
    store, group = Store(bench.runs), bench.data.name
    found = store.find(group, key)
    if found is None:
        score = run()
        store.keep(group, key, asdict(score))
        return score
    return Score(**found)


def _digest(bench: Bench) -> str:
    return hashlib.sha256(bench.data.samples.tobytes() + bench.labels.tobytes()).hexdigest()[:16]


def _learnt(bench: Bench, learner: Learner, part: Part) -> Score:
    samples, labels = bench.data.samples, bench.labels
    for rows in bench.orders(part.learnt):
        learner.learn_many(samples[rows], labels[rows])
    return Score(float(learner.accuracy(samples[part.tested], labels[part.tested])))


def _rates(descent: Descent) -> list[float]:
    plain = descent.optimiser == "sgd" and descent.batch > 1
    return [rate * (BATCH_FACTOR if plain else 1) for rate in RATES[descent.numbers, descent.optimiser]]


def _descended(bench: Bench, network: Network, descent: Descent, part: Part) -> Score:
    """Accuracy on the test rows at the rate that does best on rows kept from the others."""
    samples = bench.bytes(part, descent.centred)
    with tempfile.TemporaryDirectory(prefix="ska-edge-memory-") as folder:

        def run(rate: float, learnt: IntArray, tested: IntArray) -> float:
            host = HostRun(network, replace(descent, rate=rate), Path(folder))
            for rows in bench.orders(learnt):
                host.learn(samples[rows], bench.labels[rows])
            return float((host.predict(samples[tested]) == bench.labels[tested]).mean())

        best = max((run(rate, part.inner, part.kept), rate) for rate in _rates(descent))[1]
        return Score(run(best, part.learnt, part.tested), best)
