"""The command line.  Verbs, keys and exit codes are fixed by the project's contract: 0 done, 1 a check failed, 2 bad
input, 3 something missing on this machine.  Progress and messages go to standard error, results to standard output.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from .errors import DataError, SkaError

if TYPE_CHECKING:
    from .data import Dataset

CHECK_FAILED = 1
INTERRUPTED = 130
CHANGED_AT_LEAST = 0.2
SATURATED_AT_MOST = 0.2


class _Group(click.Group):
    """Turns typed errors into a message and an exit code, and never shows a traceback for them."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **kwargs: Any) -> Any:
        as_json = "--json" in (sys.argv if args is None else args)
        try:
            return super().main(args, *rest, **{**kwargs, "standalone_mode": False})
        except click.exceptions.Abort:
            _fail("interrupted", INTERRUPTED, as_json)
        except KeyboardInterrupt:
            _fail("interrupted", INTERRUPTED, as_json)
        except click.ClickException as error:
            if not as_json:
                error.show()
                sys.exit(error.exit_code)
            _fail(error.format_message(), error.exit_code, as_json)
        except SkaError as error:
            _fail(str(error), error.exit_code, as_json)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except BrokenPipeError:  # the reader of our output has gone, as in `ska-edge show model.ska | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)


def _fail(message: str, code: int, as_json: bool) -> NoReturn:
    if as_json:
        print(json.dumps({"error": message}))
    print(f"ska-edge: {message}", file=sys.stderr)
    sys.exit(code)


def _options(*options: Callable[..., Any]) -> Callable[..., Any]:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


_json = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
_quiet = click.option("--quiet", is_flag=True, help="No progress bar.")
_data = _options(
    click.option("--dataset", metavar="NAME", help="digits, mnist or ecg."),
    click.option("--data", "file", type=click.Path(), help="A CSV or NPZ file of your own."),
    click.option(
        "--label-column", default="last", show_default=True, help="CSV: first, last, none or a column's name."
    ),
)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="ska_edge", prog_name="ska-edge")
def main() -> None:
    """Learning on the device without backprop: the same bits on every backend."""


def _load(dataset: str | None, file: str | None, label_column: str) -> Dataset:
    from .data import load_dataset, load_file

    if (dataset is None) == (file is None):
        raise DataError("data: give either --dataset NAME (digits, mnist, ecg) or --data FILE")
    return load_file(file, label_column) if file is not None else load_dataset(str(dataset))


def _emit(as_json: bool, result: dict[str, Any], human: Callable[[], None]) -> None:
    if as_json:
        print(json.dumps(result))
    else:
        human()


def _warn(message: str) -> None:
    print(f"warning: {message}", file=sys.stderr)


# -- demo -------------------------------------------------------------------------------------------------------


@main.command()
@click.option(
    "--out", default="out/demo", show_default=True, type=click.Path(), help="Folder for everything it writes."
)
@click.option(
    "--seeds", default=10, show_default=True, type=click.IntRange(2, 1000), help="Repetitions, for the intervals."
)
@click.option("--passes", default=20, show_default=True, type=click.IntRange(1, 1000), help="Passes over the samples.")
@_quiet
@_json
def demo(out: str, seeds: int, passes: int, quiet: bool, as_json: bool) -> None:
    """Learn scikit-learn's digits in 8-bit integers, compare, and write a model, figures and a page."""
    from .demo import run_demo
    from .report import print_table

    started = time.perf_counter()
    result = run_demo(Path(out), seeds=seeds, passes=passes, progress=not (quiet or as_json))

    def human() -> None:
        print_table(result.rows)
        print(f"\n{result.summary}\n")
        print(f"Took {time.perf_counter() - started:.0f} s.  Open {Path(out) / 'index.html'}")

    _emit(as_json, result.to_json(), human)


# -- train ------------------------------------------------------------------------------------------------------


