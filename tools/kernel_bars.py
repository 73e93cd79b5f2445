"""The kernels' bars: nominal cycles a weight of forward, update and a whole learning step, in the simulator.

    python tools/kernel_bars.py [--board qemu_m4] [--profile w16d15] [--samples 4]

Zero wait states (8 MHz), MNIST, K = 50: the table "Kernels against their bars" of docs/simulator.md, all four rows or
those of one board and profile.  A weight is used once a step by forward and once by update, hence one number each.
"""

from __future__ import annotations

import argparse
import tempfile

from ska_edge import Network, lower
from ska_edge.data import load_dataset
from ska_edge.simulation import simulate
from ska_edge.verify import stream_of

CLOCK_HZ = 8_000_000
ROWS = (
    ("qemu_m4", (784, 256, 128, 64, 10), "w8d8"),
    ("qemu_m4", (784, 256, 128, 64, 10), "w16d15"),
    ("rpi_pico", (784, 128, 10), "w8d8"),
    ("rpi_pico", (784, 64, 10), "w16d15"),
)


def main() -> None:
    summary, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--board", help="only this board")
    parser.add_argument("--profile", help="only this profile")
    parser.add_argument("--samples", type=int, default=4, help="samples learnt (default 4)")
    parser.add_argument("--keep", metavar="FOLDER", help="build here, and keep the image")
    options = parser.parse_args()
    mnist = load_dataset("mnist")
    for board, widths, profile in ROWS:
        if options.board not in (None, board) or options.profile not in (None, profile):
            continue
        program = lower(Network(widths), profile, mnist.samples[:200])
        stream = stream_of(program, mnist)
        with tempfile.TemporaryDirectory() as folder:
            done = simulate(
                program,
                board,
                stream["x"],
                stream["label"],
                options.keep or folder,
                learnt=options.samples,
                predicted=0,
                clock_hz=CLOCK_HZ,
            )
        uses = options.samples * sum(here * there for here, there in zip(widths, widths[1:], strict=False))
        phases = {name: share.cycles.nominal / uses for name, share in done.learning.phases().items()}
        shares = ", ".join(f"{name} {cycles:.2f}" for name, cycles in phases.items())
        whole = done.per_sample.nominal * options.samples / uses
        print(f"{board} {'-'.join(map(str, widths))} {profile}: {shares}, whole {whole:.2f}; equal {done.equal}")


if __name__ == "__main__":
    main()
