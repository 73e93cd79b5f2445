"""`ska-edge lava`: learn in Lava's processes, and what its learning engine would cost."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import click

from .common import CHANGED_AT_LEAST, CHECK_FAILED, data_options, emit, json_option, load_data, quiet_option, warn


@click.group()
def lava() -> None:
    """Learn in Lava: a connection and a soma process a layer."""


@lava.command()
@click.argument("model", type=click.Path())
@data_options
@click.option("--samples", type=click.IntRange(1), default=1000, show_default=True, help="Samples to learn.")
@click.option("--events", type=click.Path(dir_okay=False), help="Count events; write them to this file as JSON.")
@click.option("--limit", type=click.FloatRange(1), default=120, show_default=True, help="Seconds to wait for Lava.")
@quiet_option
@json_option
def run(
    model: str,
    dataset: str | None,
    file: str | None,
    label_column: str,
    samples: int,
    events: str | None,
    limit: float,
    quiet: bool,
    as_json: bool,
) -> None:
    """Learn samples in Lava and compare the state with the compiled core's.

    Data defaults to the digits.  Says how long Lava took to start, to learn and to stop.  Exit code 1 where the states
    differ or Lava fails.
    """
    import numpy as np

    from .. import codec
    from ..backends import open_executor
    from ..backends.lava import LavaExecutor
    from ..progress import bar
    from ..verify import stream_of

    program = codec.load(model)
    inputs = stream_of(program, load_data(dataset if dataset or file else "digits", file, label_column))
    rows = len(next(iter(inputs.values())))
    chunk = 250
    with LavaExecutor(program, counting=events is not None, limit_s=limit) as executor:
        judge = open_executor("numba", program)
        began = time.perf_counter()
        with bar("learning in Lava", samples, not (quiet or as_json)) as advance:
            for start in range(0, samples, chunk):
                picked = np.arange(start, min(start + chunk, samples)) % rows
                executor.stream("learn", {name: values[picked] for name, values in inputs.items()})
                advance(len(picked))
        seconds = time.perf_counter() - began
        for start in range(0, samples, chunk):
            picked = np.arange(start, min(start + chunk, samples)) % rows
            judge.stream("learn", {name: values[picked] for name, values in inputs.items()})
        began = time.perf_counter()
        state = executor.state()
        read_s = time.perf_counter() - began
        if events is not None:
            text = json.dumps(executor.events(), indent=1)
            codec.write_atomically(Path(events), text.encode())
        names = [part.name for part in executor.cut.parts]
    changed = program.weights_changed(state)
    result = {
        "model": model,
        "processes": names,
        "samples": samples,
        "samples_per_second": samples / seconds,
        "start_s": executor.supervisor.start_s,
        "stop_s": executor.supervisor.stop_s,
        "read_s": read_s,
        "weights_changed": changed,
        "state_digest": program.digest_of(state),
        "equal": program.digest_of(state) == program.digest_of(judge.state()),
        "events": events,
    }
    if changed < CHANGED_AT_LEAST:
        warn(f"only {changed:.0%} of the weights changed; learn more samples for a proof that means something")
    emit(as_json, result, lambda: _print_run(result))
    if not result["equal"]:
        sys.exit(CHECK_FAILED)


@lava.command()
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Splits and starts a rate.")
@click.option("--passes", type=click.IntRange(1), default=3, show_default=True, help="Passes over the digits.")
@click.option("--rate", "rates", type=click.FloatRange(0, 5, min_open=True, max_open=True), multiple=True)
@quiet_option
@json_option
def engine(seeds: int, passes: int, rates: tuple[float, ...], quiet: bool, as_json: bool) -> None:
    """What learning in Loihi's learning engine costs: 7-bit traces, 8-bit weights, against the exact Program.

    Digits, 64-16-10, at every rate (or those given) and seed.  Runs in NumPy and needs no Lava.
    """
    from ..backends.lava.engine_cost import RATES, cost_of_engine
    from ..progress import bar

    chosen = rates or RATES
    with bar("learning", seeds * len(chosen), not (quiet or as_json)) as advance:
        result = cost_of_engine(seeds, passes, chosen, advance)
    emit(as_json, result, lambda: _print_engine(result))


def _print_run(result: dict[str, Any]) -> None:
    print(f"processes          {', '.join(result['processes'])}")
    print(f"samples a second   {result['samples_per_second']:.0f}")
    print(f"seconds            start {result['start_s']:.2f}, stop {result['stop_s']:.2f}, read {result['read_s']:.3f}")
    print(f"weights changed    {result['weights_changed']:.0%}")
    print(f"state              {result['state_digest'][:16]}, {'equal' if result['equal'] else 'NOT equal'}")


def _print_engine(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from ..report.tables import percent

    table = Table("rate", "corr.", "exact %", "engine %", "cost, points", "changed", "traces")
    for row in result["rows"]:
        table.add_row(
            f"{row['rate']:g}",
            f"{row['correlation']:.3f}",
            percent(row["exact_accuracy"], None),
            percent(row["engine_accuracy"], None),
            percent(row["cost"], row["cost_ci95"]),
            f"{row['weights_changed']:.0%}",
            f"{row['nonzero_traces']:.0%}",
        )
    Console().print(table)
    for row in result["refused"]:
        print(f"rate {row['rate']:g}: {row['reason']}")
    smallest = result["smallest_usable_rate"]
    print(f"smallest usable rate: {'none' if smallest is None else f'{smallest:g}'}")
