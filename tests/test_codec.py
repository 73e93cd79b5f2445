"""`.ska` files: what is written is read; what is damaged or hostile is refused, quickly, or is a Program that runs.

`SKA_EDGE_THOROUGH=1` tries 100,000 mutations instead of 5,000, and other ones each time.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from programs import case_of, seed_in_message, seeds

from ska_edge import Learner, Network, lower, rule_named
from ska_edge.backends.jit import NumbaExecutor
from ska_edge.codec import MAGIC, MAX_HEADER_BYTES, decode, encode, load, save
from ska_edge.errors import FileError, ProgramError
from ska_edge.fixed import Format
from ska_edge.interpreter import Interpreter
from ska_edge.operations import Contract, Flow, Kind, Lut, Role, Scale, Tensor, op_to_json, tensor_to_json
from ska_edge.profiles import PROFILES
from ska_edge.program import Encoding, Program, canonical_json

THOROUGH = os.environ.get("SKA_EDGE_THOROUGH") == "1"
MUTATIONS = 100_000 if THOROUGH else 5_000
SECONDS = 10.0  # most that one file may take, read and run: a hang, not a speed (the usual is 1 ms)
BYTES = 64 << 20  # most that reading one file may allocate; these files have less than 20 kB
RULES = {
    "published": rule_named("published"),
    "guided": rule_named("guided"),
    "guided-code": rule_named("guided", heads="code", unlabelled="entropy"),
    "homeostatic": rule_named("homeostatic"),
    "guided-all": rule_named("guided", mask=0.3, anneal=4, readout="sum"),
}


# --- what is written is read ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("rule", RULES)
def test_round_trip_after_learning(rule: str, profile: str, tmp_path: Path) -> None:
    samples = np.random.default_rng(0).random((30, 9))
    learner = Learner(lower(Network((9, 7, 5, 3), RULES[rule]), profile, encoding=Encoding(centre=(0.5,))))
    learner.learn_many(samples, [i % 3 for i in range(30)])
    program = learner.save(tmp_path / "model.ska", {"note": "learnt \u00e4\u00f6", "list": [1, 2.5, None]})
    again = load(tmp_path / "model.ska")
    check_same(program, again)
    assert again.state_digest != learner.program.state_digest
    resumed = Learner(again)
    for each in (learner, resumed):
        each.learn_many(samples, [i % 3 for i in range(30)])
    assert learner.snapshot().state_digest == resumed.snapshot().state_digest


def test_round_trip_of_random_programs() -> None:
    for seed in seeds(300):
        with seed_in_message(seed):
            program = case_of(seed).program
            check_same(program, decode(encode(program)))


def check_same(program: Program, again: Program) -> None:
    """Digests, meta, and so bytes."""
    assert again.program_digest == program.program_digest
    assert again.state_digest == program.state_digest
    assert again.encoding == program.encoding
    assert dict(again.meta) == dict(program.meta)
    assert encode(again) == encode(program)


def test_saving_replaces_a_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    program = lower(Network((4, 3, 2)))
    (tmp_path / "model.ska").write_bytes(b"old")
    save(program, tmp_path / "model.ska")
    assert [path.name for path in tmp_path.iterdir()] == ["model.ska"]
    assert load(tmp_path / "model.ska").program_digest == program.program_digest


def test_what_cannot_be_read_or_written_is_a_file_error(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"nothing\.ska: cannot be read"):
        load(tmp_path / "nothing.ska")
    with pytest.raises(FileError, match="cannot be read"):
        load(tmp_path)
    with pytest.raises(FileError, match="cannot be written"):
        save(lower(Network((4, 3, 2))), tmp_path / "no folder" / "model.ska")


# --- files by hand ----------------------------------------------------------------------------------------------------


class Parts(NamedTuple):
    """A file taken apart."""

    tree: Any
    body: bytes

    def file(self) -> bytes:
        """The file of these parts, with lengths and checksum that are right."""
        return sealed(canonical_json(self.tree), self.body)


def parts_of(data: bytes) -> Parts:
    """Header and body of a file."""
    header_bytes = int.from_bytes(data[12:16], "little")
    return Parts(json.loads(data[16 : 16 + header_bytes]), data[16 + header_bytes : -32])


def sealed(header: bytes, body: bytes) -> bytes:
    """Any header and body as a file whose checksum is right."""
    content = MAGIC + (1).to_bytes(4, "little") + len(header).to_bytes(4, "little") + header + body
    return content + hashlib.sha256(content).digest()


@pytest.fixture(scope="module")
def small() -> bytes:
    """A small network's file."""
    return encode(lower(Network((4, 3, 2)), "w4d8"))


