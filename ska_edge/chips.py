"""What our ports know of a chip beside its serial line: its file, its clock, and what its boot ROM wants to find.

Register addresses stand in the C files of `csrc/ports`; here stands what the build has to do about them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from firmware_sim.catalogue import Board, Serial

from . import elf
from .errors import SkaError

BOOT2_BYTES = 256
IMAGE_DEFINITION = (0xFFFFDED3, 0x10210142, 0x000001FF, 0x00000000, 0xAB123579)
IMAGE_DEFINITION_WITHIN = 4096
_CRC_POLYNOMIAL = 0x04C11DB7
_ESP_MAGIC, _ESP_CHECK, _ESP_ROW = 0xE9, 0xEF, 16
_ESP_HEADER_BYTES, _ESP_SEGMENT_BYTES = 24, 8


class ChipError(SkaError):
    """A chip has no set-up here, or an image is not what the chip's boot ROM takes."""


@dataclass(frozen=True)
class Chip:
    """A chip, or a family of them, by the beginning of its name.

    `files`: in `csrc/ports`.  `clock_hz`: what the port runs the core at, None where it leaves that to the boot ROM;
    `clock` says so in words.  `boot2`: the source of a second stage.  `fetch_offset`: from where data lie to where the
    same memory is fetched from.  `esp`: Espressif's number of the chip, whose images have a format of their own.
    `baud`: the one speed there is.  `ran`: the emulator that has run the port on this very chip.
    """

    name: str
    files: tuple[str, ...] = ()
    clock_hz: int | None = None
    clock: str = ""
    boot2: str = ""
    fetch_offset: int = 0
    esp: int | None = None
    baud: int | None = None
    ran: str = ""

    def defines(self, serial: Serial) -> tuple[str, ...]:
        """What tells the C files which chip it is, and which pins the line has."""
        pins = {name: pin_number(pin) for name, pin in (("TX", serial.tx), ("RX", serial.rx))}
        told = (f"-DSKA_UART_{name}={pin}U" for name, pin in pins.items() if pin is not None)
        return (f"-DSKA_CHIP_{self.name.replace('-', '')}", *told) if self.name else ()

    def speed(self, wanted: int | None, serial: Serial) -> int:
        """Of the line, in baud.  Raises ChipError where the port has another and only that."""
        if self.baud is not None and wanted not in (None, self.baud):
            raise ChipError(f"{self.name}: {wanted} baud; the line stays at the boot ROM's {self.baud}")
        return self.baud or wanted or serial.baud or 115_200

    def binary(self, path: Path, image: elf.Elf) -> bytes:
        """An image as a flash tool or a boot ROM takes it."""
        start, data = image.binary()
        if self.esp is None:
            return data
        text = next(section for section in image.sections if section.name == ".text")
        entry = int.from_bytes(path.read_bytes()[24:28], "little")
        return esp_image(
            self.esp, entry, ((text.address, data[: text.bytes]), (start + text.bytes, data[text.bytes :]))
        )


_RP2040 = Chip(
    "RP2040", ("rp2xxx.c",), 125_000_000, "PLL from the 12 MHz crystal", boot2="rp2040_boot2.S", ran="rp2040js"
)
_RP2350 = Chip("RP2350", ("rp2xxx.c", "rp2350_image.c"), 150_000_000, "PLL from the 12 MHz crystal")
_ESP32C3 = Chip(
    "ESP32-C3", (), None, "as the boot ROM leaves it", fetch_offset=0x40380000 - 0x3FC80000, esp=5, baud=115_200
)
_STM32 = tuple(
    Chip(name, ("stm32.c",), hz, f"{oscillator}, internal")
    for name, hz, oscillator in (
        ("STM32F1", 8_000_000, "HSI"),
        ("STM32F4", 16_000_000, "HSI"),
        ("STM32L4", 16_000_000, "HSI16"),
        ("STM32G0", 16_000_000, "HSI16"),
        ("STM32H7", 64_000_000, "HSI"),
        ("GD32VF103", 8_000_000, "IRC8M"),
        ("CH32V003", 24_000_000, "HSI"),
    )
)
CHIPS = (_RP2040, _RP2350, _ESP32C3, *_STM32)
NEEDS_CHIP = ("pl011", "stm32-usart-v1", "stm32-usart-v2", "stm32-usart-v3", "esp-uart")
_PIN = re.compile(r"P([A-Z])(\d+)|GPIO(\d+)")


def chip_of(board: Board, serial: Serial) -> Chip:
    """The set-up of a board's chip: none where the line's port needs none.  Raises ChipError where it is not here."""
    found = next((chip for chip in CHIPS if board.mcu.startswith(chip.name)), None)
    if serial.driver not in NEEDS_CHIP:
        return Chip("", clock_hz=board.clock.hz, clock="the board's")
    if found is None:
        raise ChipError(
            f"{board.name}: clocks and pins of {board.mcu} are not known here; known are "
            f"{', '.join(chip.name for chip in CHIPS)}"
        )
    return found


