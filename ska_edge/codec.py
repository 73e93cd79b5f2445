"""Program <-> `.ska` bytes (SPEC 6).  A hostile file gets a FileError, never more memory than its own size warrants."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from .errors import FileError, ProgramError
from .fixed import Format, pack, unpack
from .operations import MAX_ELEMENTS, OPS, Kind, Op, Role, Rounding, Site, Tensor
from .program import Encoding, Program, canonical_json

MAGIC = b"\x89SKA\r\n\x1a\n"
VERSION = 1
MAX_HEADER_BYTES = 16 << 20


def encode(program: Program) -> bytes:
    """The `.ska` bytes of a Program and the state it carries."""
    header = canonical_json({"meta": dict(program.meta), "program": program.structure()})
    if len(header) > MAX_HEADER_BYTES:
        raise ProgramError(f"header: {len(header)} bytes, allowed are {MAX_HEADER_BYTES}")
    body = b"".join(pack(program.values[t.name], t.format) for t in program.of_role(Role.CONST, Role.STATE))
    prefix = MAGIC + VERSION.to_bytes(4, "little") + len(header).to_bytes(4, "little")
    content = prefix + header + body
    return content + hashlib.sha256(content).digest()


def decode(data: bytes, source: str = "data") -> Program:
    """The Program in `.ska` bytes.  Raises FileError, naming `source`, for anything else."""
    try:
        return _decode(data)
    except (ProgramError, FileError) as error:
        raise FileError(f"{source}: {error}") from None


def save(program: Program, path: str | Path) -> None:
    """Write a `.ska` file beside its name and rename it: the old file or the new one, never half of one."""
    write_atomically(Path(path), encode(program))


def load(path: str | Path) -> Program:
    """Read a `.ska` file."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror})") from None
    return decode(data, str(path))


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a crash leaves the old content or the new, nothing between."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise FileError(f"{path}: cannot be written ({error.strerror})") from None
    finally:  # also where Ctrl-C came in between
        with suppress(OSError):
            temporary.unlink()


def _decode(data: bytes) -> Program:
    if len(data) < len(MAGIC) + 8 + 32:
        raise FileError(f"{len(data)} bytes are too few for a .ska file")
    if not data.startswith(MAGIC):
        raise FileError("not a .ska file (wrong first bytes)")
    if (version := int.from_bytes(data[8:12], "little")) != VERSION:
        raise FileError(f"version {version}; this ska_edge reads version {VERSION}")
    content, checksum = data[:-32], data[-32:]
    if hashlib.sha256(content).digest() != checksum:
        raise FileError("checksum does not match: truncated or damaged")
    header_bytes = int.from_bytes(content[12:16], "little")
    if header_bytes > min(MAX_HEADER_BYTES, len(content) - 16):
        raise FileError(f"header of {header_bytes} bytes in a file of {len(data)}")
    header, body = content[16 : 16 + header_bytes], content[16 + header_bytes :]
    tree = _parse(header)
    _exact(tree, {"meta", "program"}, "header")
    tensors, sections, encoding = read_structure(tree["program"])
    carried = [t for t in tensors if t.role in (Role.CONST, Role.STATE)]
    if sum(t.size for t in tensors) > MAX_ELEMENTS:
        raise FileError(f"more than {MAX_ELEMENTS} elements in all tensors together")
    needed = sum(t.byte_count for t in carried)
    if needed != len(body):
        raise FileError(f"tensors take {needed} bytes, the file holds {len(body)}")
    values, start = {}, 0
    for tensor in carried:
        values[tensor.name] = unpack(body[start : start + tensor.byte_count], tensor.shape, tensor.format)
        start += tensor.byte_count
    program = Program(tensors, sections, values, encoding, _dict(tree["meta"], "meta"))
    try:
        canonical = canonical_json({"meta": dict(program.meta), "program": program.structure()})
    except ValueError:  # a number too large for a float
        canonical = b""
    if canonical != header:
        raise FileError("header is not canonical JSON")
    return program