def test_the_layout_is_that_of_the_spec(small: bytes) -> None:
    """SPEC 6.4, byte by byte."""
    program = decode(small)
    header = canonical_json({"meta": {}, "program": program.structure()})
    assert small[:8] == bytes.fromhex("89534b410d0a1a0a")
    assert small[8:16] == (1).to_bytes(4, "little") + len(header).to_bytes(4, "little")
    assert small[16 : 16 + len(header)] == header
    assert len(small) == 16 + len(header) + sum(t.byte_count for t in program.of_role(Role.CONST, Role.STATE)) + 32
    assert small[-32:] == hashlib.sha256(small[:-32]).digest()


def _set(*path: Any) -> Callable[[Any], None]:
    """A change of a header: the last of `path` is put where the others lead."""
    *way, key, value = path

    def change(tree: Any) -> None:
        for step in way:
            tree = tree[step]
        tree[key] = value

    return change


def _delete(*path: Any) -> Callable[[Any], None]:
    *way, key = path

    def change(tree: Any) -> None:
        for step in way:
            tree = tree[step]
        del tree[key]

    return change


_T0, _OP0 = ("program", "tensors", 0), ("program", "sections", "learn", 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("more", 1), "header: expected exactly meta, program"),
        (_delete("meta"), "header: expected exactly meta, program"),
        (_set("meta", []), "meta: expected an object"),
        (_set("program", []), "program: expected exactly encoding, sections, tensors"),
        (_set("program", "more", 1), "program: expected exactly"),
        (_set("program", "tensors", {}), "tensors: expected a list"),
        (_set("program", "sections", []), "sections: expected an object"),
        (_set("program", "sections", "learn", {}), "section learn: expected a list"),
        (_set("program", "sections", "other", []), "section 'other': allowed are infer, learn"),
        (_set(*_T0, "more", 1), "tensor: expected exactly"),
        (_delete(*_T0, "kind"), "tensor: expected exactly"),
        (_set(*_T0, "role", "boss"), "'boss'; allowed are input, output, const, state, scratch"),
        (_set(*_T0, "role", []), "allowed are input, output, const, state, scratch"),
        (_set(*_T0, "kind", "odd"), "'odd'; allowed are sample, label"),
        (_set(*_T0, "name", 5), "tensor '5': name must be text"),
        (_set(*_T0, "name", ""), "tensor '': names are ASCII"),
        (_set(*_T0, "name", "\u00e4"), "names are ASCII"),
        (_set(*_T0, "signed", 0), "signed true or false"),
        (_set(*_T0, "bits", True), "bits: expected a whole number"),
        (_set(*_T0, "bits", 16.0), "bits: expected a whole number"),
        (_set(*_T0, "bits", 1), "format: 1 bits"),
        (_set(*_T0, "bits", 64), "format: 64 bits"),
        (_set(*_T0, "exponent", 65), "format: exponent 65"),
        (_set(*_T0, "shape", 3), "shape: expected a list"),
        (_set(*_T0, "shape", [0]), "0 to 3 axes of at least 1"),
        (_set(*_T0, "shape", [1, 1, 1, 1]), "0 to 3 axes of at least 1"),
        (_set(*_T0, "shape", [1 << 62, 1 << 62]), "more than .* elements"),
        (_set(*_T0, "shape", [1 << 63]), "shape: expected a whole number of at most 64 bits"),
        (_set(*_T0, "shape", [3]), "tensors take .* bytes, the file holds"),
        (_set(*_T0, "layer", 0), "layers count from 1 to 255"),
        (_set(*_OP0, "op", "conjure"), "operation 'conjure'; allowed are contract"),
        (_set(*_OP0, "op", []), r"operation '\[\]'; allowed are contract"),
        (_set(*_OP0, "op", "scale"), "operation scale: expected exactly"),
        (_set(*_OP0, "more", 1), "operation contract: expected exactly"),
        (_set(*_OP0, "rounding", "up"), "contract.rounding: 'up'; allowed are floor, half, lattice"),
        (_set(*_OP0, "site", "moon"), "contract.site: 'moon'; allowed are synapse, soma"),
        (_set(*_OP0, "shift", None), "contract.shift: expected a whole number"),
        (_set(*_OP0, "a", 5), "contract.a: expected str"),
        (_set(*_OP0, "c", 5), "contract.c: expected str"),
        (_set(*_OP0, "a", "ghost"), r"learn\[0\] contract: no tensor named 'ghost'"),
        (_set(*_OP0, "axes", "oi,i"), "wanted letters as in"),
        (_set(*_OP0, "acc_bits", 16), "accumulator of 16 bits"),
        (_set(*_OP0, "shift", 63), "shift 63; allowed are -62 to 62"),
        (_set("program", "encoding", [0.0, 1.0]), "encoding: "),
        (_set("program", "encoding", [0, 1.0, [0.0]]), "encoding: expected low, high"),
        (_set("program", "encoding", [1.0, 0.0, [0.0]]), "encoding: low 1.0, high 0.0"),
        (_set("program", "encoding", [0.0, 1.0, []]), "encoding: centres lie in"),
        (_set("program", "encoding", [0.0, 1.0, [2.0]]), "encoding: centres lie in"),
    ],
    ids=lambda value: value if isinstance(value, str) else "change",
)
def test_a_header_that_is_wrong_is_refused(small: bytes, change: Callable[[Any], None], message: str) -> None:
    parts = parts_of(small)
    change(parts.tree)
    with pytest.raises(FileError, match=f"^model.ska: .*{message}"):
        decode(parts.file(), "model.ska")


