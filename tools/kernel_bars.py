"""The kernels' bars: nominal cycles a product of forward, a weight of update and of a whole learning step, simulated.

    python tools/kernel_bars.py [--board qemu_m4] [--profile w16d15] [--samples 4]

Zero wait states (8 MHz), MNIST: the table "Kernels against their bars" of docs/simulator.md, all rows or those of one
board or profile.  Forward: `contract` of that phase over its products, rounding and biases included.  Update:
`outer_update` over all weights, first as the rule learns, which leaves out neurons with nothing to learn, then with a
tolerance of 1/256 and no grain, which leaves hardly any out.  A step: everything over the weights between layers.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass

from firmware_sim.activity import Operation
from firmware_sim.profile import Share
from ska_edge import Network, lower, rule_named
from ska_edge.data import load_dataset
from ska_edge.simulation import simulate
from ska_edge.verify import stream_of

CLOCK_HZ = 8_000_000


@dataclass(frozen=True)
class Bar:
    """A network on a board, and the most that forward, update and a step may take; None where nothing is asked."""

    board: str
    widths: tuple[int, ...]
    profile: str
    forward: float
    update: float | None = None
    step: float | None = None


BARS = (
    Bar("qemu_m4", (784, 256, 128, 64, 10), "w8d8", 1.9),
    Bar("qemu_m4", (784, 256, 128, 64, 10), "w16d15", 1.5, 5.5, 9.5),
    Bar("rpi_pico", (784, 128, 10), "w8d8", 8, 14),
    Bar("rpi_pico", (784, 64, 10), "w16d15", 14, 14),
)


def measure(bar: Bar, samples: int, **settings: float) -> tuple[float, float, float, bool]:
    """Forward, update and step of one row, and whether the weights are the judge's."""
    mnist = load_dataset("mnist")
    program = lower(Network(bar.widths, rule_named("guided", **settings)), bar.profile, mnist.samples[:200])
    stream = stream_of(program, mnist)
    with tempfile.TemporaryDirectory() as folder:
        done = simulate(
            program,
            bar.board,
            stream["x"],
            stream["label"],
            folder,
            learnt=samples,
            predicted=0,
            clock_hz=CLOCK_HZ,
        )
    operations = done.learning.operations
    forward = {op: share for op, share in operations.items() if op.phase == "forward" and op.verb == "contract"}
    update = {op: share for op, share in operations.items() if op.verb == "outer_update"}
    weights = sum(here * there for here, there in zip(bar.widths, bar.widths[1:], strict=False))
    return per_unit(forward, samples), per_unit(update, samples), done.per_sample.nominal / weights, done.equal


def per_unit(shares: dict[Operation, Share], samples: int) -> float:
    """Nominal cycles a product or a weight."""
    return sum(share.cycles.nominal for share in shares.values()) / samples / sum(op.work for op in shares)


def judged(value: float, bar: float | None) -> str:
    """A figure and what it may be."""
    return f"{value:.2f}" if bar is None else f"{value:.2f} (at most {bar:g}{'' if value <= bar else ', MISSED'})"


def main() -> None:
    summary, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--board", help="only this board")
    parser.add_argument("--profile", help="only this profile")
    parser.add_argument("--samples", type=int, default=4, help="samples learnt (default 4)")
    options = parser.parse_args()
    for bar in BARS:
        if options.board not in (None, bar.board) or options.profile not in (None, bar.profile):
            continue
        forward, update, step, equal = measure(bar, options.samples)
        _, dense, _, as_equal = measure(bar, options.samples, tolerance=1 / 256, grain=0)
        print(
            f"{bar.board} {'-'.join(map(str, bar.widths))} {bar.profile}: forward {judged(forward, bar.forward)},"
            f" update {judged(update, bar.update)}, of all neurons {judged(dense, bar.update)},"
            f" step {judged(step, bar.step)}; equal {equal and as_equal}"
        )


if __name__ == "__main__":
    main()
