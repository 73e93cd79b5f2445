"""What the verbs share: options, loading data, output for people and for scripts, warnings."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ..errors import DataError

if TYPE_CHECKING:
    from ..data import Dataset

CHECK_FAILED = 1
CHANGED_AT_LEAST = 0.2


def options(*decorators: Callable[..., Any]) -> Callable[..., Any]:
    """Several click options as one decorator."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(decorators):
            function = option(function)
        return function

    return decorate


json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
quiet_option = click.option("--quiet", is_flag=True, help="No progress bar.")
data_options = options(
    click.option("--dataset", metavar="NAME", help="digits, mnist or ecg."),
    click.option("--data", "file", type=click.Path(), help="A CSV or NPZ file of your own."),
    click.option(
        "--label-column", default="last", show_default=True, help="CSV: first, last, none or a column's name."
    ),
)


def load_data(dataset: str | None, file: str | None, label_column: str) -> Dataset:
    """The data that `data_options` name."""
    from ..data import load_dataset, load_file

    if (dataset is None) == (file is None):
        raise DataError("data: give either --dataset NAME (digits, mnist, ecg) or --data FILE")
    return load_file(file, label_column) if file is not None else load_dataset(str(dataset))


def needs(module: str, extra: str) -> Any:
    """A module that needs an optional library.  Raises MissingError with the extra that has it."""
    from importlib import import_module

    from ..errors import MissingError

    try:
        return import_module(module)
    except ImportError as error:
        raise MissingError(f"{error.name}: not installed; pip install 'ska_edge[{extra}]'") from None


def emit(as_json: bool, result: dict[str, Any], human: Callable[[], None]) -> None:
    """Print the result as JSON, or let `human` print it."""
    if as_json:
        print(json.dumps(result))
    else:
        human()


def warn(message: str) -> None:
    """A warning on standard error."""
    print(f"warning: {message}", file=sys.stderr)
