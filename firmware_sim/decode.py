"""Instructions as the timing model sees them: their kind, the registers they touch, where they may go next.

Capstone decodes Arm; RISC-V's few formats are read here (The RISC-V Instruction Set Manual, volume I, chapters 2 and
16), because capstone renames what it prints.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from .errors import MissingError

NEXT, BRANCH, JUMP, CALL, INDIRECT, INDIRECT_CALL, RETURN = range(7)
"""How an instruction ends: go on, a condition, a fixed place, a call, a computed place, a computed call, a return."""


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    `kind` is a row of a core's table.  `address_registers`: of a load's or store's address.  `registers`: how many it
    moves.  `narrow`: 16 bits.  `ends`: how it ends a block, with `target` where that is fixed.  `stack`: bytes by which
    it moves the stack pointer, None where only running tells.  `indexed`: it also writes its address register.
    `predicated`: a condition decides whether it does anything.
    """

    address: int
    bytes: int
    kind: str
    text: str
    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    address_registers: frozenset[str] = frozenset()
    registers: int = 0
    ends: int = NEXT
    target: int | None = None
    stack: int | None = 0
    indexed: bool = False
    register_offset: bool = False
    shifted: bool = False
    predicated: bool = False

    @property
    def narrow(self) -> bool:
        """Whether it takes 16 bits."""
        return self.bytes == 2

    @property
    def next_address(self) -> int:
        """Where it goes on when it goes nowhere else."""
        return self.address + self.bytes


class Decoder(Protocol):
    """Bytes to instructions."""

    def decode(self, data: bytes, address: int) -> Iterator[Instruction]:
        """Instructions from `address` on, until the bytes end or make no sense."""


def open_decoder(machine: str) -> Decoder:
    """The decoder of a machine, arm or riscv.  Raises MissingError without capstone."""
    return ArmDecoder() if machine == "arm" else RiscvDecoder()


# --- Arm ---------------------------------------------------------------------------------------------------------

_ARM_KINDS = {
    "multiply": "mul muls",
    "multiply_add": "mla mls",
    "multiply_long": "smull umull",
    "multiply_long_add": "smlal umlal umaal smlalbb smlalbt smlaltb smlaltt smlald smlaldx smlsld smlsldx",
    "multiply_dsp": "smulbb smulbt smultb smultt smulwb smulwt smuad smuadx smusd smusdx smmul smmulr usad8",
    "multiply_dsp_add": "smlabb smlabt smlatb smlatt smlawb smlawt smlad smladx smlsd smlsdx smmla smmlar smmls usada8",
    "divide": "sdiv udiv",
    "load": "ldr ldrb ldrh ldrsb ldrsh ldrt ldrbt ldrht ldrex ldrexb ldrexh lda ldab ldah",
    "store": "str strb strh strt strbt strht strex strexb strexh stl stlb stlh",
    "load_multiple": "ldm ldmib ldmdb pop ldrd",
    "store_multiple": "stm stmib stmdb push strd",
    "it": "it",
    "nop": "nop yield",
    "special": "mrs msr cps cpsie cpsid",
    "barrier": "isb dsb dmb",
    "sleep": "wfi wfe sev",
    "stop": "bkpt svc udf hlt",
    "float_load": "vldr",
    "float_store": "vstr",
    "float_load_multiple": "vldm vldmia vldmdb vpop",
    "float_store_multiple": "vstm vstmia vstmdb vpush",
    "float_divide": "vdiv vsqrt",
    "float_multiply_add": "vmla vmls vnmla vnmls vfma vfms vfnma vfnms",
    "branch": "cbz cbnz",
    "table_branch": "tbb tbh",
}
_ARM = {name: kind for kind, names in _ARM_KINDS.items() for name in names.split()}
_DSP_ALU = ("pkh", "qadd", "qsub", "uadd", "usub", "sadd", "ssub", "uhadd", "shadd", "uqadd", "uqsub", "sel")
_CONDITION_ALWAYS = (0, 15)


