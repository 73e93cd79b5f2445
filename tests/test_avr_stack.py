"""The AVR's stack bound: against simavr, against avr-objdump, and where there is none."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from firmware_tools import digits_model, digits_stream, needed

import firmware_sim
from firmware_sim.avr_code import decode_avr
from firmware_sim.image import Image
from firmware_sim.stack import StackBound, stack_bound
from ska_edge.simulation import simulate

MCUS = {"arduino_uno": "atmega328p", "arduino_mega": "atmega2560"}
NAMES = {"lsl": "add", "rol": "adc", "clr": "eor", "tst": "and", "ser": "ldi", "brlo": "brcs", "brsh": "brcc"}
NAMES |= {"sbr": "ori", "cbr": "andi", "ld": "ldd", "st": "std", **dict.fromkeys(("muls", "mulsu", "fmul"), "mul")}

SOURCE = """
#include <alloca.h>
#include <avr/interrupt.h>
#include <avr/sleep.h>
#include <stdint.h>
#define ALONE __attribute__((noinline))
volatile uint8_t seen, taken = 3;
ALONE uint8_t leaf(uint8_t a) { seen = a; return a; }
ALONE uint8_t framed(uint8_t a)
{
    volatile uint8_t kept[SIZE];
    uint16_t n;
    for (n = 0; n < SIZE; n++) kept[n] = a;
    return (uint8_t)(kept[a] + leaf(kept[3]));
}
ALONE uint64_t full(uint64_t a, uint64_t b, uint32_t c, uint32_t d)
{
    volatile uint8_t kept[9];
    kept[c & 7] = framed((uint8_t)a);
    return a * b + c * (d + kept[2]) + leaf((uint8_t)d);
}
BEFORE
int main(void)
{
    seen = (uint8_t)full(taken, seen, 7, taken);
    BODY
    return 0;
}
"""


def compiled(folder: Path, board: str, body: str = "", before: str = "", *flags: str, size: int = 300) -> Path:
    if shutil.which("avr-gcc") is None:
        pytest.skip("avr-gcc is not installed (Debian: gcc-avr, avr-libc)")
    source, elf = folder / "code.c", folder / "code.elf"
    source.write_text(SOURCE.replace("BODY", body).replace("BEFORE", before))
    options = [f"-mmcu={MCUS[board]}", f"-DSIZE={size}", "-gdwarf-2", "-w", *(flags or ("-Os",))]
    subprocess.run(["avr-gcc", *options, str(source), "-o", str(elf)], check=True)
    return elf


def bound_of(elf: Path) -> StackBound:
    return stack_bound(Image(elf))


def seen_by_simavr(elf: Path, board: str) -> int:
    if not Path("/usr/include/simavr/sim_avr.h").exists():
        pytest.skip("libsimavr-dev is not installed")
    return firmware_sim.run(elf, board, cycles=10_000_000).stack_bytes


@pytest.mark.parametrize("board", MCUS)
@pytest.mark.parametrize("flags", ["-O0", "-O1", "-O2", "-Os", "-O1 -mcall-prologues", "-Os -mcall-prologues -mrelax"])
@pytest.mark.parametrize("size", [5, 40, 300])
def test_what_is_called_is_counted_to_the_byte(board: str, flags: str, size: int, tmp_path: Path) -> None:
    """Every call of this program is made, so that what simavr sees is the deepest there is."""
    elf = compiled(tmp_path, board, "", "", *flags.split(), size=size)
    bound = bound_of(elf)
    assert bound.bytes == seen_by_simavr(elf, board), bound.words
    assert bound.path[:2] == ("__vectors", "main")
    assert "prologue" not in flags or b"__prologue_saves__" in elf.read_bytes()


@pytest.mark.parametrize("board", MCUS)
def test_interrupts_add_where_they_are_let_in(board: str, tmp_path: Path) -> None:
    handler = "ISR(TIMER0_OVF_vect) { uint8_t n = leaf(taken); taken = n; }"
    plain = bound_of(compiled(tmp_path, board))
    off = bound_of(compiled(tmp_path, board, "", handler))
    on = bound_of(compiled(tmp_path, board, "sei();", handler))
    nested = bound_of(compiled(tmp_path, board, "sei();", handler.replace("{", "{ sei();", 1)))
    assert plain.bytes and off.bytes == plain.bytes and off.words.endswith("interrupts stay off")
    assert on.bytes and on.bytes > plain.bytes + 10
    assert f"and {on.bytes - plain.bytes} bytes for one interrupt (__vector_" in on.words
    assert "leaf" in on.words.split("interrupt")[1]
    assert nested.bytes is None and "lets other interrupts in" in nested.words
    timer = "TCCR0B = 1; TIMSK0 = 1; sei(); for (n = 0; n < 500; n++) framed(3);"
    ticking = compiled(tmp_path, board, f"volatile uint16_t n; {timer}", handler, size=40)
    bound = bound_of(ticking).bytes
    assert bound is not None and seen_by_simavr(ticking, board) <= bound


WITHOUT = {
    "recursion": ("seen = deep(taken);", "ALONE uint8_t deep(uint8_t n) { return n ? deep(n - 1) + 1 : leaf(n); }"),
    "in a ring": (
        "seen = ping(taken);",
        "uint8_t ping(uint8_t); ALONE uint8_t pong(uint8_t n) { return n ? ping(n - 1) + seen : 0; }"
        "ALONE uint8_t ping(uint8_t n) { return n ? pong(n - 1) + seen : 0; }",
    ),
    "pointer": ("seen = choose(taken);", "uint8_t (*volatile choose)(uint8_t) = leaf;"),
    "alloca": (
        "seen = room(taken);",
        "ALONE uint8_t room(uint8_t n) { volatile char *p = alloca(n); p[0] = n; return framed(p[n - 1]); }",
    ),
}
SAID = {"recursion": "deep calls itself", "in a ring": "calls itself", "pointer": "by pointer", "alloca": "on the run"}


@pytest.mark.parametrize("board", MCUS)
@pytest.mark.parametrize("name", WITHOUT)
def test_what_has_no_bound_says_so(board: str, name: str, tmp_path: Path) -> None:
    bound = bound_of(compiled(tmp_path, board, *WITHOUT[name], "-Os", "-fno-optimize-sibling-calls"))
    assert bound.bytes is None
    assert SAID[name] in bound.words
    assert "main" in bound.path


@pytest.mark.parametrize("board", MCUS)
def test_pointers_that_are_known_and_switches_are_followed(board: str, tmp_path: Path) -> None:
    cases = " ".join(f"case {n}: seen = leaf({n * n + 1}); framed({n}); break;" for n in range(12))
    before = f"ALONE void many(uint8_t n) {{ switch (n) {{ {cases} case 12: full(seen, n, n, n); }} }}"
    elf = compiled(tmp_path, board, "many(taken = 12);", before)
    assert b"tablejump" in elf.read_bytes()
    assert bound_of(elf).bytes == seen_by_simavr(elf, board)
    direct = '__asm__ volatile("ldi r30, pm_lo8(framed)\\n ldi r31, pm_hi8(framed)\\n icall" ::: "r30", "r31");'
    elf = compiled(tmp_path, board, direct)
    assert bound_of(elf).bytes == seen_by_simavr(elf, board)


@pytest.mark.parametrize("board", MCUS)
def test_the_decoder_reads_what_objdump_reads(board: str, tmp_path: Path) -> None:
    if shutil.which("avr-objdump") is None:
        pytest.skip("avr-objdump is not installed (Debian: binutils-avr)")
    elf = compiled(
        tmp_path, board, "", 'ISR(TIMER0_OVF_vect) { __asm__("sleep\\n wdr\\n fmul r16, r17\\n bst r3, 4"); }'
    )
    listing = subprocess.run(["avr-objdump", "-d", "-z", str(elf)], capture_output=True, text=True, check=True).stdout
    code, lines = Image(elf).segments[0], 0
    for line in listing.splitlines():
        found = re.match(r"\s*([0-9a-f]+):\t((?:[0-9a-f]{2} )+)\s*\t(\S+)(?:.*; 0x([0-9a-f]+))?", line)
        if found is None:
            continue
        address, size, name = int(found[1], 16), len(bytes.fromhex(found[2])), found[3]
        one = decode_avr(code.data[address : address + 4], address)
        assert one is not None, line
        assert (NAMES.get(one.name, one.name), one.bytes) == (NAMES.get(name, name), size), line
        assert one.target is None or one.target == int(found[4] or "0", 16), line
        lines += 1
    assert lines > 200


def test_the_learner_stays_below_its_bound(tmp_path: Path) -> None:
    needed(lambda: compiled(tmp_path, "arduino_uno"))
    if not Path("/usr/include/simavr/sim_avr.h").exists():
        pytest.skip("libsimavr-dev is not installed")
    stream = digits_stream()
    done = simulate(digits_model(), "arduino_uno", stream["x"], stream["label"], tmp_path, 5, 2)
    bound = done.learning.stack_bound.bytes
    assert bound is not None
    assert done.learning.stack_bytes <= bound <= 1.1 * done.learning.stack_bytes
    assert done.to_json()["stack_bound_bytes"] == bound
    assert "for one interrupt (__vector_18)" in done.to_json()["stack_bound"]
