"""Network -> Program.  Floats end here: exponents, tables and start values are chosen once, for every backend."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .builder import FACTOR_BITS, Builder
from .errors import NetworkError
from .fixed import FloatArray, Format, IntArray
from .network import Network
from .operations import Kind, Role
from .profiles import Profile, profile_named
from .program import Encoding, Program
from .reference.papers import trajectory
from .reference.stream import FloatLearner
from .rules import PublishedBatch

REHEARSAL_SAMPLES = 1500
WEIGHT_HEADROOM = 2.5
FACTOR_HEADROOM = 2.0
UNKNOWN_GROWTH = 8.0


def lower(
    network: Network,
    profile: str = "w8d8",
    samples: FloatArray | None = None,
    labels: IntArray | None = None,
    encoding: Encoding | None = None,
    meta: Mapping[str, Any] | None = None,
    watched: bool = False,
) -> Program:
    """Lower a network to integers.

    `samples` [n, inputs] are features as the user has them; `encoding` maps them to 0 .. 1.  They calibrate the
    weights' exponents: the rule is rehearsed on them in float64.  Without samples the start weights alone decide.
    `watched` adds the sums that a `Monitor` reads.
    Raises NetworkError for an impossible network, ProgramError where the range proof fails.

    >>> program = lower(Network((64, 16, 10)))
    >>> program.by_name["W1"].format.bits
    8
    """
    chosen = profile_named(profile)
    encoding = encoding or Encoding()
    build = Builder(chosen, watched, network.rule.counter_bits)
    shape = network.rule.input_shape(network.grids[0].size)
    x = build.tensor("x", shape, input_format(chosen, encoding), Role.INPUT, Kind.SAMPLE)
    if isinstance(network.rule, PublishedBatch):
        exponents = calibrate_batch(network, network.rule, chosen, samples, encoding)
    else:
        exponents = calibrate(network, chosen, samples, labels, encoding)
    network.rule.emit(build, network, x, exponents)
    return build.program(encoding, meta or {})


def input_format(profile: Profile, encoding: Encoding) -> Format:
    """The samples' format: a decision's own; where a centre is subtracted, as many bits with a sign, -1 .. 1."""
    bits = profile.decision.bits
    return Format(bits, 1 - bits) if any(encoding.centre) else profile.decision


def calibrate(
    network: Network,
    profile: Profile,
    samples: FloatArray | None,
    labels: IntArray | None,
    encoding: Encoding,
) -> dict[str, int]:
    """Exponents of every learnt matrix and every factor, from what a rehearsal in float64 reaches."""
    if not network.rule.learnt_matrices(network):
        return {}  # every range is known beforehand
    learner = FloatLearner(network)
    inputs = network.grids[0].size
    rehearsed = np.empty((0, inputs)) if samples is None else samples[:REHEARSAL_SAMPLES]
    if rehearsed.shape[1:] != (inputs,):
        raise NetworkError(f"shape {network}: samples of shape {rehearsed.shape}; wanted rows of {inputs} features")
    for row, x in enumerate(encoding.unit(rehearsed)):
        learner.learn_one(x, -1 if labels is None else int(labels[row]))
    exponents = {name: _weight_exponent(matrix, profile.weight_bits) for name, matrix in learner.matrices().items()}
    for name in learner.matrices():
        factor = name.replace("W", "s").replace("H", "hs")
        largest = FACTOR_HEADROOM * learner.largest_factor.get(factor, 0.25)
        exponents[factor] = _ceiling(largest) - (FACTOR_BITS - 1)
    return exponents


def calibrate_batch(
    network: Network, rule: PublishedBatch, profile: Profile, samples: FloatArray | None, encoding: Encoding
) -> dict[str, int]:
    """Exponents that just hold the largest weight and bias of the papers' run in float64.

    Nothing outlives the batch, so there is no need for headroom; without samples the start weights are given eightfold.
    """
    starts = [start.T for start in network.start_weights()]
    largest = [(UNKNOWN_GROWTH * float(np.abs(start).max()), 1.0) for start in starts]
    if samples is not None:
        run = trajectory(encoding.unit(samples[: rule.batch]), starts, rule.rate, rule.forward_steps)
        largest = [
            (float(np.abs(w).max()), float(np.abs(b).max())) for w, b in zip(run.weights, run.biases, strict=True)
        ]
    exponents = {}
    x = input_format(profile, encoding).exponent
    for layer, (weight, bias) in enumerate(largest, start=1):
        exponents[f"W{layer}"] = _ceiling(weight) - (profile.weight_bits - 1)
        exponents[f"b{layer}"] = max(_ceiling(bias) - 15, exponents[f"W{layer}"] + x)  # as fine as what it is added to
        x = profile.decision.exponent
    return exponents


def _ceiling(value: float) -> int:
    """Exponent of the power of two at or above a value."""
    return math.ceil(math.log2(max(value, 2.0**-14)))


def _weight_exponent(matrix: FloatArray, bits: int) -> int:
    """The end of the range is the power of two above WEIGHT_HEADROOM times the root mean square weight."""
    wanted = WEIGHT_HEADROOM * float(np.sqrt((matrix**2).mean())) * (1 if bits <= 8 else 2)
    return _ceiling(wanted) - (bits - 1)
