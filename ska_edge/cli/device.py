"""`ska-edge device`: talk to a board, or to its emulation, that runs a model's firmware."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from ..errors import SkaError
from .common import data_options, emit, json_option, load_data, quiet_option, warn

if TYPE_CHECKING:
    from rich.table import Table

    from ..device import Device
    from ..program import Program

SMOOTHING = 0.05
"""Share of the newest sample in the entropies shown."""
BAR_COLUMNS = 30


@dataclass(frozen=True)
class _Line:
    """Where the device is; opened by the subcommands, so that their --help needs none."""

    model: str
    port: str | None
    emulator: str | None
    baud: int
    timeout: float

    @contextmanager
    def open(self) -> Iterator[tuple[Program, Device]]:
        """The model and the device, which has said hello and runs that model."""
        from .. import codec
        from ..device import Device, open_link
        from ..emulator import BOARDS, Emulation

        if (self.port is None) == (self.emulator is None):
            raise SkaError("device: give either --port PORT or --emulator NAME")
        program = codec.load(self.model)
        if self.emulator is not None:
            if self.emulator not in BOARDS:
                raise SkaError(f"emulator {self.emulator!r}: allowed are {', '.join(BOARDS)}")
            with Emulation(program, self.emulator) as emulation:
                yield program, emulation.device
        else:
            link = open_link(str(self.port), self.baud)
            with Device(program, link, self.timeout, label=str(self.port)) as device:
                device.hello()
                yield program, device


class _AfterModel(click.Group):
    """Takes the group's options after MODEL, as people write them; click wants them before."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        verb = next((at for at, word in enumerate(args) if at and word in self.commands), 0)
        if verb and not args[0].startswith("-"):
            args = [*args[1:verb], args[0], *args[verb:]]
        return super().parse_args(ctx, args)


@click.group(cls=_AfterModel)
@click.argument("model", type=click.Path())
@click.option("--port", help="Serial port, /dev/pts/N, tcp:HOST:NUMBER or unix:PATH.")
@click.option("--emulator", metavar="NAME", help="Instead: build and run in an emulator, as in qemu-m3.")
@click.option("--baud", default=115200, show_default=True, type=click.IntRange(1200, 4_000_000))
@click.option(
    "--timeout", default=2.0, show_default=True, type=click.FloatRange(0.01, 600), help="Seconds to an answer."
)
@click.pass_context
def device(
    context: click.Context, model: str, port: str | None, emulator: str | None, baud: int, timeout: float
) -> None:
    """Talk to a board that runs MODEL's firmware: learn, predict, take the weights home.

    A device that runs another model is refused.  Lost and damaged frames are repeated; nothing is learnt twice.
    An emulator starts anew with every command: say `learn --out` to keep what it has learnt.
    """
    context.obj = _Line(model, port, emulator, baud, timeout)


@device.command()
@json_option
@click.pass_obj
def hello(line: _Line, as_json: bool) -> None:
    """Who is there: Program, sizes, compiler, and how much stack it has used."""
    with line.open() as (_, talking):
        total, used = talking.stack()
        result = {**asdict(talking.known), "stack_bytes": total, "stack_used_bytes": used}
    emit(as_json, result, lambda: _print_pairs(result))


