"""The command line.  Verbs, keys and exit codes are fixed by the project's contract: 0 done, 1 a check failed, 2 bad
input, 3 something missing on this machine.  Progress and messages go to standard error, results to standard output.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from ..errors import SkaError
from .bench import bench
from .boards import boards
from .build import build
from .compare import compare
from .cycles_truth import cycles_truth
from .demo import demo
from .device import device
from .export import export
from .flash import flash
from .import_model import import_model
from .lava import lava
from .loihi import loihi
from .memory import memory
from .models import models
from .paper import paper
from .predict import predict
from .probe import probe
from .search import search
from .show import show
from .simulate import simulate
from .train import train
from .verify import verify

INTERRUPTED = 130


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


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="ska_edge", prog_name="ska-edge")
def main() -> None:
    """Learning on the device without backprop: the same bits on every backend."""


_VERBS = (
    *(demo, paper, train, predict, show, verify, bench, compare, models),
    *(boards, build, flash, device, simulate, cycles_truth, memory, search),
    *(export, import_model, probe, loihi, lava),
)
for _verb in _VERBS:
    main.add_command(_verb)

__all__ = ["main"]