def read_structure(structure: Any) -> tuple[tuple[Tensor, ...], dict[str, tuple[Op, ...]], Encoding]:
    """Tensors, sections and encoding from what `Program.structure` wrote.  Raises FileError for anything else."""
    _exact(structure, {"encoding", "sections", "tensors"}, "program")
    tensors = tuple(_tensor(item) for item in _list(structure["tensors"], "tensors"))
    sections = {
        name: tuple(_op(item) for item in _list(ops, f"section {name}"))
        for name, ops in _dict(structure["sections"], "sections").items()
    }
    return tensors, sections, _encoding(structure["encoding"])


def _parse(header: bytes) -> dict[str, Any]:
    try:
        return _dict(json.loads(header.decode("ascii"), parse_constant=_no_constant), "header")
    except (ValueError, RecursionError):
        raise FileError("header is no JSON") from None


def _no_constant(text: str) -> float:
    raise ValueError(text)


def _dict(item: Any, what: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise FileError(f"{what}: expected an object")
    return item


def _list(item: Any, what: str) -> list[Any]:
    if not isinstance(item, list):
        raise FileError(f"{what}: expected a list")
    return item


def _exact(item: Any, keys: set[str], what: str) -> None:
    if not isinstance(item, dict) or set(item) != keys:
        raise FileError(f"{what}: expected exactly {', '.join(sorted(keys))}")


def _whole(item: Any, what: str) -> int:
    if type(item) is not int or abs(item) >= 1 << 63:
        raise FileError(f"{what}: expected a whole number of at most 64 bits, found {str(item)[:40]!r}")
    return item


def _encoding(item: Any) -> Encoding:
    low, high, centre = item if isinstance(item, list) and len(item) == 3 else (None, None, None)
    numbers = [low, high, *_list(centre, "encoding: centre")]
    if not all(type(value) is float for value in numbers):
        raise FileError("encoding: expected low, high and a list of centres, each with a decimal point")
    return Encoding(numbers[0], numbers[1], tuple(numbers[2:]))


_TENSOR_KEYS = {"bits", "exponent", "kind", "layer", "name", "role", "shape", "signed"}


def _tensor(item: Any) -> Tensor:
    _exact(item, _TENSOR_KEYS, "tensor")
    name, layer = item["name"], item["layer"]
    if not isinstance(name, str) or type(item["signed"]) is not bool:
        raise FileError(f"tensor {str(name)[:40]!r}: name must be text, signed true or false")
    shape = tuple(_whole(extent, f"{name}: shape") for extent in _list(item["shape"], f"{name}: shape"))
    if len(shape) > 3 or any(extent < 1 for extent in shape):
        raise FileError(f"{name}: shape {shape}; 0 to 3 axes of at least 1")
    fmt = Format(_whole(item["bits"], f"{name}: bits"), _whole(item["exponent"], f"{name}: exponent"), item["signed"])
    role, kind = _member(Role, item["role"], name), _member(Kind, item["kind"], name)
    return Tensor(name, shape, fmt, role, kind, None if layer is None else _whole(layer, f"{name}: layer"))


def _member(choices: Any, value: Any, what: str) -> Any:
    try:
        return choices(value)
    except ValueError:
        allowed = ", ".join(choice.value for choice in choices)
        raise FileError(f"{what}: {str(value)[:40]!r}; allowed are {allowed}") from None


_HINTS = {verb: get_type_hints(op) for verb, op in OPS.items()}


def _op(item: Any) -> Op:
    verb = _dict(item, "operation").get("op")
    if not isinstance(verb, str) or verb not in OPS:
        raise FileError(f"operation {str(verb)[:40]!r}; allowed are {', '.join(OPS)}")
    op = OPS[verb]
    _exact(item, {"op", *(each.name for each in fields(op))}, f"operation {verb}")
    return op(
        **{each.name: _value(_HINTS[verb][each.name], item[each.name], f"{verb}.{each.name}") for each in fields(op)}
    )


def _value(hint: Any, value: Any, what: str) -> Any:
    if hint in (Rounding, Site):
        return _member(hint, value, what)
    if hint is int:
        return _whole(value, what)
    if hint is bool or hint is str:
        if type(value) is not hint:
            raise FileError(f"{what}: expected {hint.__name__}, found {str(value)[:40]!r}")
        return value
    if value is None:  # an optional tensor name or layer
        return None
    return _whole(value, what) if what.endswith(".layer") else _value(str, value, what)
