"""The deepest an AVR's stack can get: every way through the code, with what registers know of the stack pointer.

Ways are followed by address, not by function: helpers of libgcc run into one another, prologues and tails are shared
by jumps, and a jump never returns where a call does.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .avr_code import BRANCHES, NOT_TAKEN, SKIPS, AvrInstruction, decode_avr
from .image import Image

LOW_POINTER, HIGH_POINTER, STATUS = 0x3D, 0x3E, 0x3F
LONG_RETURNS = (6, 106, 107)
"""Architectures (ELF flags, EF_AVR_MACH) whose program counter takes three bytes on the stack."""
INTERRUPTS_ON = 0x80
MOST_DEPTHS = 24
Z = 30
JUMP_TABLES = ("__tablejump2__", "__tablejump__")

Value = tuple[str, int] | None
"""What a register holds.  `byte`: that number.  `low`, `high`: that half of the stack pointer at the routine's entry
less so many bytes (of `low` modulo 256).  `index`: anything less that number.  `status`: the flags as they were.
"""
ZERO: Value = ("byte", 0)


@dataclass(frozen=True)
class _State:
    """What is known before an instruction.  `saved`: what lies on the stack, so its length is the depth.

    `carry`: bytes that the last instruction took from a low half, whose borrow the next one takes.
    `halves`: what was written to one half of the pointer while the other is still to come.
    """

    registers: tuple[Value, ...]
    saved: tuple[Value, ...] = ()
    carry: Value = None
    halves: tuple[Value, Value] = (None, None)

    def joined(self, other: _State) -> _State:
        """What both know; of states with the same depth and halves."""
        return _State(
            _common(self.registers, other.registers),
            _common(self.saved, other.saved),
            self.carry if self.carry == other.carry else None,
            self.halves,
        )

    def holding(self, values: dict[int, Value], carry: Value = None) -> _State:
        """With other registers."""
        registers = list(self.registers)
        for number, value in values.items():
            registers[number] = value
        return replace(self, registers=tuple(registers), carry=carry)


def _common(one: tuple[Value, ...], other: tuple[Value, ...]) -> tuple[Value, ...]:
    return tuple(a if a == b else None for a, b in zip(one, other, strict=True))


class _UnboundedError(Exception):
    """Why there is no bound, and the calls that lead there."""

    def __init__(self, words: str, path: tuple[str, ...] = ()) -> None:
        super().__init__(words)
        self.words, self.path = words, path


@dataclass
class _Routine:
    """What starts at one address: its deepest with all it calls, the path there, and whether it comes back."""

    name: str
    deepest: int = 0
    path: tuple[str, ...] = ()
    returns: bool = False
    interruptible: bool = False
    states: dict[tuple[int, int, tuple[Value, Value]], _State] = field(default_factory=dict)
    depths: dict[int, set[int]] = field(default_factory=dict)


def avr_bound(image: Image) -> tuple[int | None, str, tuple[str, ...]]:
    """Bytes from the stack's top, words and path, as `stack.StackBound` has them."""
    return _Walk(image).bound()


