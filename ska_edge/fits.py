"""Does a Program fit a board?  What is needed by part, what is there, by what margin, and what to do if it does not.

Planned, exact to the byte: the arena (`plan.memory`), constants, and the start state that the image carries.
Reserved, an estimate: code, stack and the port's own variables, by core family, all in `RESERVES` and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from firmware_sim.catalogue import Board, board_names, load_board

from .errors import FitError
from .fixed import Format, byte_count
from .operations import Kind, Role, Tensor
from .plan import memory, plan
from .profiles import PROFILES, Profile
from .program import Program

SNAPSHOT_SLOTS = 2
SNAPSHOT_HEADER = 16
"""Bytes beside the state in a slot: sequence number, program digest's first bytes, length, checksum."""
ESTIMATE_SLACK = 16
"""Bytes of RAM by which padding and scratch of a changed network may exceed what its tensors' ratios say."""

_WEIGHTS = (Kind.WEIGHT, Kind.HEAD)
_DECISIONS = (Kind.SAMPLE, Kind.DECISION)
_KEPT = (Role.STATE, Role.INPUT, Role.OUTPUT)


@dataclass(frozen=True)
class Reserve:
    """Bytes set aside for what no plan knows: code in flash; `stack`, and the port's variables (`port`), in RAM.

    Code is generated operation by operation: `code` for protocol, start-up and helpers, plus `code_per_operation`.
    """

    code: int
    code_per_operation: int
    stack: int
    port: int


_THUMB1 = Reserve(code=2560, code_per_operation=112, stack=1024, port=1280)
_THUMB2 = Reserve(code=5120, code_per_operation=304, stack=1024, port=1280)
_RV32 = Reserve(code=4608, code_per_operation=260, stack=1024, port=1280)

RESERVES: Mapping[str, Reserve] = {
    "cortex-m0": _THUMB1,
    "cortex-m0plus": _THUMB1,
    "cortex-m3": _THUMB2,
    "cortex-m4": _THUMB2,
    "cortex-m7": _THUMB2,
    "cortex-m33": _THUMB2,
    "rv32imc": _RV32,
    "rv32imac": _RV32,
    "rv32ec": Reserve(code=5120, code_per_operation=260, stack=320, port=192),
    "avr5": Reserve(code=5376, code_per_operation=160, stack=320, port=192),
    "avr6": Reserve(code=5376, code_per_operation=160, stack=1024, port=384),
}
"""By core.  Estimates: above the code of the first builds of eight networks of 11 to 118 operations (zig -Os on
Cortex-M0, -O2 on Cortex-M7 and RV32IMAC; avr-gcc -Os on AVR), but no bound, and RV32EC by analogy.  When builds are
kept and measured, put their sizes here and set `RESERVES_MEASURED`."""

RESERVES_MEASURED = False


@dataclass(frozen=True)
class Need:
    """Bytes of one kind of memory: `parts` needed against `available`."""

    resource: str
    parts: Mapping[str, int]
    available: int

    @property
    def needed(self) -> int:
        """Sum of the parts."""
        return sum(self.parts.values())

    @property
    def margin(self) -> int:
        """Bytes left; negative where they do not suffice."""
        return self.available - self.needed

    @property
    def share_left(self) -> float:
        """Margin as a share of what is there: the smaller, the tighter."""
        return self.margin / self.available


@dataclass(frozen=True)
class Remedy:
    """A way out.  `enough`: it suffices on its own; RAM and flash are estimates unless `kind` is `board`."""

    kind: str
    text: str
    enough: bool
    ram_bytes: int
    flash_bytes: int


@dataclass(frozen=True)
class Fit:
    """The verdict for one Program on one board.

    `snapshot_bytes`: two power-fail-safe slots in the board's store, None where its unit of erasure is unknown or the
    board has no store.  They are not part of the verdict: a device can learn without keeping.
    """

    board: Board
    needs: tuple[Need, ...]
    snapshot_bytes: int | None
    snapshots_fit: bool | None

    @property
    def fits(self) -> bool:
        """Whether every kind of memory suffices, reserves included."""
        return all(need.margin >= 0 for need in self.needs)

    @property
    def tightest(self) -> Need:
        """The kind of memory with the smallest share left."""
        return min(self.needs, key=lambda need: need.share_left)

    def to_json(self) -> dict[str, Any]:
        """The verdict as JSON-ready data."""
        return {
            "board": self.board.name,
            "fits": self.fits,
            "tightest": self.tightest.resource,
            "reserves": "measured" if RESERVES_MEASURED else "estimate",
            "needs": {
                need.resource: {
                    "parts": dict(need.parts),
                    "needed": need.needed,
                    "available": need.available,
                    "margin": need.margin,
                }
                for need in self.needs
            },
            "snapshot_bytes": self.snapshot_bytes,
            "snapshots_fit": self.snapshots_fit,
        }