def _header(data: bytes) -> bytes:
    return canonical_json(parts_of(data).tree)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", "too few"),
        (lambda data: data[:47], "too few"),
        (lambda data: b"PK" + data[2:], "wrong first bytes"),
        (lambda data: data[:8] + b"\2" + data[9:], "version 2; this ska_edge reads version 1"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "checksum does not match"),
        (lambda data: data[:-1], "checksum does not match"),
        (lambda data: data + b"\0", "checksum does not match"),
        (lambda data: sealed(_header(data), parts_of(data).body[:-1]), "the file holds"),
        (lambda data: sealed(_header(data), parts_of(data).body + b"\0"), "the file holds"),
        (lambda data: sealed(_header(data) + b" ", parts_of(data).body), "not canonical JSON"),
        (
            lambda data: sealed(_header(data).replace(b'"meta":{}', b'"meta":{"a":1,"a":1}'), parts_of(data).body),
            "canon",
        ),
        (lambda data: sealed(_header(data).replace(b"1.0", b"1.00"), parts_of(data).body), "not canonical JSON"),
        (lambda data: sealed(_header(data).replace(b"1.0", b"1e999"), parts_of(data).body), "encoding: low"),
        (lambda data: sealed(_header(data).replace(b"1.0", b"NaN"), parts_of(data).body), "no JSON"),
        (lambda data: sealed(_header(data).replace(b'"meta":{}', b'"meta":{"a":1e999}'), parts_of(data).body), "canon"),
        (lambda data: sealed(_header(data).replace(b"1.0", b"\xff"), parts_of(data).body), "no JSON"),
        (lambda data: sealed(b"[" * 100_000, b""), "no JSON"),
        (lambda data: sealed(b"9" * 100_000, b""), "no JSON"),
        (lambda data: sealed(b"[]", b""), "expected an object"),
    ],
)
def test_a_file_that_is_wrong_is_refused(small: bytes, damage: Callable[[bytes], bytes], message: str) -> None:
    with pytest.raises(FileError, match=f"^data: .*{message}"):
        decode(damage(small))


