"""The firmware's C, compiled for this machine, against the oracle: vectors, random Programs, networks on digits."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest
from programs import VERBS, Wanted, case_of, check_case, check_in_step, seed_in_message, seeds
from vectors import Vector, check_vector, load_vectors

from ska_edge import Network, lower, rule_named, toolchain
from ska_edge.backends import open_executor
from ska_edge.backends.c.generate import generate
from ska_edge.backends.c.host import GccExecutor, HostExecutor
from ska_edge.data import load_dataset
from ska_edge.errors import MissingError, ProgramError, SkaError
from ska_edge.fixed import IntArray
from ska_edge.learner import encode
from ska_edge.network import parse_shape
from ska_edge.operations import Kind
from ska_edge.profiles import PROFILES
from ska_edge.program import Program
from ska_edge.rules import PublishedBatch
from ska_edge.schedule import BatchLearner
from ska_edge.toolchain import INCLUDE, CompilerError, find_compiler

SANITIZED = ("-O1", "-fsanitize=undefined", "-fno-sanitize-recover=undefined", "-static-libubsan")


def installed(compiler: str) -> None:
    if shutil.which(compiler) is None:
        message = f"compiler: {compiler} is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture(autouse=True)
def gcc() -> None:
    installed("gcc")


def sanitized(program: Program) -> HostExecutor:
    return GccExecutor(program, SANITIZED)


@pytest.mark.parametrize("vector", list(load_vectors()), ids=attrgetter("name"))
def test_vector(vector: Vector) -> None:
    check_vector(lambda program: GccExecutor(program, ("-O0",)), vector)


def possible(seeds: range, wanted: Wanted | None = None) -> Iterator[tuple[int, object]]:
    """The random cases that C has kernels for: all but some with 4-bit rows of odd length."""
    for seed in seeds:
        case = case_of(seed, wanted) if wanted else case_of(seed)
        try:
            generate(case.program)
        except ProgramError:
            continue
        yield seed, case


def test_random_programs_under_the_sanitizer() -> None:
    done = 0
    for seed, case in possible(seeds(24)):
        with seed_in_message(seed):
            check_case(sanitized, case)
        done += 1
    assert done > 12


@pytest.mark.parametrize("verb", VERBS)
def test_every_primitive_by_itself(verb: str) -> None:
    done = 0
    for seed, case in possible(seeds(4), Wanted([verb], (1, 1))):
        with seed_in_message(seed):
            check_case(sanitized, case)
        done += 1
    assert done


def spoil(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on compile a copy of the kernels in which the lattice's A is 53686 instead of 53685."""
    changed = folder / "csrc"
    shutil.copytree(INCLUDE, changed)
    header = changed / "kernels" / "arithmetic.h"
    text = header.read_text()
    assert text.count("53685U") == 1
    header.write_text(text.replace("53685U", "53686U"))
    monkeypatch.setattr(toolchain, "INCLUDE", changed)


def digits(profile: str, rule: str, heads: str | None = None) -> tuple[Program, list[dict[str, IntArray]]]:
    data = load_dataset("digits")
    assert data.labels is not None
    chosen = rule_named(rule, heads=heads)
    encoding = data.encoding(centred=chosen.centred_inputs)
    program = lower(Network((64, 12, 8, 10), chosen), profile, data.samples[:200], data.labels[:200], encoding)
    rows = encode(program, data.samples[:25])
    takes_label = any(program.of_kind(Kind.LABEL))
    return program, [
        {"x": x, **({"label": np.array(label, np.int64)} if takes_label else {})}
        for x, label in zip(rows, data.labels, strict=False)
    ]


