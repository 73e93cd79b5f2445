"""`ska-edge show`: a Program as tables."""

from __future__ import annotations

import click

from .common import emit, json_option


@click.command()
@click.argument("model", type=click.Path())
@json_option
def show(model: str, as_json: bool) -> None:
    """Print a Program: tensors, operations with their proved margins, memory by part, digests."""
    from .. import codec
    from ..listing import listing, print_listing

    program = codec.load(model)
    emit(as_json, {"model": model, **listing(program)}, lambda: print_listing(model, program))