def pin_number(pin: str) -> int | None:
    """A pin's number among all of the chip's: GPIO20 is 20, and with ports of 16 PA9 is 9, PB0 16; None for others.

    >>> pin_number("GPIO20"), pin_number("PD8"), pin_number("")
    (20, 56, None)
    """
    found = _PIN.fullmatch(pin)
    if not found:
        return None
    return int(found[3]) if found[3] else 16 * (ord(found[1]) - ord("A")) + int(found[2])


def crc32(data: bytes) -> int:
    """The RP2040 boot ROM's checksum of a second stage (RP2040 datasheet, 2.8.1.3.1): most significant bit first.

    >>> hex(crc32(b"123456789"))
    '0x376e6e7'
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ _CRC_POLYNOMIAL if crc >> 31 else crc << 1) & 0xFFFFFFFF
    return crc


def sealed_boot2(code: bytes) -> bytes:
    """A second stage as the boot ROM takes it: padded, its checksum at the end.  Raises ChipError if it is too long."""
    room = BOOT2_BYTES - 4
    if len(code) > room:
        raise ChipError(f"second stage: {len(code)} bytes; the boot ROM takes {room}")
    padded = code.ljust(room, b"\0")
    return padded + crc32(padded).to_bytes(4, "little")


def check_boot2(boot2: bytes) -> None:
    """Raises ChipError where the boot ROM would not start a second stage."""
    if len(boot2) != BOOT2_BYTES:
        raise ChipError(f"second stage: {len(boot2)} bytes; expected {BOOT2_BYTES}")
    found, expected = int.from_bytes(boot2[-4:], "little"), crc32(boot2[:-4])
    if found != expected:
        raise ChipError(f"second stage: checksum {found:#010x}; its bytes have {expected:#010x}")


def boot2_source(boot2: bytes) -> str:
    """A sealed second stage as assembly."""
    check_boot2(boot2)
    rows = [", ".join(f"0x{byte:02x}" for byte in boot2[at : at + 16]) for at in range(0, BOOT2_BYTES, 16)]
    data = "\n".join(f"    .byte {row}" for row in rows)
    symbol = ".globl ska_boot2\n.type ska_boot2, %object\n.size ska_boot2, 256\nska_boot2:"
    return f'/* Generated by ska_edge. */\n    .section .boot2, "a"\n{symbol}\n{data}\n'


def section_bytes(elf: Path, name: str) -> bytes:
    """The bytes of a section of an ELF file."""
    from elftools.elf.elffile import ELFFile

    with elf.open("rb") as file:
        section = ELFFile(file).get_section_by_name(name)
        if section is None:
            raise ChipError(f"{elf}: no section {name}")
        return bytes(section.data())


def esp_image(chip: int, entry: int, segments: tuple[tuple[int, bytes], ...]) -> bytes:
    """An image for the boot ROM of an ESP chip (esptool documentation, Firmware Image Format): all of it goes to RAM.

    Flash mode DIO at 40 MHz, 4 MB; any revision of the chip; no digest behind it, which the ROM does not ask for.
    """
    image = bytearray([_ESP_MAGIC, len(segments), 2, 0x20, *entry.to_bytes(4, "little")])
    image += bytes([0xEE, 0, 0, 0, *chip.to_bytes(2, "little"), 0, 0, 0, 0xFF, 0xFF, 0, 0, 0, 0, 0])
    check = _ESP_CHECK
    for address, data in segments:
        padded = data + bytes(-len(data) % 4)
        image += address.to_bytes(4, "little") + len(padded).to_bytes(4, "little") + padded
        for byte in padded:
            check ^= byte
    image += bytes(_ESP_ROW - 1 - len(image) % _ESP_ROW)
    image.append(check)
    return bytes(image)


def read_esp_image(image: bytes) -> tuple[int, int, tuple[tuple[int, bytes], ...]]:
    """Chip, entry and segments of such an image.  Raises ChipError where the boot ROM would refuse it."""
    if len(image) < _ESP_HEADER_BYTES or image[0] != _ESP_MAGIC:
        raise ChipError("no ESP image: it does not begin with 0xE9")
    at, segments, check = _ESP_HEADER_BYTES, [], _ESP_CHECK
    for _ in range(image[1]):
        address, size = int.from_bytes(image[at : at + 4], "little"), int.from_bytes(image[at + 4 : at + 8], "little")
        at += _ESP_SEGMENT_BYTES
        if at + size >= len(image):
            raise ChipError(f"ESP image: a segment of {size} bytes; the file ends before it does")
        segments.append((address, image[at : at + size]))
        for byte in segments[-1][1]:
            check ^= byte
        at += size
    last = at + _ESP_ROW - 1 - at % _ESP_ROW
    if last != len(image) - 1 or image[last] != check:
        raise ChipError(f"ESP image: checksum {image[-1]:#04x}; its bytes have {check:#04x}")
    return int.from_bytes(image[12:14], "little"), int.from_bytes(image[4:8], "little"), tuple(segments)
