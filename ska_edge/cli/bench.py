"""`ska-edge bench`: how fast the compiled core learns."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import click

from .common import CHANGED_AT_LEAST, CHECK_FAILED, emit, json_option, needs, quiet_option, warn

QUICK_REPEATS = 6


@click.command()
@click.option("--shape", default="784-256-128-64-10", show_default=True, help="Widths of the network.")
@click.option("--profile", default="w16d15", show_default=True, help="w16d15, w16d8, w8d8 or w4d8.")
@click.option("--dataset", help="digits, mnist or ecg.  [default: what fits the shape, else synthetic images]")
@click.option("--repeats", type=click.IntRange(1, 10000), help="Turns of each contestant.  [default: 60]")
@click.option("--quick", is_flag=True, help=f"Only {QUICK_REPEATS} turns: rough figures in seconds.")
@click.option("--onnx", is_flag=True, help="Instead: the exported ONNX models beside Numba and NumPy, in w8d8.")
@click.option("--check", is_flag=True, help="Exit code 1 if a bar is missed.")
@quiet_option
@json_option
def bench(
    shape: str,
    profile: str,
    dataset: str | None,
    repeats: int | None,
    quick: bool,
    onnx: bool,
    check: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Time the compiled core against float32 NumPy, side by side on one thread.

    A stream of single samples, the papers' batch, shares and bounds of forward and update, and all profiles.  Ratios
    are medians over turns.  The first run compiles the core, which takes half a minute.
    """
    if onnx:
        _bench_onnx(shape, dataset, repeats or QUICK_REPEATS * (1 if quick else 5), quiet, as_json)
        return
    from ..bench import Settings, measure, turns_of
    from ..progress import bar

    settings = Settings(shape=shape, profile=profile, dataset=dataset)
    settings = replace(settings, repeats=repeats or (QUICK_REPEATS if quick else settings.repeats))
    with bar("measuring", turns_of(settings), not (quiet or as_json)) as advance:
        result = measure(settings, advance)
    if result["weights_changed"] < CHANGED_AT_LEAST:
        warn(f"only {result['weights_changed']:.0%} of the weights changed; the times are those of idle learning")
    emit(as_json, result, lambda: _print(result))
    if check and not all(result["passed"].values()):
        missed = ", ".join(name for name, met in result["passed"].items() if not met)
        warn(f"missed: {missed}")
        sys.exit(CHECK_FAILED)


def _print(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    def quartiles(name: str) -> str:
        low, high = result[f"{name}_quartiles"]
        return f"{low:.3g} to {high:.3g}"

    bounds, shares, bars = result["bounds"], result["stream_shares"], result["bars"]
    table = Table("what", "figure", "bar", "quartiles", title="float32 NumPy, paired", title_justify="left")
    for name, words, sign in (
        ("stream_speedup", "stream: times faster than NumPy", ">="),
        ("batch_ratio", "batch step: NumPy's time times", "<="),
    ):
        table.add_row(words, f"{result[name]:.3g}", f"{sign} {bars[name]:g}", quartiles(name))
    for name in ("forward", "update"):
        table.add_row(f"{name}: times its bound", f"{bounds[name]:.2f}", f"<= {bars[name]:g}", "")
    table.add_row("weights changed", f"{result['weights_changed']:.0%}", f">= {bars['weights_changed']:.0%}", "")
    console = Console()
    console.print(table)
    micro, milli = result["stream_microseconds"], result["batch_milliseconds"]
    print(f"stream: {micro['ours']:.0f} us a sample (NumPy {micro['numpy']:.0f}): ", end="")
    print(", ".join(f"{part} {share:.0%}" for part, share in shares.items()))
    print(f"  {result['weight_updates_per_second']:.3g} weight updates a second")
    print(f"batch of {result['batch_size']}: {milli['ours']:.1f} ms a step (NumPy {milli['numpy']:.1f})")
    each = (f"{name} {figures['relative_time']:.2f}" for name, figures in result["profiles"].items())
    print(f"stream in each profile, w16d15 = 1: {', '.join(each)}")
    print(f"digits, guided, w8d8: {result['digits_samples_per_second']:.0f} samples a second")
    print(f"bound: {bounds['words']}")
    print(f"{result['shape']} {result['profile']}, data {result['data']}, {result['repeats']} turns, {result['cpu']}")


def _bench_onnx(shape: str, dataset: str | None, repeats: int, quiet: bool, as_json: bool) -> None:
    from ..progress import bar

    timing = needs("ska_edge.bench_onnx", "onnx")
    with bar("measuring", timing.turns_of(repeats), not (quiet or as_json)) as advance:
        result = timing.measure(shape, "w8d8", dataset, repeats, advance)

    def human() -> None:
        for what in ("learn", "infer"):
            for case, times in result[what].items():
                each = ", ".join(f"{name} {time:.3g}" for name, time in times.items())
                print(f"{what} {case if what == 'learn' else f'batch {case}'}: us a sample: {each}")
        print(f"{shape} {result['profile']}, data {result['data']}, {repeats} turns, one thread, CPU time")

    emit(as_json, result, human)