@main.command()
@_data
@click.option("--out", "model", type=click.Path(), help="Model to write.  [default: NAME.ska]")
@click.option("--resume", type=click.Path(), help="Go on learning this .ska instead of starting a network.")
@click.option("--shape", help="Widths, as in 64-16-10.  [default: features-16-classes]")
@click.option("--rule", default="guided", show_default=True, help="guided or published.")
@click.option("--profile", default="w8d8", show_default=True, help="w16d15, w16d8, w8d8 or w4d8.")
@click.option("--rate", type=float, help="Share by which one forward step moves knowledge.  [default: the rule's]")
@click.option("--forward-steps", type=int, help="K, forward steps of one sample.  [default: the rule's]")
@click.option("--heads", help="guided: learnt or code.  [default: learnt]")
@click.option("--unlabelled", help="guided: what a sample without label does, ignore or entropy.  [default: ignore]")
@click.option(
    "--passes", default=20, show_default=True, type=click.IntRange(1, 100000), help="Passes over the samples."
)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Start weights, split and order."
)
@click.option(
    "--test-share", default=0.2, show_default=True, type=click.FloatRange(0, 0.9), help="Rows held out as test."
)
@click.option("--executor", default="numba", show_default=True, help="numba or oracle.")
@_quiet
@_json
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
    from .training import Settings, train_model

    data = _load(dataset, file, label_column)
    path = Path(model) if model else Path(f"{data.name}.ska")
    result = train_model(data, path, Settings(**options), progress=not (quiet or as_json))
    if result["weights_changed"] < CHANGED_AT_LEAST:
        _warn(f"only {result['weights_changed']:.0%} of the weights changed; equal bits would prove little")
    if result["saturated"] > SATURATED_AT_MOST:
        _warn(f"{result['saturated']:.0%} of the hidden decisions are saturated (|z| > 4); the features carry little")

    def human() -> None:
        accuracy = "no labels to test" if result["accuracy"] is None else f"accuracy {result['accuracy']:.4f}"
        print(f"{result['model']}: {accuracy}, {result['samples']} samples learnt in {result['seconds']:.1f} s")
        print(
            f"  {result['weight_updates']} weight updates, {result['weights_changed']:.0%} of the weights changed, ",
            end="",
        )
        print(f"{result['saturated']:.0%} of the decisions saturated")
        print(f"  program {result['program_digest'][:16]}  state {result['state_digest'][:16]}")

    _emit(as_json, result, human)


# -- predict ----------------------------------------------------------------------------------------------------


@main.command()
@click.argument("model", type=click.Path())
@_data
@click.option("--executor", default="numba", show_default=True, help="numba or oracle.")
@_json
def predict(model: str, dataset: str | None, file: str | None, label_column: str, executor: str, as_json: bool) -> None:
    """Decide samples with a model: one line a sample, and the accuracy where labels are known."""
    from .learner import Learner

    data = _load(dataset, file, label_column)
    learner = Learner.load(model, executor)
    choices = learner.predict_many(data.samples)
    decisions = learner.decide_many(data.samples)
    result: dict[str, Any] = {"model": model, "samples": len(choices), "predictions": choices.tolist()}
    if data.labels is not None:
        known = learner.check_labels(data.labels, len(choices)) >= 0
        result["accuracy"] = float((choices == data.labels)[known].mean()) if known.any() else None

    def human() -> None:
        print("sample,class,decision")
        for row, choice in enumerate(choices):
            print(f"{row},{choice},{decisions[row, choice]:.4f}")
        if result.get("accuracy") is not None:
            print(f"accuracy {result['accuracy']:.4f} on {int(known.sum())} labelled samples", file=sys.stderr)

    _emit(as_json, result, human)


# -- show -------------------------------------------------------------------------------------------------------


@main.command()
@click.argument("model", type=click.Path())
@_json
def show(model: str, as_json: bool) -> None:
    """Print a Program: tensors, operations with their proved margins, memory by part, digests."""
    from . import codec
    from .listing import listing, print_listing

    program = codec.load(model)
    _emit(as_json, {"model": model, **listing(program)}, lambda: print_listing(model, program))


# -- verify -----------------------------------------------------------------------------------------------------


@main.command()
@click.argument("model", type=click.Path())
@click.option("--against", default="all", show_default=True, help="Executors joined by commas, or all.")
@_data
@click.option("--samples", type=click.IntRange(1), help="Samples to learn.  [default: 1000]")
@click.option("--updates", type=click.IntRange(1), help="Instead: at least so many weight updates.")
@_quiet
@_json
def verify(
    model: str,
    against: str,
    dataset: str | None,
    file: str | None,
    label_column: str,
    samples: int | None,
    updates: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Learn the same stream in every executor and compare all bits with the oracle's.

    Data defaults to the digits.  Exit code 1 where a bit differs and, with CI=true, where an executor is missing.
    """
    from . import codec
    from .verify import executor_names, stream_of, verify

    program = codec.load(model)
    data = _load(dataset if dataset or file else "digits", file, label_column)
    names = executor_names(against)
    inputs = stream_of(program, data)
    count = samples or (-(-updates // max(program.updates_per_sample(), 1)) if updates else 1000)
    with _bar("verifying", count, not (quiet or as_json)) as advance:
        found = verify(program, names, inputs, count, advance)
    failed = not found.equal or (os.environ.get("CI") == "true" and bool(found.skipped))
    changed = min(result.weights_changed for result in found.executors.values())
    if changed < CHANGED_AT_LEAST:
        _warn(f"only {changed:.0%} of the weights changed; learn more samples for a proof that means something")
    _emit(as_json, {"model": model, "samples": count, **found.to_json()}, found.print)
    if failed:
        sys.exit(CHECK_FAILED)


def _bar(what: str, total: int, shown: bool) -> Any:
    from .progress import bar

    return bar(what, total, shown)


__all__ = ["main"]