def test_a_header_longer_than_its_file_is_refused(small: bytes) -> None:
    content = small[:12] + (len(small)).to_bytes(4, "little") + small[16:-32]
    with pytest.raises(FileError, match=r"header of \d+ bytes in a file of"):
        decode(content + hashlib.sha256(content).digest())


def test_a_header_too_long_is_not_written(small: bytes) -> None:
    program = decode(small)
    with pytest.raises(ProgramError, match=f"allowed are {MAX_HEADER_BYTES}"):
        encode(Program(program.tensors, program.sections, program.values, meta={"a": "a" * MAX_HEADER_BYTES}))


def test_a_padding_nibble_that_is_not_zero_is_refused() -> None:
    fmt = Format(4, 0)
    tensors = (Tensor("w", (3,), fmt, Role.STATE), Tensor("y", (3,), fmt, Role.SCRATCH))
    parts = parts_of(encode(Program(tensors, {"learn": (Scale("y", "w"),)}, {"w": np.array([1, 2, 3])})))
    assert parts.body == b"\x21\x03"
    with pytest.raises(FileError, match="a padding nibble is not zero"):
        decode(parts._replace(body=b"\x21\x13").file())


def test_a_value_beyond_its_format_is_refused() -> None:
    tensors = (Tensor("w", (2,), Format(63, 0, signed=False), Role.STATE),)
    parts = parts_of(encode(Program(tensors, {}, {"w": np.array([1, 2])})))
    with pytest.raises(FileError, match="does not fit u63"):
        decode(parts._replace(body=parts.body[:-1] + b"\x80").file())


# --- hostile but well-formed ------------------------------------------------------------------------------------------


def hostile(tensors: tuple[Tensor, ...], sections: dict[str, Any], body: bytes) -> bytes:
    """A file no `Program` would have been written to."""
    structure = {
        "encoding": [0.0, 1.0, [0.0]],
        "sections": {name: [op_to_json(op) for op in ops] for name, ops in sections.items()},
        "tensors": [tensor_to_json(tensor) for tensor in tensors],
    }
    return Parts({"meta": {}, "program": structure}, body).file()


def refused_quickly(data: bytes, message: str) -> None:
    """FileError, in a second, without much memory."""
    tracemalloc.start()
    start = time.perf_counter()
    try:
        with pytest.raises(FileError, match=message):
            decode(data)
        assert time.perf_counter() - start < SECONDS
        assert tracemalloc.get_traced_memory()[1] < BYTES + 20 * len(data)
    finally:
        tracemalloc.stop()


def test_scratch_that_no_file_pays_for_is_refused() -> None:
    scratch = tuple(Tensor(f"s{i}", (1 << 20, 64), Format(64, 0), Role.SCRATCH) for i in range(4000))
    refused_quickly(hostile(scratch, {"learn": ()}, b""), "more than .* elements")


def test_a_contraction_that_never_ends_is_refused() -> None:
    """Two operands of 2^22 elements and no axis in common: 2^44 products."""
    fmt = Format(8, 0)
    tensors = (
        Tensor("one", (), fmt, Role.CONST),
        Tensor("a", (1 << 22,), fmt, Role.SCRATCH),
        Tensor("b", (1 << 22,), fmt, Role.SCRATCH),
        Tensor("y", (), fmt, Role.SCRATCH),
    )
    ops = (Scale("a", "one"), Scale("b", "one"), Contract("y", "a", "b", "i,j->"))
    refused_quickly(hostile(tensors, {"learn": ops}, b"\1"), "elementary steps a run")


def test_flows_that_never_end_are_refused() -> None:
    z, neurons = Format(2, -12), 1 << 20
    tensors = (
        Tensor("zero", (), z, Role.CONST),
        Tensor("table", (2,), Format(16, -15), Role.CONST),
        Tensor("t", (), Format(16, 0, signed=False), Role.STATE, Kind.COUNTER),
        Tensor("z", (neurons,), z, Role.SCRATCH),
        Tensor("s", (neurons,), z, Role.SCRATCH),
        Tensor("d", (neurons,), z, Role.SCRATCH),
        Tensor("e", (), Format(64, -27), Role.OUTPUT),
    )
    flow = Flow("s", "d", "e", "z", "zero", "table", "t", 0, 0, 4096, 0, 1, 0, 0)
    refused_quickly(hostile(tensors, {"learn": (Scale("z", "zero"), *[flow] * 2)}, bytes(7)), "elementary steps a run")


