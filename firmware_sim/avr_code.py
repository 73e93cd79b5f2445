"""AVR instructions as far as the stack's bound needs them: lengths, ways on, and what happens to registers.

Capstone's AVR is incomplete; the formats are few and fixed (AVR Instruction Set Manual, DS40002198).
"""

from __future__ import annotations

from dataclasses import dataclass

POINTERS = {"X": 26, "Y": 28, "Z": 30}
BRANCHES = ("brcs", "breq", "brmi", "brvs", "brlt", "brhs", "brts", "brie")
NOT_TAKEN = ("brcc", "brne", "brpl", "brvc", "brge", "brhc", "brtc", "brid")
SKIPS = ("cpse", "sbrc", "sbrs", "sbic", "sbis")

_ALONE = {
    0x0000: "nop",
    0x9409: "ijmp",
    0x9419: "eijmp",
    0x9508: "ret",
    0x9509: "icall",
    0x9518: "reti",
    0x9519: "eicall",
    0x9588: "sleep",
    0x9598: "break",
    0x95A8: "wdr",
    0x95E8: "spm",
    0x95F8: "spm",
}
_PAIRS = {1: "cpc", 2: "sbc", 3: "add", 4: "cpse", 5: "cp", 6: "sub", 7: "adc", 8: "and", 9: "eor", 10: "or", 11: "mov"}
_SINGLE = {0: "com", 1: "neg", 2: "swap", 3: "inc", 5: "asr", 6: "lsr", 7: "ror", 10: "dec"}
_LOADS = {
    **{1: ("ld", "Z", 1), 2: ("ld", "Z", -1), 4: ("lpm", "Z", 0), 5: ("lpm", "Z", 1), 6: ("elpm", "Z", 0)},
    **{7: ("elpm", "Z", 1), 9: ("ld", "Y", 1), 10: ("ld", "Y", -1), 12: ("ld", "X", 0), 13: ("ld", "X", 1)},
    14: ("ld", "X", -1),
}
_STORES = {
    **{1: ("st", "Z", 1), 2: ("st", "Z", -1), 4: ("xch", "Z", 0), 5: ("las", "Z", 0), 6: ("lac", "Z", 0)},
    **{7: ("lat", "Z", 0), 9: ("st", "Y", 1), 10: ("st", "Y", -1), 12: ("st", "X", 0), 13: ("st", "X", 1)},
    14: ("st", "X", -1),
}


@dataclass(frozen=True)
class AvrInstruction:
    """One instruction: its name, its first and second register, its constant or I/O address, and where it jumps.

    `pointer` and `step`: the pointer pair a load or store moves, by how much.  `writes`: registers that change.
    """

    address: int
    name: str
    bytes: int = 2
    first: int = 0
    second: int = 0
    constant: int = 0
    target: int | None = None
    pointer: int = 0
    step: int = 0
    writes: tuple[int, ...] = ()

    @property
    def next_address(self) -> int:
        """Where it goes on when it goes nowhere else."""
        return self.address + self.bytes

    @property
    def text(self) -> str:
        """In words for messages."""
        return self.name if self.target is None else f"{self.name} {self.target:#x}"


