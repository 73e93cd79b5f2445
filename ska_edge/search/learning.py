"""What a worker does: learn one candidate from one seed's rows, and judge it on other learning rows.

A pure function of what it is given, in integers once the network is lowered: any process may do it, or do it again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from ..data import Dataset, split
from ..errors import NetworkError, ProgramError
from ..fixed import IntArray
from ..learner import Learner
from ..lowering import lower
from .space import Candidate

VALIDATION_SHARE = 0.2
_ORDER = 1 << 16  # the order of a pass is drawn as in `training`


@dataclass(frozen=True)
class Context:
    """What all jobs of a search share: learning rows only (the test rows do not leave the searching process)."""

    rows: Dataset
    passes: int


@dataclass(frozen=True)
class Job:
    """One candidate and one seed: of the start weights, the order, and which rows judge."""

    candidate: Candidate
    seed: int


@dataclass(frozen=True)
class Score:
    """Share of the judging rows decided rightly, and the seconds it took."""

    accuracy: float
    seconds: float


def judge(context: Context, job: Job) -> Score:
    """Learn, and count what is decided rightly on rows that were not learnt."""
    started = time.perf_counter()
    parts = split(context.rows, job.seed, VALIDATION_SHARE)
    samples, labels = context.rows.samples, context.rows.labels
    assert labels is not None
    try:
        learner = learn(context, job, parts.learn)
        accuracy = learner.accuracy(samples[parts.test], labels[parts.test])
    except (NetworkError, ProgramError):  # the proof may fail for exponents that only the rows bring
        accuracy = 0.0
    return Score(accuracy, time.perf_counter() - started)


def learn(context: Context, job: Job, rows: IntArray) -> Learner:
    """A candidate lowered for some of the rows, which it has learnt."""
    network = job.candidate.network(job.seed)
    part = replace(context.rows, samples=context.rows.samples[rows], labels=_labels(context.rows)[rows])
    encoding = part.encoding(centred=network.rule.centred_inputs)
    learner = Learner(lower(network, job.candidate.profile, part.samples, part.labels, encoding))
    for number in range(context.passes):
        learner.learn_many(part.samples, part.labels, shuffle_seed=(job.seed + number * _ORDER) % 2**32)
    return learner


def _labels(data: Dataset) -> IntArray:
    assert data.labels is not None
    return data.labels
