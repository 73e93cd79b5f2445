"""Print the table of docs/ports.md: build the default digits model for every board that has a port for a real chip."""

from __future__ import annotations

import tempfile

from firmware_sim.catalogue import board_names, load_board
from ska_edge import Network, lower
from ska_edge.data import load_dataset
from ska_edge.firmware import build, chip, line

RAN = {
    "arduino_mega": "simavr",
    "arduino_uno": "simavr",
    "microbit_v1": "QEMU, the same board",
    "rpi_pico": "rp2040js",
    "qemu_stm32f100": "QEMU",
    "qemu_stm32f405": "QEMU",
}


def main() -> None:
    """One row a board."""
    program = lower(Network((64, 16, 10)), "w8d8", load_dataset("digits").samples[:200])
    print("| board | driver | MHz | ran in | compiler | stored | kernels | RAM without stack |")
    print("|---|---|---|---|---|---|---|---|")
    for name in board_names():
        board = load_board(name)
        if not board.silicon and "stm32" not in name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            image = build(program, board, folder)
        clock = chip(board).clock_hz
        mega = "the boot ROM's" if clock is None else f"{clock / 1e6:g}"
        ram = sum(size for part, size in image.ram_bytes.items() if part != "left for the stack")
        stored = sum(image.flash_bytes.values())
        print(
            f"| `{name}` | {line(board)[0].driver} | {mega} | {RAN.get(name, 'nowhere')} | "
            f"{image.compiler.split()[0]} {level(image.flags)} | "
            f"{stored:,} | {image.flash_bytes['kernels']:,} | {ram:,} |"
        )


def level(flags: tuple[str, ...]) -> str:
    """The level of optimisation among a build's flags."""
    return next(flag for flag in flags if flag.startswith("-O"))


if __name__ == "__main__":
    main()
