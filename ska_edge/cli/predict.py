"""`ska-edge predict`: use a model."""

from __future__ import annotations

import sys
from typing import Any

import click

from .common import data_options, emit, json_option, load_data


@click.command()
@click.argument("model", type=click.Path())
@data_options
@click.option("--executor", default="numba", show_default=True, help="numba or oracle.")
@json_option
def predict(model: str, dataset: str | None, file: str | None, label_column: str, executor: str, as_json: bool) -> None:
    """Decide samples with a model: one line a sample, and the accuracy where labels are known."""
    from ..learner import Learner

    data = load_data(dataset, file, label_column)
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

    emit(as_json, result, human)