class ArmDecoder:
    """Thumb, as all Cortex-M speak it."""

    def __init__(self) -> None:
        try:
            import capstone
        except ImportError:
            raise MissingError("Arm: capstone is not installed; pip install 'ska_edge[simulate]'") from None
        self._capstone = capstone
        mode = capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS | capstone.CS_MODE_V8
        self._engine = capstone.Cs(capstone.CS_ARCH_ARM, mode)
        self._engine.detail = True

    def decode(self, data: bytes, address: int) -> Iterator[Instruction]:
        """Instructions from `address` on."""
        for found in self._engine.disasm(data, address):
            yield self._one(found)

    def _one(self, found: Any) -> Instruction:
        arm = self._capstone.arm
        name = self._engine.insn_name(found.id)
        operands = found.operands
        reads, writes = ({self._engine.reg_name(r) for r in regs} for regs in found.regs_access())
        conditional = found.cc not in _CONDITION_ALWAYS
        listed = [self._engine.reg_name(op.reg) for op in operands if op.type == arm.ARM_OP_REG]
        kind, ends, target = self._kind(name), NEXT, None
        stack: int | None = 0
        address_registers: set[str] = set()
        offset_register = shifted = False
        count = 0
        for op in operands:
            if op.type == arm.ARM_OP_MEM:
                address_registers |= {self._engine.reg_name(r) for r in (op.mem.base, op.mem.index) if r}
                offset_register = offset_register or bool(op.mem.index)
            shifted = shifted or (op.type == arm.ARM_OP_REG and op.shift.type != 0 and kind == "alu")
        if kind in ("load_multiple", "store_multiple", "float_load_multiple", "float_store_multiple"):
            count = (
                2 if name in ("ldrd", "strd") else len(listed) - (0 if name in ("push", "pop", "vpush", "vpop") else 1)
            )
            if name not in ("ldrd", "strd", "push", "pop", "vpush", "vpop"):
                address_registers = set(listed[:1])
            if name in ("push", "pop", "vpush", "vpop"):
                address_registers = {"sp"}
        if kind == "load" and address_registers == {"pc"}:
            kind = "load_literal"
        if name == "b":
            ends, target = (BRANCH if conditional else JUMP), operands[0].imm
            kind = "branch" if conditional else "jump"
        elif name in ("cbz", "cbnz"):
            ends, target = BRANCH, operands[1].imm
        elif name == "bl":
            kind, ends, target = "call", CALL, operands[0].imm
        elif name == "blx":
            kind, ends = "call_register", INDIRECT_CALL
        elif name in ("bx", "bxns"):
            kind, ends = "jump_register", (RETURN if listed == ["lr"] else INDIRECT)
        elif kind == "table_branch":
            ends = INDIRECT
        elif "pc" in writes or (kind == "load_multiple" and "pc" in listed):
            ends = RETURN if kind in ("load_multiple", "load", "load_literal") else INDIRECT
            kind = {"load": "load_jump", "load_literal": "load_jump", "load_multiple": "load_multiple_jump"}.get(
                kind, "alu_jump"
            )
        if "sp" in writes:
            stack = self._stack(name, found, operands, count)
        return Instruction(
            found.address,
            found.size,
            kind,
            f"{found.mnemonic} {found.op_str}".strip(),
            frozenset(reads - {"pc"}),
            frozenset(writes - {"pc", "cpsr"}),
            frozenset(address_registers - {"pc"}),
            count,
            ends,
            target,
            stack,
            bool(found.writeback) and kind in ("load", "store", "load_multiple", "store_multiple"),
            offset_register,
            shifted,
            conditional and ends == NEXT,
        )

    @staticmethod
    def _kind(name: str) -> str:
        if name in _ARM:
            return _ARM[name]
        if name.startswith("v"):
            return "float"
        return "alu_dsp" if name.startswith(_DSP_ALU) and name not in ("qadd", "qsub") else "alu"

    def _stack(self, name: str, found: Any, operands: Any, count: int) -> int | None:
        arm = self._capstone.arm
        words = 8 if ".64" in found.mnemonic or (operands and self._first(operands) == "d") else 4
        if name in ("push", "stmdb", "vpush", "vstmdb"):
            return -words * count
        if name in ("pop", "ldm", "vpop", "vldmia", "vldm"):
            return words * count
        if name in ("add", "sub", "addw", "subw"):
            last = operands[-1]
            plain = last.type == arm.ARM_OP_IMM and (
                len(operands) == 2 or self._engine.reg_name(operands[1].reg) == "sp"
            )
            return (last.imm if name.startswith("add") else -last.imm) if plain else None
        if name in ("str", "ldr", "strd", "ldrd"):
            memory = next((op for op in operands if op.type == arm.ARM_OP_MEM), None)
            after = next((op.imm for op in operands if op.type == arm.ARM_OP_IMM), 0)
            if memory is not None and not memory.mem.index:
                return int(memory.mem.disp or after)
        return None

    def _first(self, operands: Any) -> str:
        return str(self._engine.reg_name(operands[-1].reg) or "")[:1]


