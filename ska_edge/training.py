"""Train a model from a data set: split, lower, learn pass by pass, snapshot after each."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import codec
from .data import Dataset, Split, split
from .errors import DataError
from .learner import Learner, check_labels
from .lowering import lower
from .monitor import Monitor
from .network import Network, parse_shape
from .program import Program
from .progress import bar
from .rules import parse_parameters, rule_named

HIDDEN = 16
_ORDER = 1 << 16  # the order of pass p is drawn from seed + p * 2^16, so that a resumed run need not replay


@dataclass(frozen=True)
class Settings:
    """What `train` can be told; None means the rule's or the data's own default."""

    resume: str | None = None
    shape: str | None = None
    rule: str = "guided"
    profile: str = "w8d8"
    rate: float | None = None
    forward_steps: int | None = None
    heads: str | None = None
    unlabelled: str | None = None
    parameters: tuple[str, ...] = ()
    """NAME=VALUE, of the rule."""
    passes: int = 20
    seed: int = 0
    test_share: float = 0.2
    executor: str = "numba"
    early_stop: bool = False


def train_model(data: Dataset, path: Path, settings: Settings, progress: bool = False) -> dict[str, Any]:
    """Learn, write `path` after every pass, and return the contract's keys for `train`.

    Interrupted, it leaves the model of the last whole pass.  Raises SkaError for anything the caller got wrong.
    """
    rows = _split(data, settings)
    learner = make_learner(data, rows, settings)
    samples = data.samples[rows.learn]
    labels = None if data.labels is None else data.labels[rows.learn]
    meta = {"dataset": data.name, "seed": settings.seed, "test_share": settings.test_share}
    learner.save(path, meta)  # an unwritable path fails now, not after an hour
    started = time.perf_counter()
    with bar("learning", settings.passes, progress) as advance:
        for number in range(settings.passes):
            learner.learn_many(samples, labels, shuffle_seed=(settings.seed + number * _ORDER) % 2**32)
            learner.save(path, {**meta, "passes": number + 1})
            advance(1)
            if learner.monitor and learner.monitor.complete:
                break
    seconds = time.perf_counter() - started
    tested = rows.test if len(rows.test) else rows.learn
    known = tested[:0] if data.labels is None else tested[data.labels[tested] >= 0]
    return {
        "model": str(path),
        "program_digest": learner.program.program_digest,
        "state_digest": learner.snapshot().state_digest,
        "samples": learner.samples_learnt,
        "weight_updates": learner.weight_updates,
        "weights_changed": learner.weights_changed(),
        "saturated": learner.saturated(data.samples[tested]),
        "accuracy": None
        if data.labels is None or not len(known)
        else learner.accuracy(data.samples[known], data.labels[known]),
        "seconds": seconds,
        "signs": [{"layer": event.layer, "sign": event.sign.value, "samples": event.seen} for event in learner.events],
    }


def make_learner(data: Dataset, rows: Split, settings: Settings) -> Learner:
    """A learner resumed from a file, or a new network lowered for these rows."""
    if settings.resume is not None:
        return _watched(codec.load(settings.resume), rows, settings)
    labels = data.labels
    classes = max(len(data.class_names), 2 if labels is None else int(labels.max(initial=0)) + 1)
    features = data.samples.shape[1]
    shape = parse_shape(settings.shape) if settings.shape else (features, HIDDEN, classes)
    if shape[0] != features:
        raise DataError(f"shape {settings.shape}: {shape[0]} inputs, {data.name} has {features} features")
    given = {name: getattr(settings, name) for name in ("rate", "forward_steps", "heads", "unlabelled")}
    rule = rule_named(settings.rule, **{**given, **parse_parameters(settings.rule, settings.parameters)})
    network = Network(shape, rule, settings.seed)
    if labels is not None:
        check_labels(labels, len(labels), network.widths[-1])
    encoding = data.encoding(rows.learn, centred=rule.centred_inputs)
    program = lower(
        network,
        settings.profile,
        data.samples[rows.learn],
        None if labels is None else labels[rows.learn],
        encoding,
        watched=settings.early_stop,
    )
    return _watched(program, rows, settings)


def _watched(program: Program, rows: Split, settings: Settings) -> Learner:
    """A learner, with a monitor that compares one pass with the next where it may stop early."""
    monitor = Monitor(program, window=len(rows.learn)) if settings.early_stop else None
    return Learner(program, settings.executor, monitor)


def _split(data: Dataset, settings: Settings) -> Split:
    everything = np.arange(len(data.samples))
    if settings.test_share == 0 or data.labels is None:
        return Split(everything, everything[:0])
    return split(data, settings.seed, settings.test_share)
