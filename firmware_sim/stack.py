"""The deepest the stack can get, from the instructions: every function's frames, every call, no run needed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from .avr_stack import avr_bound
from .decode import (
    BRANCH,
    CALL,
    INDIRECT,
    INDIRECT_CALL,
    JUMP,
    NEXT,
    RETURN,
    Decoder,
    Instruction,
    open_decoder,
)
from .image import Image, Symbol

RESET_NAMES = ("Reset_Handler", "_start", "reset_handler", "__reset")


@dataclass(frozen=True)
class StackBound:
    """Bytes from the stack's top, and the calls that lead there.  `bytes` is None where no bound exists; `words` say
    why, or name the path.
    """

    bytes: int | None
    words: str
    path: tuple[str, ...]


@dataclass(frozen=True)
class _Frame:
    """A function: its deepest own use, and (depth, callee's address) of every call.  `problem`: why it has no bound."""

    deepest: int
    calls: tuple[tuple[int, int], ...]
    problem: str


def stack_bound(image: Image) -> StackBound:
    """The bound for what starts at the image's entry."""
    if image.machine == "avr":
        return StackBound(*avr_bound(image))
    decoder = open_decoder(image.machine)
    frames: dict[int, _Frame] = {}

    def instructions_of(function: Symbol) -> dict[int, Instruction]:
        for segment in image.segments:
            at = function.address - segment.address
            if 0 <= at < len(segment.data):
                end = at + (function.bytes or 64)
                return _reachable(image, decoder, segment.data[at:end], function.address)
        return {}

    def frame_of(address: int) -> _Frame:
        if address not in frames:
            function = image.function_at(address)
            if function is None or function.address != address:
                frames[address] = _Frame(0, (), f"a call to {address:#x}, where no function begins")
            else:
                frames[address] = _walk(image, function, instructions_of(function))
        return frames[address]

    active: list[int] = []

    @cache
    def deepest(address: int) -> tuple[int | None, str, tuple[str, ...]]:
        function = image.function_at(address)
        name = function.name if function is not None else hex(address)
        if address in active:
            return None, f"{name} calls itself", (name,)
        frame = frame_of(address)
        if frame.problem:
            return None, f"{name}: {frame.problem}", (name,)
        active.append(address)
        best: tuple[int | None, str, tuple[str, ...]] = (frame.deepest, "", (name,))
        for depth, callee in frame.calls:
            inner, words, path = deepest(callee)
            if inner is None:
                best = (None, words, (name, *path))
                break
            assert best[0] is not None
            if depth + inner > best[0]:
                best = (depth + inner, "", (name, *path))
        active.pop()
        return best

    start = image.entry & ~1 if image.machine == "arm" else image.entry
    depth, words, path = deepest(start)
    return StackBound(depth, words or " > ".join(path), path)


def _reachable(image: Image, decoder: Decoder, data: bytes, address: int) -> dict[int, Instruction]:
    """Instructions by address, decoded along the ways the code can take: literals between them are none.

    After a jump by a register the compiler's marks say what is code; all of that may be its target.
    """
    found: dict[int, Instruction] = {}
    waiting = [address]
    while waiting:
        at = waiting.pop()
        if at in found or not address <= at < address + len(data):
            continue
        for one in decoder.decode(data[at - address :], at):
            if one.address in found:
                break
            found[one.address] = one
            if one.ends in (BRANCH, JUMP) and one.target is not None:
                waiting.append(one.target)
            if one.ends in (JUMP, RETURN, INDIRECT) and not one.predicated and one.kind != "branch":
                if one.kind == "table_branch":
                    waiting += _table(one, data, address)
                elif one.ends == INDIRECT:
                    waiting += _marked(image, decoder, data, address, one.next_address)
                break
    return found


def _marked(image: Image, decoder: Decoder, data: bytes, address: int, start: int) -> list[int]:
    """Every instruction of the code after `start`; on Arm by the compiler's marks, elsewhere functions hold no data."""
    end = address + len(data)
    if image.machine != "arm":
        return [one.address for one in decoder.decode(data[start - address :], start)][::-1]
    found = []
    for mark in image.code_marks:
        if start <= mark < end:
            stop = min((each for each in image.data_marks if each > mark), default=end)
            found += [one.address for one in decoder.decode(data[mark - address : stop - address], mark)]
    return found[::-1]  # they are taken from the end: decoding goes forwards, as an AUIPC belongs to the jump after it


def _table(one: Instruction, data: bytes, address: int) -> list[int]:
    """Targets of TBB and TBH: halves of offsets from the table's start, up to the first target."""
    size = 2 if one.text.startswith("tbh") else 1
    start = one.next_address
    targets: list[int] = []
    at = start
    while at + size <= address + len(data) and (not targets or at < min(targets)):
        offset = int.from_bytes(data[at - address : at - address + size], "little")
        targets.append(start + 2 * offset)
        at += size
    return targets


def _walk(image: Image, function: Symbol, code: dict[int, Instruction]) -> _Frame:
    """Follow every way through a function with the depth of the stack at each instruction."""
    depths: dict[int, int] = {}
    waiting = [(function.address, 0)]
    deepest, calls = 0, []
    end = function.address + max(function.bytes, 64)
    while waiting:
        at, depth = waiting.pop()
        if at in depths or at not in code:
            continue
        depths[at] = depth
        one = code[at]
        if one.stack is None:
            if (
                one.text.startswith(("mov sp", "add.w sp", "la ", "lui sp", "auipc sp", "ldr sp"))
                and function.name in RESET_NAMES
            ):
                depth = 0  # start-up sets the pointer to the top
            elif (one.ends == NEXT and _restores(one)) or function.name in RESET_NAMES:
                depth = 0
            else:
                return _Frame(0, (), f"its frame depends on the run ({one.text})")
        else:
            depth -= one.stack
        deepest = max(deepest, depth)
        if one.ends == CALL and one.target is not None:
            calls.append((depth, one.target))
        elif one.ends == INDIRECT_CALL:
            return _Frame(0, (), f"it calls by pointer ({one.text})")
        elif one.ends in (JUMP, BRANCH) and one.target is not None:
            if function.address <= one.target < end:
                waiting.append((one.target, depth))
            else:
                calls.append((depth, one.target))  # a tail call
        elif one.ends == INDIRECT and one.kind == "table_branch":
            waiting += [(target, depth) for target in code if target > at]
        elif one.ends == INDIRECT and one.kind in ("jump_register", "alu_jump", "load_jump") and not one.predicated:
            following = [target for target in code if target > at and target not in depths]
            if not following:
                return _Frame(0, (), f"it jumps by pointer ({one.text})")
            waiting += [(target, depth) for target in following]
        if one.ends in (NEXT, BRANCH, CALL) or one.predicated:
            waiting.append((one.next_address, depth))
    return _Frame(deepest, tuple(calls), "")


def _restores(one: Instruction) -> bool:
    """An epilogue that takes the pointer back from a frame pointer: `mov sp, r7`, `sub.w sp, r7, #n`."""
    return one.text.startswith(("mov sp,", "sub.w sp, r7", "addi sp, s0", "subs sp, r7"))
