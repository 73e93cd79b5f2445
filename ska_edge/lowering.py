"""Network -> Program.  Floats end here: exponents, tables and start values are chosen once, for every backend."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .builder import FACTOR_BITS, Builder
from .fixed import FloatArray, Format, IntArray
from .network import Network
from .operations import Kind, Role
from .profiles import Profile, profile_named
from .program import Encoding, Program
from .reference.stream import FloatLearner

REHEARSAL_SAMPLES = 1500
WEIGHT_HEADROOM = 2.5
FACTOR_HEADROOM = 2.0


def lower(
    network: Network,
    profile: str = "w8d8",
    samples: FloatArray | None = None,
    labels: IntArray | None = None,
    encoding: Encoding | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Program:
    """Lower a network to integers.

    `samples` [n, inputs] are features as the user has them; `encoding` maps them to 0 .. 1.  They calibrate the
    weights' exponents: the rule is rehearsed on them in float64.  Without samples the start weights alone decide.
    Raises NetworkError for an impossible network, ProgramError where the range proof fails.

    >>> program = lower(Network((64, 16, 10)))
    >>> program.by_name["W1"].format.bits
    8
    """
    chosen = profile_named(profile)
    encoding = encoding or Encoding()
    build = Builder(chosen)
    x = build.tensor("x", (network.shape[0],), input_format(chosen, encoding), Role.INPUT, Kind.SAMPLE)
    network.rule.emit(build, network.start_weights(), x, calibrate(network, chosen, samples, labels, encoding))
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
    learner = FloatLearner(network)
    rehearsed = np.empty((0, network.shape[0])) if samples is None else samples[:REHEARSAL_SAMPLES]
    for row, x in enumerate(encoding.unit(rehearsed)):
        learner.learn_one(x, -1 if labels is None else int(labels[row]))
    exponents = {name: _weight_exponent(matrix, profile.weight_bits) for name, matrix in learner.matrices().items()}
    for name in learner.matrices():
        factor = name.replace("W", "s").replace("H", "hs")
        largest = FACTOR_HEADROOM * learner.largest_factor.get(factor, 0.25)
        exponents[factor] = math.ceil(math.log2(max(largest, 2.0**-14))) - (FACTOR_BITS - 1)
    return exponents


def _weight_exponent(matrix: FloatArray, bits: int) -> int:
    """The end of the range is the power of two above WEIGHT_HEADROOM times the root mean square weight."""
    wanted = WEIGHT_HEADROOM * float(np.sqrt((matrix**2).mean())) * (1 if bits <= 8 else 2)
    return math.ceil(math.log2(max(wanted, 2.0**-14))) - (bits - 1)
