"""The firmware itself, built for a board and run in an emulator: an executor at the end of the device protocol.

The image is the one a chip would get, with one addition: operations can be run one by one (`SKA_STEPPED`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...arena import ArenaExecutor
from ...emulator import Emulation
from ...executor import row_count
from ...fixed import IntArray, pack, unpack
from ...program import Program


class EmulatedExecutor(ArenaExecutor):
    """A Program as firmware in an emulator, which ends with the `with` block, at the latest with Python."""

    def __init__(self, program: Program, compiler: str | None = None, optimise: str | None = None) -> None:
        super().__init__(program)
        self.emulation = Emulation(program, self.name, True, compiler, optimise)
        self.device = self.emulation.device

    def peek(self, start: int, count: int) -> bytes:
        """Bytes of the arena."""
        return self.device.peek(start, count)

    def poke(self, start: int, data: bytes) -> None:
        """Overwrite bytes of the arena."""
        self.device.poke(start, data)

    def run_operations(self, section: int, first: int, last: int) -> None:
        """Run operations first to last - 1 of a section."""
        self.device.run(section, first, last)

    def stream(
        self, section: str, inputs: Mapping[str, IntArray], collect: Sequence[str] = (), last: int | None = None
    ) -> dict[str, IntArray]:
        """As everywhere; one request a row where inputs and outputs lie close together, as they do in every plan."""
        ops = self.program.sections[section][:last]
        written = {name for op in ops for name in op.outputs().values()}
        there, back = self._span(inputs), self._span(collect)
        between = {
            name
            for name, start in self.plan.fixed.items()
            if start < there[1] and there[0] < start + self.program.by_name[name].byte_count
        }
        room = self.device.known.data_bytes
        near = there[1] - there[0] + 15 <= room and back[1] - back[0] <= room
        if not near or not between <= written | set(inputs) or not set(collect) <= set(self.plan.fixed):
            return super().stream(section, inputs, collect, last)
        self._last_section = section
        number, tensors = list(self.program.sections).index(section), self.program.by_name
        rows = row_count(inputs)
        collected = {name: np.zeros((rows, *tensors[name].shape), np.int64) for name in collect}
        image = bytearray(there[1] - there[0])
        for row in range(rows):
            for name, values in inputs.items():
                start = self.plan.fixed[name] - there[0]
                data = pack(self.check_write(name, values[row]), tensors[name].format)
                image[start : start + len(data)] = data
            answer = self.device.run(
                number, 0, len(ops), peek=(back[0], back[1] - back[0]), poke=(there[0], bytes(image))
            )
            for name, target in collected.items():
                start, declared = self.plan.fixed[name] - back[0], tensors[name]
                target[row] = unpack(answer[start : start + declared.byte_count], declared.shape, declared.format)
        return collected

    def _span(self, names: Mapping[str, IntArray] | Sequence[str]) -> tuple[int, int]:
        """First byte and end of the smallest piece of the arena that holds all these tensors."""
        places = [
            (self.plan.fixed[name], self.program.by_name[name].byte_count) for name in names if name in self.plan.fixed
        ]
        return (min(at for at, _ in places), max(at + size for at, size in places)) if places else (0, 0)

    def close(self) -> None:
        """End the emulator.  May be called twice."""
        self.emulation.close()

    def __enter__(self) -> EmulatedExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class QemuM0(EmulatedExecutor):
    """`qemu-m0`."""

    name = "qemu-m0"


class QemuM3(EmulatedExecutor):
    """`qemu-m3`."""

    name = "qemu-m3"


class QemuM4(EmulatedExecutor):
    """`qemu-m4`."""

    name = "qemu-m4"


class QemuM7(EmulatedExecutor):
    """`qemu-m7`."""

    name = "qemu-m7"


class QemuM33(EmulatedExecutor):
    """`qemu-m33`."""

    name = "qemu-m33"


class QemuRv32(EmulatedExecutor):
    """`qemu-rv32`."""

    name = "qemu-rv32"


class SimavrAtmega328p(EmulatedExecutor):
    """`simavr-atmega328p`: 2 KB of RAM."""

    name = "simavr-atmega328p"