@pytest.mark.parametrize("flags", ["-O0", "-O2", "-O3", "-Os"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_networks_learn_the_same_at_every_optimisation(compiler: str, flags: str) -> None:
    from ska_edge.backends.c.host import ClangExecutor

    installed(compiler)
    program, runs = digits("w8d8", "guided")
    executor = (GccExecutor if compiler == "gcc" else ClangExecutor)(program, (flags,))
    check_in_step(executor, program, "learn", runs)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("rule", "heads"), [("guided", None), ("guided", "code"), ("published", None)])
def test_every_rule_and_profile_under_the_sanitizer(profile: str, rule: str, heads: str | None) -> None:
    program, runs = digits(profile, rule, heads)
    check_in_step(sanitized(program), program, "learn", runs)
    check_in_step(sanitized(program), program, "infer", [{"x": run["x"]} for run in runs[:5]])


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    ("shape", "rule", "parameters"),
    [
        ("64-4x4f4-8-10", "homeostatic", {}),
        ("64-4x4k4-8-10", "guided", {"mask": 0.3, "anneal": 4}),
        ("64-4c4s2-4x2f2-8-10", "guided", {"readout": "sum"}),
        ("64-4x4k4-2x4k4-10", "competitive", {}),
        ("64-1x6k8", "novelty", {"conscience": 0.003}),
    ],
    ids=["homeostatic", "competing", "convolution", "competitive", "novelty"],
)
def test_kinds_of_layers_under_the_sanitizer(shape: str, rule: str, parameters: dict[str, float], profile: str) -> None:
    data, chosen = load_dataset("digits"), rule_named(rule, **parameters)
    assert data.labels is not None
    network, encoding = Network(parse_shape(shape), chosen), data.encoding(centred=True)
    program = lower(network, profile, data.samples[:60], data.labels[:60], encoding)
    takes_label = any(program.of_kind(Kind.LABEL))
    runs = [
        {"x": x, **({"label": np.array(number % 3 - 1)} if takes_label else {})}
        for number, x in enumerate(encode(program, data.samples[:8]))
    ]
    check_in_step(sanitized(program), program, "learn", runs)


def test_class_prototypes_above_an_odd_number_of_fields_are_refused_in_four_bits() -> None:
    """With the tensor's name: rows of nibbles are padded to bytes, so that a flat index is no place in memory."""
    program = lower(Network(parse_shape("64-3x3k3-10"), rule_named("competitive")), "w4d8")
    with pytest.raises(ProgramError, match=r"class_W1: 4-bit rows of odd length"):
        generate(program)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_papers_schedule(profile: str) -> None:
    batch = np.random.default_rng(0).random((12, 8))
    program = lower(Network((8, 6, 4), PublishedBatch(rate=0.1, batch=12)), profile, batch, watched=True)
    digests = set()
    for name in ("oracle", "c-gcc"):
        learner = BatchLearner(program, name)
        learner.prime(batch)
        for _ in range(10):
            learner.step()
        digests.add(program.digest_of(learner.executor.state()))
    assert len(digests) == 1


def test_names_formats_and_digest_are_in_the_source() -> None:
    program, _ = digits("w8d8", "guided")
    header, source = generate(program).values()
    assert program.program_digest in header
    assert program.program_digest in source
    for tensor in program.tensors:
        assert tensor.name.replace(".", "_") in source
        assert str(tensor.format) in source


@pytest.mark.parametrize("profile", PROFILES)
def test_static_analysers_have_nothing_to_say(profile: str, tmp_path: Path) -> None:
    installed("cppcheck")
    installed("clang")
    program, _ = digits(profile, "guided")
    for name, text in generate(program).items():
        (tmp_path / name).write_text(text)
    include = f"-I{INCLUDE}"
    for command in (
        ["cppcheck", "--quiet", "--std=c99", "--enable=warning,performance,portability", include, "model.c"],
        ["clang", "--analyze", "-Xanalyzer", "-analyzer-output=text", "-std=c99", include, "model.c"],
    ):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=300)
        assert done.stdout + done.stderr == ""


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_one_bit_changed_in_the_kernels_is_noticed(
    compiler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(compiler)
    program, runs = digits("w8d8", "guided")
    spoil(tmp_path, monkeypatch)
    executor = open_executor(f"c-{compiler}", program)
    with pytest.raises(AssertionError, match="expected"):
        check_in_step(executor, program, "learn", runs)


def test_a_compiler_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    find_compiler.cache_clear()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingError, match="Debian package clang"):
        find_compiler("clang")
    with pytest.raises(SkaError, match="allowed are gcc"):
        find_compiler("tcc")
    find_compiler.cache_clear()


def test_flags_that_a_compiler_refuses() -> None:
    program, _ = digits("w8d8", "guided")
    with pytest.raises(CompilerError, match="no-such-option"):
        GccExecutor(program, ("--no-such-option",))