def test_a_table_named_many_times_is_proved_quickly() -> None:
    """Proving a look-up takes the table's length; a few hundred kilobytes must not buy minutes of it."""
    tensors = (
        Tensor("x", (), Format(8, 0), Role.INPUT),
        Tensor("table", (1 << 17,), Format(8, 0), Role.CONST),
        Tensor("y", (), Format(8, 0), Role.SCRATCH),
    )
    data = hostile(tensors, {"learn": (Lut("y", "x", "table", 0, 0),) * 1000}, bytes(1 << 17))
    start = time.perf_counter()
    decode(data)
    assert time.perf_counter() - start < 2 * SECONDS


# --- mutations --------------------------------------------------------------------------------------------------------


def flip(data: bytes, source: random.Random) -> bytes:
    """One to eight bits flipped."""
    changed = bytearray(data)
    for _ in range(source.choice((1, 1, 2, 8))):
        changed[source.randrange(len(changed))] ^= 1 << source.randrange(8)
    return bytes(changed)


def truncate(data: bytes, source: random.Random) -> bytes:
    """Cut off anywhere, or near the end."""
    return data[: source.choice((source.randrange(len(data)), len(data) - source.randint(1, 40)))]


def insert(data: bytes, source: random.Random) -> bytes:
    """Random bytes in between."""
    at = source.randint(0, len(data))
    return data[:at] + source.randbytes(source.choice((1, 4, 100))) + data[at:]


def repeat(data: bytes, source: random.Random) -> bytes:
    """A block copied to some other place, over what was there or between it."""
    start, at = source.randrange(len(data)), source.randrange(len(data))
    block = data[start : start + source.choice((1, 8, 64, 1000))]
    return data[:at] + block + data[at + source.choice((0, len(block))) :]


def remove(data: bytes, source: random.Random) -> bytes:
    """A block gone."""
    at = source.randrange(len(data))
    return data[:at] + data[at + source.choice((1, 2, 16, 200)) :]


BYTE_MUTATIONS = (flip, flip, truncate, insert, repeat, remove)
_NUMBERS = (
    0,
    1,
    -1,
    2,
    3,
    7,
    8,
    15,
    16,
    31,
    32,
    63,
    64,
    255,
    4096,
    1 << 16,
    1 << 24,
    1 << 31,
    1 << 62,
    1 << 63,
    1 << 70,
)
_OTHERS: tuple[Any, ...] = (
    None,
    True,
    False,
    "",
    "t",
    "x",
    "learn",
    0.5,
    -0.0,
    1e300,
    [],
    {},
    [1],
    [[]],
    {"a": 1},
    "\u0000",
    "a" * 300,
)


def mutated_header(tree: Any, source: random.Random) -> None:
    """One to three changes somewhere in a header."""
    for _ in range(source.choice((1, 1, 1, 2, 3))):
        container, key = descend(tree, source)
        value = container[key]
        if type(value) is int and source.random() < 0.6:
            container[key] = source.choice(
                (value + 1, value - 1, 2 * value, -value, value ^ 1, source.choice(_NUMBERS))
            )
        elif type(value) is str and source.random() < 0.5:
            other, at = descend(tree, source)
            container[key] = other[at] if type(other[at]) is str else value + "x"
        else:
            change_shape(tree, container, key, source)


def descend(tree: Any, source: random.Random) -> tuple[Any, Any]:
    """Some place in a tree: a container and a key in it."""
    container: Any = {"": tree}
    key: Any = ""
    while (
        isinstance(container[key], dict | list) and container[key] and (container[key] is tree or source.random() < 0.9)
    ):
        container = container[key]
        key = source.choice(sorted(container)) if isinstance(container, dict) else source.randrange(len(container))
    return container, key


def copied(tree: Any) -> Any:
    """Another tree that is equal."""
    return json.loads(json.dumps(tree))