@dataclass(frozen=True)
class _Planned:
    """What the plan knows, in bytes: RAM by part, constants, and the start state that the image carries."""

    ram: Mapping[str, int]
    constants: int
    start_state: int
    operations: int

    def on(self, core: str) -> tuple[dict[str, int], dict[str, int]]:
        """RAM and flash by part, with the reserves of a core."""
        reserve = RESERVES[core]
        ram = {**self.ram, "port": reserve.port, "stack": reserve.stack}
        code = reserve.code + reserve.code_per_operation * self.operations
        return ram, {"constants": self.constants, "start_state": self.start_state, "code": code}


def fit(program: Program, board: Board) -> Fit:
    """Compare what a Program needs with what a board has.

    >>> from ska_edge import Network, lower
    >>> fit(lower(Network((64, 16, 10))), load_board("arduino_uno")).fits
    True
    """
    return _fit(_planned(program), board)


def fits_everywhere(program: Program) -> list[Fit]:
    """The verdict for every board of the catalogue: least RAM first."""
    planned = _planned(program)
    found = [_fit(planned, load_board(name)) for name in board_names()]
    return sorted(found, key=lambda one: (one.board.ram_bytes, one.board.name))


def check_fit(program: Program, board: Board) -> Fit:
    """The verdict, or a FitError with bytes by tensor and the nearest remedies."""
    found = fit(program, board)
    if found.fits:
        return found
    lines = [f"{board.name}: does not fit"]
    for need in found.needs:
        if need.margin < 0:
            parts = ", ".join(f"{part} {count:,}" for part, count in need.parts.items() if count)
            lines.append(f"  {need.resource}: needs {need.needed:,} bytes, has {need.available:,} ({parts})")
    lines.append("  largest tensors: " + ", ".join(f"{t.name} {t.byte_count:,}" for t in largest_tensors(program)))
    lines.extend(f"  remedy: {remedy.text}" for remedy in remedies(program, board))
    raise FitError("\n".join(lines))


def largest_tensors(program: Program, count: int = 5) -> list[Tensor]:
    """Tensors by bytes, largest first."""
    return sorted(program.tensors, key=lambda tensor: (-tensor.byte_count, tensor.name))[:count]


def remedies(program: Program, board: Board) -> list[Remedy]:
    """What to change, nearest first: a narrower profile, a smaller layer, the next board up.

    Estimated bytes follow from the ratios of tensors; lowering the changed network gives the exact ones.
    """
    found = _narrower(program, board)
    smaller = _smaller(program, board)
    return [*found, *([smaller] if smaller else []), *_next_board(program, board)]


def _planned(program: Program) -> _Planned:
    parts = memory(program)
    layout = plan(program)
    constants = parts.pop("constants")
    operations = sum(len(ops) for ops in program.sections.values())
    return _Planned(parts, constants, layout.fixed_bytes - layout.state_start, operations)


def _fit(planned: _Planned, board: Board) -> Fit:
    ram, flash = planned.on(board.core.name)
    if board.shared:
        needs: tuple[Need, ...] = (Need("memory", {**ram, **flash}, board.ram_bytes),)
    else:
        needs = (Need("ram", ram, board.ram_bytes), Need("flash", flash, board.flash_bytes))
    snapshots, room = _snapshots(planned.start_state, board, needs[-1].margin)
    return Fit(board, needs, snapshots, None if snapshots is None else snapshots <= room)