def decode_avr(data: bytes, address: int) -> AvrInstruction | None:
    """The instruction at the start of `data`; None where its bytes are none."""
    if len(data) < 2:
        return None
    code = int.from_bytes(data[:2], "little")
    if code in _ALONE:
        return AvrInstruction(address, _ALONE[code])
    top, first = code >> 12, code >> 4 & 31
    second = (code >> 5 & 16) | (code & 15)
    high, constant = 16 + (code >> 4 & 15), (code >> 4 & 0xF0) | (code & 15)
    if code >> 8 == 1:
        pair = 2 * (code >> 4 & 15)
        return AvrInstruction(address, "movw", first=pair, second=2 * (code & 15), writes=(pair, pair + 1))
    if code >> 8 in (2, 3) or code >> 10 == 0x27:
        return AvrInstruction(address, "mul", writes=(0, 1))
    if top <= 2:
        if code >> 10 == 0:
            return None
        name = _PAIRS[code >> 10]
        writes = () if name in ("cpc", "cp", "cpse") else (first,)
        return AvrInstruction(address, name, first=first, second=second, writes=writes)
    if 3 <= top <= 7 or top == 14:
        name = {3: "cpi", 4: "sbci", 5: "subi", 6: "ori", 7: "andi", 14: "ldi"}[top]
        return AvrInstruction(address, name, first=high, constant=constant, writes=() if name == "cpi" else (high,))
    if code & 0xD000 == 0x8000:
        store = bool(code & 0x200)
        return AvrInstruction(address, "std" if store else "ldd", first=first, writes=() if store else (first,))
    if top == 11:
        place = (code >> 5 & 0x30) | (code & 15)
        name = "out" if code & 0x800 else "in"
        return AvrInstruction(address, name, first=first, constant=place, writes=() if name == "out" else (first,))
    if top in (12, 13):
        offset = 2 * ((code & 0xFFF) - (0x1000 if code & 0x800 else 0))
        return AvrInstruction(address, "rjmp" if top == 12 else "rcall", target=address + 2 + offset)
    if top == 15:
        return _bits(code, address, first)
    return _nine(code, address, first, data)


def _bits(code: int, address: int, first: int) -> AvrInstruction | None:
    if code < 0xF800:
        offset = 2 * ((code >> 3 & 127) - (128 if code & 0x200 else 0))
        names = NOT_TAKEN if code & 0x400 else BRANCHES
        return AvrInstruction(address, names[code & 7], target=address + 2 + offset)
    if code & 8:
        return None
    name = ("bld", "bst", "sbrc", "sbrs")[code >> 9 & 3]
    return AvrInstruction(address, name, first=first, writes=(first,) if name == "bld" else ())


def _nine(code: int, address: int, first: int, data: bytes) -> AvrInstruction | None:
    """What begins with 1001: loads, stores, single registers, jumps, words."""
    kind, low = code >> 8 & 15, code & 15
    if kind >= 8:
        return AvrInstruction(address, ("cbi", "sbic", "sbi", "sbis")[kind - 8])
    if kind in (6, 7):
        pair = 24 + 2 * (code >> 4 & 3)
        amount = (code >> 2 & 0x30) | low
        return AvrInstruction(
            address, "adiw" if kind == 6 else "sbiw", first=pair, constant=amount, writes=(pair, pair + 1)
        )
    far = int.from_bytes(data[2:4], "little") if len(data) >= 4 else None
    if kind < 4:
        store = kind >= 2
        if low == 15:
            return AvrInstruction(address, "push" if store else "pop", first=first, writes=() if store else (first,))
        if low == 0:
            if far is None:
                return None
            name, writes = ("sts", ()) if store else ("lds", (first,))
            return AvrInstruction(address, name, 4, first, constant=far, writes=writes)
        found = (_STORES if store else _LOADS).get(low)
        if found is None:
            return None
        name, pointer, step = found
        return AvrInstruction(
            *(address, name),
            first=first,
            pointer=POINTERS[pointer],
            step=step,
            writes=() if name == "st" else (first,),
        )
    if low >= 12:
        if far is None:
            return None
        words = (code >> 4 & 31) << 17 | (code & 1) << 16 | far
        return AvrInstruction(address, "call" if code & 2 else "jmp", 4, target=2 * words)
    if low in _SINGLE:
        return AvrInstruction(address, _SINGLE[low], first=first, writes=(first,))
    if low == 8 and kind == 4:
        bit = code >> 4 & 7
        name = ("cl" if code & 0x80 else "se") + "cznvshti"[bit]
        return AvrInstruction(address, name)
    if code in (0x95C8, 0x95D8):
        return AvrInstruction(address, "lpm" if code == 0x95C8 else "elpm", writes=(0,))
    return AvrInstruction(address, "des", writes=tuple(range(16))) if low == 11 and kind == 4 else None