# --- RISC-V -------------------------------------------------------------------------------------------------------

_RA, _SP = 1, 2
_LINKS = (1, 5)


class RiscvDecoder:
    """RV32I, E, M, A and C."""

    def __init__(self) -> None:
        try:
            import capstone
        except ImportError:
            raise MissingError("RISC-V: capstone is not installed; pip install 'ska_edge[simulate]'") from None
        self._engine = capstone.Cs(capstone.CS_ARCH_RISCV, capstone.CS_MODE_RISCV32 | capstone.CS_MODE_RISCVC)

    def decode(self, data: bytes, address: int) -> Iterator[Instruction]:
        """Instructions from `address` on."""
        at = 0
        far = (
            0,
            0,
        )  # register and value of an AUIPC just before: with it, a jump by that register leads to a fixed place
        while at + 2 <= len(data):
            half = int.from_bytes(data[at : at + 2], "little")
            size = 4 if half & 3 == 3 else 2
            word = int.from_bytes(data[at : at + size], "little")
            if at + size > len(data) or word == 0:
                return
            fields = _wide(word, address + at) if size == 4 else _compressed(half, address + at)
            if word & 0x7F == 0x67 and far[0] and word >> 15 & 31 == far[0]:
                fields["ends"] = CALL if fields["ends"] == INDIRECT_CALL else JUMP
                fields["target"] = (far[1] + _signed(word >> 20, 12)) & 0xFFFFFFFE
            if word & 0x7F == 0x17:
                far = (word >> 7 & 31, address + at + (word & 0xFFFFF000))
            elif f"x{far[0]}" in fields.get("writes", ()) or fields.get("ends", NEXT) not in (NEXT, BRANCH):
                far = (0, 0)
            text = next(self._engine.disasm_lite(data[at : at + size], address + at), None)
            said = f"{text[2]} {text[3]}".strip() if text else f"{word:#x}"
            yield Instruction(address + at, size, text=said, **fields)
            at += size


def _named(*numbers: int) -> frozenset[str]:
    return frozenset(f"x{number}" for number in numbers if number)


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


def _bits(word: int, *places: tuple[int, int, int]) -> int:
    """A number put together from (first bit in the word, how many, first bit in the number)."""
    return sum((word >> at & ((1 << count) - 1)) << to for at, count, to in places)


def _wide(word: int, address: int) -> dict[str, Any]:
    opcode, rd, funct3 = word & 0x7F, word >> 7 & 31, word >> 12 & 7
    rs1, rs2 = word >> 15 & 31, word >> 20 & 31
    if opcode == 0x63:
        offset = _signed(_bits(word, (8, 4, 1), (25, 6, 5), (7, 1, 11), (31, 1, 12)), 13)
        return {"kind": "branch", "reads": _named(rs1, rs2), "ends": BRANCH, "target": address + offset}
    if opcode == 0x6F:
        offset = _signed(_bits(word, (21, 10, 1), (20, 1, 11), (12, 8, 12), (31, 1, 20)), 21)
        called = rd in _LINKS
        return {
            "kind": "call" if called else "jump",
            "writes": _named(rd),
            "ends": CALL if called else JUMP,
            "target": address + offset,
        }
    if opcode == 0x67:
        return {"writes": _named(rd), "reads": _named(rs1), **_register_jump(rd, rs1)}
    if opcode in (0x03, 0x07):
        return {"kind": "load", "reads": _named(rs1), "writes": _named(rd), "address_registers": _named(rs1)}
    if opcode in (0x23, 0x27):
        return {"kind": "store", "reads": _named(rs1, rs2), "address_registers": _named(rs1)}
    if opcode == 0x2F:
        return {"kind": "atomic", "reads": _named(rs1, rs2), "writes": _named(rd), "address_registers": _named(rs1)}
    if opcode == 0x0F:
        return {"kind": "barrier"}
    if opcode == 0x73:
        kind = "special" if funct3 else "sleep" if word == 0x10500073 else "stop"
        return {"kind": kind, "writes": _named(rd) if funct3 else frozenset()}
    reads = _named(rs1, rs2) if opcode == 0x33 else _named(rs1) if opcode == 0x13 else frozenset()
    kind = "alu"
    if opcode == 0x33 and word >> 25 == 1:
        kind = "divide" if funct3 >= 4 else "multiply" if funct3 == 0 else "multiply_long"
    stack: int | None = 0
    if rd == _SP:
        stack = _signed(word >> 20, 12) if opcode == 0x13 and funct3 == 0 and rs1 == _SP else None
    return {"kind": kind, "reads": reads, "writes": _named(rd), "stack": stack}


