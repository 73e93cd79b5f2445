"""`ska-edge train`: learn from data sets or files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .common import CHANGED_AT_LEAST, data_options, emit, json_option, load_data, quiet_option, warn

SATURATED_AT_MOST = 0.2


@click.command()
@data_options
@click.option("--out", "model", type=click.Path(), help="Model to write.  [default: NAME.ska]")
@click.option("--resume", type=click.Path(), help="Go on learning this .ska instead of starting a network.")
@click.option("--shape", help="64-16-10, or layers as 16x16f10, 16x16k14, 8c5s2.  [default: features-16-classes]")
@click.option(
    "--rule", default="guided", show_default=True, help="guided, competitive, homeostatic, novelty, published."
)
@click.option("--profile", default="w8d8", show_default=True, help="w16d15, w16d8, w8d8 or w4d8.")
@click.option("--rate", type=float, help="Share by which one forward step moves knowledge.  [default: the rule's]")
@click.option("--forward-steps", type=int, help="K, forward steps of one sample.  [default: the rule's]")
@click.option("--heads", help="guided: learnt or code.  [default: learnt]")
@click.option("--unlabelled", help="guided: what a sample without label does, ignore or entropy.  [default: ignore]")
@click.option("--set", "parameters", multiple=True, help="NAME=VALUE, any parameter of the rule; repeatable.")
@click.option(
    "--passes", default=20, show_default=True, type=click.IntRange(1, 100000), help="Passes over the samples."
)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Start weights, split and order."
)
@click.option(
    "--test-share", default=0.2, show_default=True, type=click.FloatRange(0, 0.9), help="Rows held out as test."
)
@click.option("--early-stop", is_flag=True, help="Stop when entropy and knowledge flow have settled in every layer.")
@click.option("--executor", default="numba", show_default=True, help="numba or oracle.")
@quiet_option
@json_option
def train(
    dataset: str | None,
    file: str | None,
    label_column: str,
    model: str | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Learn one sample at a time, in integers, and write a .ska model after every pass.

    Ctrl-C or a crash leaves the model of the last whole pass.
    """
    from ..monitor import FAILURES
    from ..training import Settings, train_model

    data = load_data(dataset, file, label_column)
    path = Path(model) if model else Path(f"{data.name}.ska")
    result = train_model(data, path, Settings(**options), progress=not (quiet or as_json))
    if result["weights_changed"] < CHANGED_AT_LEAST:
        warn(f"only {result['weights_changed']:.0%} of the weights changed; equal bits would prove little")
    if result["saturated"] > SATURATED_AT_MOST:
        warn(f"{result['saturated']:.0%} of the hidden decisions are saturated (|z| > 4); the features carry little")
    for sign in result["signs"]:
        if sign["sign"] in FAILURES:
            warn(f"layer {sign['layer']}: {sign['sign']} after {sign['samples']} samples; see docs/monitor.md")

    def human() -> None:
        accuracy = "no labels to test" if result["accuracy"] is None else f"accuracy {result['accuracy']:.4f}"
        print(f"{result['model']}: {accuracy}, {result['samples']} samples learnt in {result['seconds']:.1f} s")
        print(
            f"  {result['weight_updates']} weight updates, {result['weights_changed']:.0%} of the weights changed, ",
            end="",
        )
        print(f"{result['saturated']:.0%} of the decisions saturated")
        print(f"  program {result['program_digest'][:16]}  state {result['state_digest'][:16]}")

    emit(as_json, result, human)