class _Walk:
    def __init__(self, image: Image) -> None:
        self.image = image
        self.return_bytes = 3 if image.flags & 0x7F in LONG_RETURNS else 2
        self.code = {segment.load: segment.data for segment in image.segments if segment.address < 0x800000}
        self.routines: dict[int, _Routine] = {}
        self.active: list[int] = []
        self.tables = [image.by_name[name].address for name in JUMP_TABLES if name in image.by_name]

    def bound(self) -> tuple[int | None, str, tuple[str, ...]]:
        try:
            main = self.routine(self.image.entry)
            words, more = " > ".join(main.path), 0
            handlers = self.handlers()
            if handlers and not main.interruptible:
                words += "; interrupts stay off"
            elif handlers:
                worst = max(map(self.handler, handlers), key=lambda each: each.deepest)
                more = self.return_bytes + worst.deepest
                words += f"; and {more} bytes for one interrupt ({' > '.join(worst.path)})"
        except _UnboundedError as problem:
            return None, problem.words, problem.path
        return main.deepest + more, words, main.path

    def handlers(self) -> list[int]:
        """Interrupts the image answers: what the vectors behind the first lead to, but for those that start over."""
        first = self.at(self.image.entry)
        behind = self.at(first.next_address)
        slot = 4 if "nop" in (first.name, behind.name) else first.bytes  # a relaxed JMP leaves a NOP behind
        found, address = [], self.image.entry + slot
        while (one := self.decoded(address)) is not None and one.name in ("jmp", "rjmp") and one.target is not None:
            begins = self.decoded(one.target)
            over = begins is not None and begins.name in ("jmp", "rjmp") and begins.target == self.image.entry
            if not over:
                found.append(one.target)
            address += slot
        return found

    def handler(self, address: int) -> _Routine:
        """An interrupt's routine.  It runs with all others off, unless it lets them in."""
        found = self.routine(address)
        if found.interruptible:
            raise _UnboundedError(f"{found.name}: it lets other interrupts in while it runs", (found.name,))
        return found

    # --- instructions -------------------------------------------------------------------------------------------

    def decoded(self, address: int) -> AvrInstruction | None:
        for start, data in self.code.items():
            if start <= address < start + len(data):
                return decode_avr(data[address - start : address - start + 4], address)
        return None

    def at(self, address: int) -> AvrInstruction:
        one = self.decoded(address)
        if one is None:
            raise _UnboundedError(f"it runs into {address:#x}, where no instruction is")
        return one

    # --- one routine --------------------------------------------------------------------------------------------

    def routine(self, address: int) -> _Routine:
        """What a call of an address does; walked once."""
        symbol = self.image.function_at(address)
        name = symbol.name if symbol is not None else hex(address)
        if address in self.active:
            raise _UnboundedError(f"{name} calls itself", (name,))
        if address not in self.routines:
            self.active.append(address)
            found = _Routine(name, path=(name,))
            registers: list[Value] = [None] * 32
            registers[1] = ZERO  # avr-gcc's ABI: r1 is zero between functions
            self._walk(found, address, _State(tuple(registers)))
            self.active.pop()
            found.states.clear()
            self.routines[address] = found
        return self.routines[address]

    def _walk(self, routine: _Routine, address: int, start: _State) -> None:
        waiting = [(address, start)]
        while waiting:
            at, state = waiting.pop()
            key = (at, len(state.saved), state.halves)
            known = routine.states.get(key)
            if known is not None:
                joined = known.joined(state)
                if joined == known:
                    continue
                state = joined
            depths = routine.depths.setdefault(at, set())
            depths.add(len(state.saved))
            try:
                if len(depths) > MOST_DEPTHS:
                    raise _UnboundedError(f"its frame depends on the run (a loop at {at:#x})")
                routine.states[key] = state
                waiting += self._step(routine, self.at(at), state)
            except _UnboundedError as problem:
                words = problem.words if problem.path else f"{routine.name}: {problem.words}"
                raise _UnboundedError(words, (routine.name, *problem.path)) from None

    def _step(self, routine: _Routine, one: AvrInstruction, state: _State) -> list[tuple[int, _State]]:
        """Where an instruction leads, and what is known there."""
        name = one.name
        if state.halves != (None, None) and name in ("push", "pop", "ret", "reti", "call", "rcall", "icall", "eicall"):
            raise _UnboundedError(f"{one.text} at {one.address:#x} while half of the stack pointer is written")
        if name in ("ret", "reti"):
            if state.saved:
                raise _UnboundedError(f"it returns with {len(state.saved)} bytes on the stack, to a computed place")
            routine.returns = True
            return []
        if name == "rcall" and one.target == one.next_address:  # the shortest way to make room
            return [(one.next_address, self._pushed(routine, state, (None,) * self.return_bytes))]
        if name in ("call", "rcall", "icall", "eicall"):
            target = one.target if one.target is not None else self._pointed(state)
            if target is None:
                raise _UnboundedError(f"it calls by pointer ({name} at {one.address:#x})")
            return self._call(routine, one, state, target)
        if name in ("jmp", "rjmp") and one.target in self.tables:
            return [(target, state) for target in self._listed(one, state)]
        if name in ("jmp", "rjmp"):
            assert one.target is not None
            starts_over = one.target == self.image.entry and one.address != one.target
            return [] if starts_over else [(one.target, state)]
        if name in ("ijmp", "eijmp"):
            target = self._pointed(state)
            if target is None:
                raise _UnboundedError(f"it jumps by pointer ({name} at {one.address:#x})")
            return [(target, state)]
        after = self._after(routine, one, state)
        ways = [(one.next_address, after)]
        if name in BRANCHES or name in NOT_TAKEN:
            assert one.target is not None
            ways.append((one.target, after))
        elif name in SKIPS:
            ways.append((self.at(one.next_address).next_address, after))
        return ways

    def _call(self, routine: _Routine, one: AvrInstruction, state: _State, target: int) -> list[tuple[int, _State]]:
        callee = self.routine(target)
        depth = len(state.saved) + self.return_bytes + callee.deepest
        routine.interruptible |= callee.interruptible
        if depth > routine.deepest:
            routine.deepest, routine.path = depth, (routine.name, *callee.path)
        if not callee.returns:
            return []
        kept: dict[int, Value] = dict.fromkeys((0, *range(18, 28), 30, 31))  # avr-gcc's ABI: calls may use these
        return [(one.next_address, state.holding({**kept, 1: ZERO}))]

    def _pushed(self, routine: _Routine, state: _State, values: tuple[Value, ...]) -> _State:
        saved = state.saved + values
        if len(saved) > routine.deepest:
            routine.deepest, routine.path = len(saved), (routine.name,)
        return replace(state, saved=saved)

    # --- what an instruction does -------------------------------------------------------------------------------

    def _after(self, routine: _Routine, one: AvrInstruction, state: _State) -> _State:
        name, registers = one.name, state.registers
        if name == "push":
            return self._pushed(routine, state, (registers[one.first],))
        if name == "pop":
            if not state.saved:
                raise _UnboundedError(f"it takes more from the stack than it laid there (pop at {one.address:#x})")
            found = state.holding({one.first: state.saved[-1]}, state.carry)
            return replace(found, saved=state.saved[:-1])
        if name == "out":
            return self._written(routine, one, state)
        if name == "sei":
            routine.interruptible = True
            return replace(state, carry=None)
        if name == "in":
            return state.holding({one.first: self._read(one.constant, state)}, state.carry)
        if name == "ldi":
            return state.holding({one.first: ("byte", one.constant)}, state.carry)
        if name == "mov":
            return state.holding({one.first: registers[one.second]}, state.carry)
        if name == "movw":
            both = {one.first: registers[one.second], one.first + 1: registers[one.second + 1]}
            return state.holding(both, state.carry)
        if name == "eor" and one.first == one.second:
            return state.holding({one.first: ZERO})
        if name in ("subi", "sub", "add"):
            value, carry = _low(name, registers[one.first], _amount(one, state))
            return state.holding({one.first: value}, carry)
        if name in ("sbci", "sbc", "adc"):
            return state.holding({one.first: _high(name, registers[one.first], _amount(one, state), state.carry)})
        if name in ("adiw", "sbiw"):
            return state.holding(_moved(state, one.first, one.constant * (1 if name == "sbiw" else -1)))
        if name == "sts" and one.constant - 0x20 in (LOW_POINTER, HIGH_POINTER):
            raise _UnboundedError(f"its frame depends on the run (sts at {one.address:#x})")
        routine.interruptible |= name == "sts" and one.constant - 0x20 == STATUS
        moved = _moved(state, one.pointer, -one.step) if one.step else {}
        flags = state.carry if name in ("nop", "ld", "ldd", "lds", "st", "std", "sts", "cli") else None
        return state.holding({**moved, **dict.fromkeys(one.writes)}, flags)

    @staticmethod
    def _read(place: int, state: _State) -> Value:
        halves = {LOW_POINTER: "low", HIGH_POINTER: "high"}
        if place in halves and state.halves == (None, None):
            return halves[place], len(state.saved) & (0xFF if place == LOW_POINTER else 0xFFFF)
        return ("status", 0) if place == STATUS else None

    def _written(self, routine: _Routine, one: AvrInstruction, state: _State) -> _State:
        """OUT: the flags, or a half of the stack pointer, which counts when both are written."""
        value = state.registers[one.first]
        if one.constant == STATUS:
            off = value is not None and (value[0] == "status" or (value[0] == "byte" and value[1] < INTERRUPTS_ON))
            routine.interruptible |= not off
        if one.constant not in (LOW_POINTER, HIGH_POINTER):
            return state
        if value is None or value[0] == "index":
            raise _UnboundedError(f"its frame depends on the run (out at {one.address:#x})")
        low, high = state.halves
        low, high = (value, high) if one.constant == LOW_POINTER else (low, value)
        if low is None or high is None:
            return replace(state, halves=(low, high))
        return self._settled(routine, one, replace(state, halves=(None, None)), low, high)

    def _settled(
        self, routine: _Routine, one: AvrInstruction, state: _State, low: tuple[str, int], high: tuple[str, int]
    ) -> _State:
        if (low[0], high[0]) == ("byte", "byte") and self.active == [self.image.entry]:
            return replace(state, saved=())  # start-up sets the pointer to the top
        if (low[0], high[0]) != ("low", "high") or low[1] != high[1] & 0xFF:
            raise _UnboundedError(f"its frame depends on the run (out at {one.address:#x})")
        depth = high[1] if high[1] < 0x8000 else high[1] - 0x10000
        if depth < 0:
            raise _UnboundedError(f"it takes more from the stack than it laid there (out at {one.address:#x})")
        kept = state.saved[:depth]
        return self._pushed(routine, replace(state, saved=kept), (None,) * (depth - len(kept)))

    def _pointed(self, state: _State) -> int | None:
        """Where Z points, in bytes, if it is known."""
        low, high = state.registers[Z], state.registers[Z + 1]
        if low is None or high is None or (low[0], high[0]) != ("byte", "byte"):
            return None
        return 2 * (low[1] | high[1] << 8)

    def _listed(self, one: AvrInstruction, state: _State) -> list[int]:
        """Targets of a switch: the words of its table, as long as they lead into the function it is of."""
        base, function = state.registers[Z + 1], self.image.function_at(one.address)
        if base is None or base[0] != "index" or function is None:
            raise _UnboundedError(f"it jumps by pointer ({one.text} at {one.address:#x})")
        targets: list[int] = []
        place = 2 * (-base[1] & 0xFFFF)
        while True:
            word = self._word(place)
            if word is None or not function.address <= 2 * word < function.address + function.bytes:
                break
            targets.append(2 * word)
            place += 2
        if not targets:
            raise _UnboundedError(f"it jumps by a table that is not found ({one.text} at {one.address:#x})")
        return targets

    def _word(self, address: int) -> int | None:
        for start, data in self.code.items():
            if start <= address < start + len(data) - 1:
                return int.from_bytes(data[address - start : address - start + 2], "little")
        return None


