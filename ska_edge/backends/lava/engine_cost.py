"""What learning in Loihi's learning engine costs: against the exact Program, over rates and seeds, on the digits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...compare import half_width
from ...data import load_dataset, split
from ...errors import FitError
from ...fixed import IntArray
from ...learner import encode
from ...lowering import lower
from ...network import Network
from ...rules import rule_named
from .. import open_executor
from .engine import EngineExecutor, correlation

RATES = (0.24, 0.12, 0.06, 0.03, 0.015, 0.0075, 0.00375, 0.001875, 0.0009375)
COST_ALLOWED = 0.02
CHANGED_AT_LEAST = 0.2
_MATRIX = "W1"


@dataclass
class _Run:
    correlation: float
    exact: float
    engine: float
    changed: float
    traces: float


def cost_of_engine(
    seeds: int, passes: int, rates: Sequence[float] = RATES, advance: Callable[[int], None] = lambda count: None
) -> dict[str, Any]:
    """Digits, 64-16-10, `w8d8`, guided, features not centred: the hidden layer in the engine, the head exact.

    `rows`, one a rate: correlation of the weights' movement, accuracy of both, what the engine costs (paired, with the
    half-width of its 95 % interval), share of weights changed and of traces not zero.  `smallest_usable_rate`:
    from the exact Program's best rate down, the last before one costs more than COST_ALLOWED or changes fewer weights
    than CHANGED_AT_LEAST.  `refused`: rates too small (or large) for the engine's scales.
    """
    rows: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    for rate in rates:
        runs = []
        try:
            for seed in range(seeds):
                runs.append(_run(rate, seed, passes))
                advance(1)
        except FitError as error:
            refused.append({"rate": rate, "reason": str(error)})
            advance(seeds - len(runs))
            continue
        costs = [run.exact - run.engine for run in runs]
        rows.append(
            {
                "rate": rate,
                "seeds": seeds,
                "correlation": _mean(run.correlation for run in runs),
                "exact_accuracy": _mean(run.exact for run in runs),
                "engine_accuracy": _mean(run.engine for run in runs),
                "cost": _mean(costs),
                "cost_ci95": half_width(costs),
                "weights_changed": _mean(run.changed for run in runs),
                "nonzero_traces": _mean(run.traces for run in runs),
            }
        )
    usable = None
    best = max(rows, key=lambda row: row["exact_accuracy"])["rate"] if rows else 0.0
    for row in sorted(rows, key=lambda row: -row["rate"]):
        if row["rate"] <= best:
            if row["cost"] > COST_ALLOWED or row["weights_changed"] < CHANGED_AT_LEAST:
                break
            usable = row["rate"]
    return {"rows": rows, "refused": refused, "smallest_usable_rate": usable}


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))


def _run(rate: float, seed: int, passes: int) -> _Run:
    data = load_dataset("digits")
    rows = split(data, seed)
    labels: IntArray = np.asarray(data.labels)
    network = Network((64, 16, 10), rule_named("guided", rate=rate), seed)
    encoding = data.encoding(rows.learn, centred=False)
    program = lower(network, "w8d8", data.samples[rows.learn], labels[rows.learn], encoding)
    learnt = {"x": encode(program, data.samples[rows.learn]), "label": labels[rows.learn]}
    tested = {"x": encode(program, data.samples[rows.test])}
    engine, exact = EngineExecutor(program, seed), open_executor("numba", program)
    for number in range(passes):
        order = np.random.default_rng([seed, number]).permutation(len(rows.learn))
        for executor in (engine, exact):
            executor.stream("learn", {name: values[order] for name, values in learnt.items()})
    right = [
        float((executor.stream("infer", tested, ["choice"])["choice"] == labels[rows.test]).mean())
        for executor in (exact, engine)
    ]
    found = engine.synapses[_MATRIX].weights
    return _Run(
        correlation(2 * program.values[_MATRIX], 2 * exact.read(_MATRIX), found),
        right[0],
        right[1],
        float((found != 2 * program.values[_MATRIX]).mean()),
        engine.nonzero_traces / engine.traces,
    )