def _register_jump(rd: int, rs1: int) -> dict[str, Any]:
    if rd in _LINKS:
        return {"kind": "call_register", "ends": INDIRECT_CALL}
    return {"kind": "jump_register", "ends": RETURN if rs1 == _RA else INDIRECT}


def _compressed(half: int, address: int) -> dict[str, Any]:
    quadrant, funct3 = half & 3, half >> 13
    low, high = (half >> 2 & 7) + 8, (half >> 7 & 7) + 8  # registers of three bits
    rd, rs2 = half >> 7 & 31, half >> 2 & 31
    if quadrant == 0:
        if funct3 in (2, 3):
            return {"kind": "load", "reads": _named(high), "writes": _named(low), "address_registers": _named(high)}
        if funct3 in (6, 7):
            return {"kind": "store", "reads": _named(high, low), "address_registers": _named(high)}
        return {"kind": "alu", "reads": _named(_SP), "writes": _named(low)}
    stack: int | None = 0
    if quadrant == 1:
        if funct3 in (1, 5):
            places = ((3, 3, 1), (11, 1, 4), (2, 1, 5), (7, 1, 6), (6, 1, 7), (9, 2, 8), (8, 1, 10), (12, 1, 11))
            called = funct3 == 1
            return {
                "kind": "call" if called else "jump",
                "writes": _named(_RA) if called else frozenset(),
                "ends": CALL if called else JUMP,
                "target": address + _signed(_bits(half, *places), 12),
            }
        if funct3 >= 6:
            offset = _signed(_bits(half, (3, 2, 1), (10, 2, 3), (2, 1, 5), (5, 2, 6), (12, 1, 8)), 9)
            return {"kind": "branch", "reads": _named(high), "ends": BRANCH, "target": address + offset}
        if funct3 == 3 and rd == _SP:
            stack = _signed(_bits(half, (6, 1, 4), (2, 1, 5), (5, 1, 6), (3, 2, 7), (12, 1, 9)), 10)
        elif funct3 == 0 and rd == _SP:
            stack = _signed(_bits(half, (2, 5, 0), (12, 1, 5)), 6)
        pair = funct3 == 4
        reads = _named(high, low) if pair else _named(rd) if funct3 in (0, 3) else frozenset()
        kind = "nop" if funct3 == 0 and rd == 0 else "alu"
        return {"kind": kind, "reads": reads, "writes": _named(high if pair else rd), "stack": stack}
    if funct3 in (2, 3):
        return {"kind": "load", "reads": _named(_SP), "writes": _named(rd), "address_registers": _named(_SP)}
    if funct3 in (6, 7):
        return {"kind": "store", "reads": _named(_SP, rs2), "address_registers": _named(_SP)}
    if funct3 == 4 and rs2 == 0:
        link = _RA if half >> 12 & 1 else 0
        return (
            {"kind": "stop"} if rd == 0 else {"reads": _named(rd), "writes": _named(link), **_register_jump(link, rd)}
        )
    stack_of = None if funct3 == 4 and rd == _SP else 0
    return {"kind": "alu", "reads": _named(rd, rs2), "writes": _named(rd), "stack": stack_of}
