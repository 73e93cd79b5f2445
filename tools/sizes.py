"""Sizes of the default model's images, against a committed baseline: who grew, and by how much.

    python tools/sizes.py [--update] [--tolerance 2]

Builds the digits model (64-16-10, w8d8 and w16d15) for one board of every family and compares kernels, protocol, RAM
without stack and image with `tools/sizes.json`.  Exit code 1 if a figure grew by more than the tolerance, in per cent.
The same compilers give the same bytes; the baseline names them.  Cycles are not here: that is the simulator's business.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from ska_edge import Network, lower
from ska_edge.data import load_dataset
from ska_edge.errors import FitError
from ska_edge.firmware import build

BASELINE = Path(__file__).with_name("sizes.json")
BOARDS = ("arduino_uno", "rpi_pico", "qemu_m3", "nrf52840_dk", "qemu_m33", "esp32c3_devkit", "ch32v003")
PROFILES = ("w8d8", "w16d15")


def measure() -> dict[str, dict[str, int | str]]:
    """By board and profile: bytes by part, and the compiler."""
    digits = load_dataset("digits")
    found: dict[str, dict[str, int | str]] = {}
    for profile in PROFILES:
        program = lower(Network((64, 16, 10)), profile, digits.samples, digits.labels, digits.encoding())
        for board in BOARDS:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    image = build(program, board, folder)
                except FitError:
                    continue
            found[f"{board} {profile}"] = {
                "compiler": image.compiler,
                "kernels": image.flash_bytes["kernels"],
                "protocol": image.flash_bytes["protocol"],
                "image": sum(image.flash_bytes.values()),
                "ram": sum(size for part, size in image.ram_bytes.items() if part != "left for the stack"),
            }
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--update", action="store_true", help="write the baseline anew")
    parser.add_argument("--tolerance", type=float, default=2.0, help="per cent a figure may grow (default 2)")
    options = parser.parse_args()
    now = measure()
    if options.update:
        BASELINE.write_text(json.dumps(now, indent=1) + "\n")
        print(f"{BASELINE}: {len(now)} images")
        return 0
    before = json.loads(BASELINE.read_text())
    grown = 0
    for name, parts in now.items():
        for part, size in parts.items():
            old = before.get(name, {}).get(part)
            if size == old:
                continue
            change = f"{100 * (size / old - 1):+.1f} %" if isinstance(size, int) and isinstance(old, int) else ""
            too_much = isinstance(size, int) and isinstance(old, int) and size > old * (1 + options.tolerance / 100)
            grown += too_much
            print(f"{'GREW  ' if too_much else 'changed'} {name}, {part}: {old} -> {size} {change}")
    print(f"{len(now)} images, {grown} figures beyond {options.tolerance:g} %")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