@device.command()
@data_options
@click.option("--passes", default=1, show_default=True, type=click.IntRange(1), help="Passes over the samples.")
@click.option("--samples", type=click.IntRange(1), help="Only the first so many rows.")
@click.option("--out", type=click.Path(), help="Take the learnt weights home as this .ska.")
@quiet_option
@json_option
@click.pass_obj
def learn(
    line: _Line,
    dataset: str | None,
    file: str | None,
    label_column: str,
    passes: int,
    samples: int | None,
    out: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Stream samples to the device, which learns them one by one; shows each layer's entropy while it does."""
    from .. import codec
    from ..learner import check_labels, encode

    data = load_data(dataset, file, label_column)
    with line.open() as (program, talking):
        x = encode(program, data.samples)[:samples]
        labels = check_labels(data.labels, len(data.samples), program.by_name["decision"].size)[:samples]
        view = _View(program, passes * len(x))
        with view.shown(not (quiet or as_json)):
            for _ in range(passes):
                for row, label in zip(x, labels.tolist(), strict=True):
                    choice = talking.learn(row, label)
                    view.add(choice, label, talking.entropies)
        state = talking.snapshot()
        if out:
            codec.save(program.with_state(state), out)
        result: dict[str, Any] = {
            "model": out or line.model,
            "program_digest": program.program_digest,
            "state_digest": program.digest_of(state),
            "samples": view.samples,
            "weight_updates": view.samples * program.updates_per_run(),
            "weights_changed": program.weights_changed(state),
            "accuracy": view.accuracy,
            "entropy": view.entropy,
            "repeats": talking.repeats,
        }
    if talking.repeats:
        warn(f"{talking.repeats} requests had to be repeated; nothing was lost")

    def human() -> None:
        right = "" if view.accuracy is None else f", {view.accuracy:.1%} decided rightly before they were learnt"
        print(f"{view.samples} samples learnt{right}")
        print(f"  program {program.program_digest[:16]}  state {result['state_digest'][:16]}")
        if out:
            print(f"  {out}")

    emit(as_json, result, human)


@device.command()
@data_options
@json_option
@click.pass_obj
def predict(line: _Line, dataset: str | None, file: str | None, label_column: str, as_json: bool) -> None:
    """Classes of samples, decided on the device."""
    from ..learner import check_labels, encode

    data = load_data(dataset, file, label_column)
    with line.open() as (program, talking):
        labels = check_labels(data.labels, len(data.samples), program.by_name["decision"].size)
        choices = [talking.predict(row) for row in encode(program, data.samples)]
    known = [(choice, label) for choice, label in zip(choices, labels.tolist(), strict=True) if label >= 0]
    accuracy = sum(choice == label for choice, label in known) / len(known) if known else None

    def human() -> None:
        print("sample,class")
        for row, choice in enumerate(choices):
            print(f"{row},{choice}")
        if accuracy is not None:
            print(f"accuracy {accuracy:.4f} on {len(known)} labelled samples", file=sys.stderr)

    emit(as_json, {"model": line.model, "samples": len(choices), "predictions": choices, "accuracy": accuracy}, human)


@device.command()
@json_option
@click.pass_obj
def entropies(line: _Line, as_json: bool) -> None:
    """Each layer's entropy sum of the last sample learnt, in bits."""
    with line.open() as (program, talking):
        bits = dict(zip(_View(program, 1).names, _bits(program, talking.entropies()), strict=True))
    emit(as_json, {"entropy": bits}, lambda: _print_pairs(bits))


@device.command()
@click.option("--out", required=True, type=click.Path(), help="The .ska to write.")
@json_option
@click.pass_obj
def snapshot(line: _Line, out: str, as_json: bool) -> None:
    """Take the learnt weights home as a .ska."""
    from .. import codec

    with line.open() as (program, talking):
        learnt = program.with_state(talking.snapshot())
    codec.save(learnt, out)
    result = {"model": out, "program_digest": learnt.program_digest, "state_digest": learnt.state_digest}
    emit(as_json, result, lambda: print(f"{out}: state {learnt.state_digest[:16]}"))


@device.command()
@click.argument("state", type=click.Path())
@json_option
@click.pass_obj
def restore(line: _Line, state: str, as_json: bool) -> None:
    """Send the weights of STATE, a .ska of the same Program, to the device, and read them back."""
    from .. import codec
    from ..device import DigestError

    given = codec.load(state)
    with line.open() as (program, talking):
        if given.program_digest != program.program_digest:
            raise DigestError(f"{state}: program {given.program_digest}, the device runs {program.program_digest}")
        talking.restore(given.initial_state())
    emit(as_json, {"state_digest": given.state_digest}, lambda: print(f"restored: state {given.state_digest[:16]}"))


@device.command()
@json_option
@click.pass_obj
def reset(line: _Line, as_json: bool) -> None:
    """Start again from the state the image was built with."""
    with line.open() as (program, talking):
        talking.reset()
        digest = program.digest_of(talking.snapshot())
    emit(as_json, {"state_digest": digest}, lambda: print(f"reset: state {digest[:16]}"))


@device.command()
@json_option
@click.pass_obj
def save(line: _Line, as_json: bool) -> None:
    """Save the state in the chip's own flash (an image built with --snapshots)."""
    with line.open() as (program, talking):
        talking.save_in_flash()
        digest = program.digest_of(talking.snapshot())
    emit(as_json, {"state_digest": digest}, lambda: print(f"saved in flash: state {digest[:16]}"))


@device.command()
@json_option
@click.pass_obj
def load(line: _Line, as_json: bool) -> None:
    """Bring back the newest state saved in the chip's own flash."""
    with line.open() as (program, talking):
        talking.load_from_flash()
        digest = program.digest_of(talking.snapshot())
    emit(as_json, {"state_digest": digest}, lambda: print(f"loaded from flash: state {digest[:16]}"))


def _print_pairs(pairs: Mapping[str, Any]) -> None:
    for key, value in pairs.items():
        print(f"{key}: {value}")


def _bits(program: Program, sums: list[int]) -> list[float]:
    """Entropy sums in bits, in the order the firmware has them: that of the Program's outputs."""
    from ..operations import Kind, Role

    tensors = [t for t in program.of_kind(Kind.ENTROPY) if t.role is Role.OUTPUT]
    return [
        float(math.ldexp(value, tensor.format.exponent)) / math.log(2.0)
        for tensor, value in zip(tensors, sums, strict=True)
    ]


class _View:
    """What is seen while a device learns: samples, accuracy, and a smoothed entropy a layer."""

    def __init__(self, program: Program, total: int) -> None:
        from ..operations import Kind, Role

        self._program, self._total = program, total
        self.names = [t.name for t in program.of_kind(Kind.ENTROPY) if t.role is Role.OUTPUT]
        self.samples = 0
        self.entropy: dict[str, float] = {}
        self._right = self._labelled = 0
        self._live: Any = None

    @property
    def accuracy(self) -> float | None:
        """Share of labelled samples decided rightly before they were learnt."""
        return self._right / self._labelled if self._labelled else None

    def add(self, choice: int, label: int, ask: Any) -> None:
        """One more sample; `ask` fetches the entropy sums."""
        self.samples += 1
        self._labelled += label >= 0
        self._right += label >= 0 and choice == label
        for name, value in zip(self.names, _bits(self._program, ask()), strict=True):
            before = self.entropy.get(name, value)
            self.entropy[name] = before + SMOOTHING * (value - before)
        if self._live is not None:
            self._live.update(self._table())

    @contextmanager
    def shown(self, wanted: bool) -> Iterator[None]:
        """A live table on standard error, if that is a terminal."""
        from rich.console import Console
        from rich.live import Live

        if not (wanted and sys.stderr.isatty()):
            yield
            return
        with Live(self._table(), console=Console(stderr=True), refresh_per_second=8) as self._live:
            yield

    def _table(self) -> Table:
        from rich.table import Table

        right = "" if self.accuracy is None else f", {self.accuracy:.1%} right before learning"
        table = Table("layer", "entropy, bits", "", title=f"{self.samples} of {self._total} samples{right}")
        largest = max((abs(value) for value in self.entropy.values()), default=0.0) or 1.0
        for name, value in self.entropy.items():
            table.add_row(name, f"{value:.4f}", "█" * round(BAR_COLUMNS * abs(value) / largest))
        return table