def change_shape(tree: Any, container: Any, key: Any, source: random.Random) -> None:
    """Something of another type, or more, or less."""
    kind = source.randrange(5)
    if kind == 0:
        container[key] = source.choice(_NUMBERS)
    elif kind == 1:
        container[key] = copied(source.choice(_OTHERS))
    elif kind == 2:
        del container[key]
    elif kind == 3:
        other, at = descend(tree, source)
        container[key] = copied(other[at])
    elif isinstance(container, list):
        container.insert(key, copied(container[source.randrange(len(container))]))
    else:
        container[source.choice(("a", "op", "shape", "learn", "infer", key + "x"))] = copied(container[key])


class Mutant(NamedTuple):
    """A file, and whether its checksum is right all the same."""

    data: bytes
    resealed: bool


def mutate(base: bytes, source: random.Random) -> Mutant:
    """A damaged file, or a hostile one."""
    kind = source.random()
    if kind < 0.4:
        return Mutant(source.choice(BYTE_MUTATIONS)(base, source), False)
    if kind < 0.55:
        content = source.choice(BYTE_MUTATIONS)(base[:-32], source)
        return Mutant(content + hashlib.sha256(content).digest(), True)
    parts = parts_of(base)
    if kind < 0.65:
        return Mutant(parts._replace(body=source.choice(BYTE_MUTATIONS)(parts.body, source)).file(), True)
    mutated_header(parts.tree, source)
    try:
        header = canonical_json(parts.tree)
    except ValueError:
        header = b"{}"
    return Mutant(sealed(header, parts.body), True)


@pytest.fixture(scope="module")
def bases() -> list[bytes]:
    """Networks of every rule, and random Programs that hold the primitives networks do not."""
    networks = [
        lower(Network((4, 3, 2)), "w4d8"),
        lower(Network((3, 2), RULES["published"]), "w8d8"),
        lower(Network((3, 2, 2), RULES["guided-code"]), "w16d15"),
    ]
    NumbaExecutor(networks[0]).run("learn")  # compiled here, so that no mutation pays for it
    return [encode(program) for program in [*networks, *(case_of(seed).program for seed in range(8))]]


def test_mutations(bases: list[bytes]) -> None:
    """FileError or a Program; a Program runs; neither takes long or much memory."""
    found: Counter[str] = Counter()
    for number, seed in enumerate(_mutation_seeds()):
        source = random.Random(seed)
        base = source.choice(bases)
        mutant = mutate(base, source)
        with seed_in_message(seed):
            found[check_mutant(base, mutant, measured=number % 50 == 0)] += 1
    assert found["refused"] > 0.5 * MUTATIONS
    assert found["ran"] > 0.02 * MUTATIONS, found


def _mutation_seeds() -> range:
    start = random.SystemRandom().randrange(1 << 40) if THOROUGH else 0
    return range(start, start + MUTATIONS)


def check_mutant(base: bytes, mutant: Mutant, measured: bool) -> str:
    """What became of a mutant: refused, the same, or run."""
    if measured:
        tracemalloc.start()
    start = time.perf_counter()
    try:
        program = decode(mutant.data)
        executor = NumbaExecutor(program)
        if "learn" in program.sections:
            executor.run("learn")
    except FileError:
        return "refused"
    finally:
        taken = time.perf_counter() - start
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert taken < SECONDS
        assert peak < BYTES
    if not mutant.resealed:
        original = decode(base)
        assert program.program_digest == original.program_digest
        assert program.state_digest == original.state_digest
        return "the same"
    check_against_oracle(program, executor)
    return "ran"


def check_against_oracle(program: Program, executor: NumbaExecutor) -> None:
    """A Program that nobody wrote is still run as SPEC.md says."""
    oracle = Interpreter(program)
    for tensor in program.of_role(Role.INPUT):
        oracle.write(tensor.name, np.full(tensor.shape, max(tensor.format.lo, 0), np.int64))
    if "learn" in program.sections:
        oracle.run("learn")
    assert program.digest_of(oracle.state()) == program.digest_of(executor.state())