def _amount(one: AvrInstruction, state: _State) -> int | None:
    """The byte that is added or taken away, if it is known."""
    if one.name in ("subi", "sbci"):
        return one.constant
    value = state.registers[one.second]
    return value[1] if value is not None and value[0] == "byte" and one.first != one.second else None


def _low(name: str, value: Value, amount: int | None) -> tuple[Value, Value]:
    """A low half after a number was taken away, and what its borrow stands for."""
    if amount is None or (value is not None and value[0] == "high"):
        return None, None
    taken = -amount if name == "add" else amount
    if value is None or value[0] != "low":
        return (("index", taken), ("index", taken)) if name == "subi" else (None, None)
    return ("low", (value[1] + taken) & 0xFF), ("low", (value[1] << 16) | (taken & 0xFFFF))


def _high(name: str, value: Value, amount: int | None, carry: Value) -> Value:
    """A high half after the rest of that number."""
    if amount is None or carry is None:
        return None
    if value is not None and value[0] == "high" and carry[0] == "low":
        before, taken = carry[1] >> 16, carry[1] & 0xFFFF
        more = -amount if name == "adc" else amount
        return ("high", (value[1] + taken + (more << 8)) & 0xFFFF) if before == value[1] & 0xFF else None
    if name == "sbci" and carry[0] == "index" and (value in (None, ZERO) or value[0] == "index"):
        return "index", (carry[1] + (amount << 8)) & 0xFFFF
    return None


def _moved(state: _State, pair: int, taken: int) -> dict[int, Value]:
    """A pair of registers less a number."""
    low, high = state.registers[pair], state.registers[pair + 1]
    if low is None or high is None or (low[0], high[0]) != ("low", "high") or low[1] != high[1] & 0xFF:
        return {pair: None, pair + 1: None}
    depth = (high[1] + taken) & 0xFFFF
    return {pair: ("low", depth & 0xFF), pair + 1: ("high", depth)}
