"""`ska-edge verify`: every executor learns the same stream."""

from __future__ import annotations

import os
import sys

import click

from .common import CHANGED_AT_LEAST, CHECK_FAILED, data_options, emit, json_option, load_data, quiet_option, warn


@click.command()
@click.argument("model", type=click.Path())
@click.option("--against", default="all", show_default=True, help="Executors joined by commas, or all.")
@data_options
@click.option("--samples", type=click.IntRange(1), help="Samples to learn.  [default: 1000]")
@click.option("--updates", type=click.IntRange(1), help="Instead: at least so many weight updates.")
@click.option("--full", is_flag=True, help="Spare slow executors nothing: all samples, all operations.")
@quiet_option
@json_option
def verify(
    model: str,
    against: str,
    dataset: str | None,
    file: str | None,
    label_column: str,
    samples: int | None,
    updates: int | None,
    full: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Learn the same stream in every executor and compare all bits with the oracle's.

    Data defaults to the digits.  Exit code 1 where a bit differs and, with CI=true, where an executor is missing.
    """
    from .. import codec
    from ..progress import bar
    from ..verify import REFERENCE, executor_names, stream_of, verify

    program = codec.load(model)
    data = load_data(dataset if dataset or file else "digits", file, label_column)
    names = executor_names(against)
    inputs = stream_of(program, data)
    count = samples or (-(-updates // max(program.updates_per_run(), 1)) if updates else 1000)
    with bar("verifying", count, not (quiet or as_json)) as advance:
        found = verify(program, names, inputs, count, advance, full)
    failed = not found.equal or (os.environ.get("CI") == "true" and bool(found.skipped))
    changed = found.executors[REFERENCE].weights_changed
    if changed < CHANGED_AT_LEAST:
        warn(f"only {changed:.0%} of the weights changed; learn more samples for a proof that means something")
    emit(as_json, {"model": model, "samples": count, **found.to_json()}, found.print)
    if failed:
        sys.exit(CHECK_FAILED)