def _snapshots(state_bytes: int, board: Board, margin: int) -> tuple[int | None, int]:
    """Bytes of two slots, rounded up to units of erasure, and the room for them."""
    store = board.store
    if store is None or store.erase_bytes is None:
        return None, 0
    units = -(-(state_bytes + SNAPSHOT_HEADER) // store.erase_bytes)
    region = board.memory(store.memory)
    room = margin if region is board.code else board.usable(region)[1]
    return SNAPSHOT_SLOTS * units * store.erase_bytes, room


def _estimate(program: Program, board: Board, resized: Callable[[Tensor], int]) -> tuple[int, int, bool]:
    """RAM and flash if tensors were of other sizes, and whether both suffice.  Scratch is kept as planned."""
    ram, flash = _planned(program).on(board.core.name)
    change = {role: sum(resized(t) - t.byte_count for t in program.of_role(role)) for role in _KEPT}
    ram_bytes = sum(ram.values()) + sum(change.values()) + ESTIMATE_SLACK
    flash_bytes = sum(flash.values()) + change[Role.STATE]
    if board.shared:
        return ram_bytes, flash_bytes, ram_bytes + flash_bytes <= board.ram_bytes
    return ram_bytes, flash_bytes, ram_bytes <= board.ram_bytes and flash_bytes <= board.flash_bytes


def _narrower(program: Program, board: Board) -> list[Remedy]:
    """Profiles with fewer bits, widest first, down to the first that suffices."""
    weights = max((t.format.bits for t in program.tensors if t.kind in _WEIGHTS), default=0)
    decisions = max((t.format.bits for t in program.of_kind(Kind.DECISION)), default=0)
    found: list[Remedy] = []
    for profile in PROFILES.values():
        bits = (profile.weight_bits, profile.decision.bits)
        if bits[0] > weights or bits[1] > decisions or bits == (weights, decisions):
            continue
        ram, flash, enough = _estimate(program, board, partial(_in_profile, profile))
        verdict = "suffices" if enough else "does not suffice alone"
        text = f"narrower profile {profile.name}: about {ram:,} bytes of RAM, {flash:,} of flash; {verdict}"
        found.append(Remedy("profile", text, enough, ram, flash))
        if enough:
            break
    return found


def _in_profile(profile: Profile, tensor: Tensor) -> int:
    """Bytes of a tensor if its network were lowered to another profile."""
    if tensor.kind in _WEIGHTS:
        return byte_count(tensor.shape, Format(min(profile.weight_bits, tensor.format.bits), 0))
    if tensor.kind in _DECISIONS:
        return min(tensor.byte_count, byte_count(tensor.shape, profile.decision))
    return tensor.byte_count


def _smaller(program: Program, board: Board) -> Remedy | None:
    """The largest share of the hidden widths that fits, in whole percent.  Only for dense layers in a chain."""
    widths = _hidden_widths(program)
    if not widths:
        return None

    def at(percent: int) -> tuple[int, int, bool]:
        narrowed = {layer: _share(width, percent) for layer, width in widths.items()}
        return _estimate(program, board, partial(_in_widths, widths, narrowed))

    low, high = 0, 100
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if at(middle)[2] else (low, middle)
    ram, flash, enough = at(max(low, 1))
    if not enough:
        text = f"smaller layers: no hidden width fits (about {ram:,} bytes of RAM at the least); take fewer inputs"
    else:
        named = "-".join(str(_share(width, low)) for width in widths.values())
        text = f"smaller layers: hidden widths of about {named}: {ram:,} bytes of RAM, {flash:,} of flash; suffices"
    return Remedy("layer", text, enough, ram, flash)


def _share(width: int, percent: int) -> int:
    return max(1, width * percent // 100)


def _hidden_widths(program: Program) -> dict[int | None, int]:
    """Widths of hidden layers by layer, in order; empty where the weights are no chain of matrices."""
    weights = sorted((t for t in program.of_kind(Kind.WEIGHT) if t.role is Role.STATE), key=lambda t: t.layer or 0)
    if not weights or any(len(t.shape) != 2 for t in weights) or len({t.layer for t in weights}) < len(weights):
        return {}
    if any(below.shape[0] != above.shape[1] for below, above in zip(weights[:-1], weights[1:], strict=True)):
        return {}
    headed = any(t.role is Role.STATE for t in program.of_kind(Kind.HEAD))  # else the last matrix leads to the outputs
    return {t.layer: t.shape[0] for t in (weights if headed else weights[:-1])}


def _in_widths(widths: Mapping[int | None, int], narrowed: Mapping[int | None, int], tensor: Tensor) -> int:
    """Bytes of a weight, head, bias or mean if hidden widths shrank; everything else is kept, which errs upwards."""
    layers = list(widths)
    width = widths.get(tensor.layer)
    shape = list(tensor.shape)
    if tensor.kind is Kind.WEIGHT:
        below = _layer_below(layers, tensor.layer)
        if below is not None:
            shape[1] = narrowed[below]
        if width is not None:
            shape[0] = narrowed[tensor.layer]
    elif tensor.kind in (Kind.HEAD, Kind.BIAS, Kind.MEAN) and width is not None and shape and shape[-1] == width:
        shape[-1] = narrowed[tensor.layer]
    return byte_count(tuple(shape), tensor.format)


def _layer_below(layers: list[int | None], layer: int | None) -> int | None:
    """The hidden layer that feeds this one; None for the first, which is fed by the inputs."""
    position = layers.index(layer) if layer in layers else len(layers)
    return layers[position - 1] if position > 0 else None


def _next_board(program: Program, board: Board) -> list[Remedy]:
    """The board with the least RAM, of those one can buy, that holds it."""
    for found in fits_everywhere(program):
        if found.board.silicon and found.fits and found.board.name != board.name:
            ram, flash = found.needs[0].needed, found.needs[-1].needed
            text = f"next board up: {found.board.name} ({found.board.ram_bytes:,} bytes of RAM); suffices"
            return [Remedy("board", text, True, ram, flash)]
    return [Remedy("board", "next board up: none of the catalogue holds it", False, 0, 0)]
