"""The firmware in QEMU and simavr against the oracle: equal states, and emulators that fail as they should."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from firmware_tools import digits_model, digits_stream, learnt_digest, needed, noise
from programs import check_in_step

from firmware_sim.catalogue import load_board
from ska_edge import Network, codec, lower
from ska_edge.backends import NAMES, open_executor
from ska_edge.backends.c.emulated import EmulatedExecutor, QemuM3
from ska_edge.cli import main
from ska_edge.device import DeviceError, LinkError
from ska_edge.emulator import BOARDS, Emulation, find_emulator
from ska_edge.errors import MissingError, SkaError
from ska_edge.fixed import Format, IntArray
from ska_edge.operations import Contract, Kind, OuterUpdate, Role, Tensor
from ska_edge.program import Program
from ska_edge.toolchain import INCLUDE, find_compiler
from ska_edge.verify import verify

SAMPLES = 30
TARGETS = tuple(BOARDS)


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> str:
    installed(request.param)
    return str(request.param)


def installed(name: str) -> None:
    needed(lambda: find_emulator(load_board(BOARDS[name])))
    needed(lambda: find_compiler("avr-gcc" if name.startswith("simavr") else "zig"))


def opened(name: str) -> EmulatedExecutor:
    executor = open_executor(name, digits_model())
    assert isinstance(executor, EmulatedExecutor)
    return executor


def test_every_target_has_its_name() -> None:
    assert set(TARGETS) <= set(NAMES)


def test_equals_the_oracle(target: str) -> None:
    """First operation by operation, then as a stream, then the state; and the stack was never near its end."""
    program, stream = digits_model(), digits_stream()
    oracle = open_executor("oracle", program)
    with opened(target) as executor:
        for name, values in stream.items():
            executor.write(name, values[0])
            oracle.write(name, values[0])
        for position, op in enumerate(program.sections["learn"]):
            for one in (executor, oracle):
                one.run("learn", position, position + 1)
            for tensor in op.outputs().values():
                assert (executor.read(tensor) == oracle.read(tensor)).all(), f"learn[{position}] {op.verb}: {tensor}"
        rest = {name: values[1:SAMPLES] for name, values in stream.items()}
        out = executor.stream("learn", rest, ["decision", "choice", "entropy1"])
        expected = oracle.stream("learn", rest, ["decision", "choice", "entropy1"])
        for name, values in out.items():
            assert (values == expected[name]).all(), name
        assert program.digest_of(executor.state()) == program.digest_of(oracle.state()) == learnt_digest(SAMPLES)
        total, used = executor.device.stack()
        assert 0 < used < total - 100
        assert executor.device.repeats == 0


def runs_of_synapses(lengths: Sequence[int], neurons: int = 7) -> tuple[Program, dict[str, IntArray]]:
    """Sums that are stored as they are, and learning that saturates, over runs of every length modulo eight."""
    source, tensors, ops = np.random.default_rng(5), [], []
    held: dict[Role, dict[str, IntArray]] = {role: {} for role in Role}

    def tensor(name: str, shape: tuple[int, ...], bits: int, role: Role, signed: bool = True) -> str:
        fmt = Format(bits, 0, signed)
        tensors.append(Tensor(name, shape, fmt, role, {"t": Kind.COUNTER, "sample": Kind.SAMPLE}.get(name, Kind.OTHER)))
        if role is not Role.OUTPUT:
            ends, values = source.choice((fmt.lo, fmt.hi), shape), source.integers(fmt.lo, fmt.hi, shape, endpoint=True)
            held[role][name] = np.where(source.random(shape) < 0.2, ends, values)
        return name

    tensor("t", (), 16, Role.STATE, signed=False)
    tensor("sample", (1,), 8, Role.INPUT)  # firmware has one
    for n in lengths:
        for w_bits, x_bits, signed in ((16, 16, True), (16, 8, True), (16, 8, False), (8, 8, True), (8, 8, False)):
            tail = f"{w_bits}_{x_bits}{'s' if signed else 'u'}_{n}"
            w = tensor(f"w{tail}", (neurons, n), w_bits, Role.STATE)
            x = tensor(f"x{tail}", (n,), x_bits, Role.INPUT, signed)
            s = tensor(f"s{tail}", (neurons,), 16, Role.INPUT)
            z = tensor(f"z{tail}", (neurons,), 64 if w_bits == 16 else 32, Role.OUTPUT)
            ops += [Contract(z, w, x, "oi,i->o"), OuterUpdate(w, s, x, "t", 16), OuterUpdate(w, s, x, "t", 13)]
    return Program(tuple(tensors), {"learn": tuple(ops)}, held[Role.STATE]), held[Role.INPUT]


def test_runs_of_synapses_are_exact(target: str) -> None:
    """What networks round away: the last bit of a sum, weights at both ends, factors of 16 bits."""
    program, inputs = runs_of_synapses((1, 5) if "atmega" in target else (1, 2, 7, 8, 20, 37))
    with open_executor(target, program) as executor:  # type: ignore[attr-defined]
        check_in_step(executor, program, "learn", [inputs, {}])


def test_one_lsb_in_a_kernel_is_caught(target: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    changed = tmp_path / "csrc"
    shutil.copytree(INCLUDE, changed)
    kernel = changed / "kernels/outer_update.h"
    text = kernel.read_text()
    assert "SKA_LOAD(SKA_S, s, j);" in text
    kernel.write_text(text.replace("SKA_LOAD(SKA_S, s, j);", "SKA_LOAD(SKA_S, s, j) + 1;"))
    monkeypatch.setattr("ska_edge.toolchain.INCLUDE", changed)
    program = digits_model()
    with opened(target) as executor:
        executor.stream("learn", {name: values[:SAMPLES] for name, values in digits_stream().items()})
        assert program.digest_of(executor.state()) != learnt_digest(SAMPLES)


def test_other_networks_where_memory_allows() -> None:
    """Three layers, 4-bit weights, samples that take more than one frame: what the default network has not."""
    installed("qemu-m3")
    program = lower(Network((1500, 9, 7, 5)), "w4d8")
    stream = noise(program, 3)
    oracle = open_executor("oracle", program)
    with open_executor("qemu-m3", program) as executor:  # type: ignore[attr-defined]
        for one in (executor, oracle):
            one.stream("learn", stream, ["choice"])
        assert program.digest_of(executor.state()) == program.digest_of(oracle.state())


def test_gcc_makes_the_same_bits() -> None:
    installed("qemu-m3")
    needed(lambda: find_compiler("arm-none-eabi-gcc"))
    program = digits_model()
    with QemuM3(program, compiler="gcc", optimise="3") as executor:
        executor.stream("learn", {name: values[:SAMPLES] for name, values in digits_stream().items()})
        assert program.digest_of(executor.state()) == learnt_digest(SAMPLES)


class TestFailures:
    def test_a_dead_emulator_is_an_error_with_its_name(self) -> None:
        installed("qemu-m3")
        executor = opened("qemu-m3")
        os.killpg(executor.emulation.link._process.pid, signal.SIGKILL)
        with pytest.raises(LinkError, match=r"qemu-m3: .*ended with -9"):
            executor.read("W1")
        executor.close()
        executor.close()

    def test_a_stopped_emulator_is_no_hang(self) -> None:
        installed("qemu-m3")
        with opened("qemu-m3") as executor:
            executor.device.timeout, executor.device.retries = 0.1, 1
            os.killpg(executor.emulation.link._process.pid, signal.SIGSTOP)
            with pytest.raises(DeviceError, match=r"qemu-m3: no answer to peek, asked 2 times"):
                executor.read("W1")

    def test_nothing_runs_on(self) -> None:
        installed("qemu-m3")
        with opened("qemu-m3") as executor:
            process = executor.emulation.link._process
        assert process.returncode is not None

    def test_nothing_outlives_a_killed_parent(self, tmp_path: Path) -> None:
        installed("qemu-m3")
        if shutil.which("setpriv") is None:
            pytest.skip("setpriv is not installed; Debian package util-linux")
        codec.save(digits_model(), tmp_path / "m.ska")
        script = (
            "import sys, time; from ska_edge import codec; from ska_edge.emulator import Emulation\n"
            "emulation = Emulation(codec.load(sys.argv[1]), 'qemu-m3')\n"
            "print(emulation.link._process.pid, flush=True); time.sleep(60)"
        )
        with subprocess.Popen([sys.executable, "-c", script, tmp_path / "m.ska"], stdout=subprocess.PIPE) as parent:
            assert parent.stdout is not None
            child = int(parent.stdout.readline())
            assert Path(f"/proc/{child}").exists()
            parent.kill()
        until = time.monotonic() + 5
        while Path(f"/proc/{child}/exe").exists() and time.monotonic() < until:
            time.sleep(0.05)
        assert not Path(f"/proc/{child}/exe").exists()

    def test_a_missing_emulator_names_its_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("shutil.which", lambda name: None)
        monkeypatch.setattr("ska_edge.emulator.SIMAVR_HEADER", Path("/nowhere"))
        for name in TARGETS:
            with pytest.raises(MissingError, match="Debian package"):
                Emulation(digits_model(), name)

    def test_what_does_not_fit_is_skipped_by_name(self) -> None:
        program = lower(Network((64, 100, 10)))
        found = verify(program, ["oracle", "simavr-atmega328p"], noise(program, 2), 2)
        assert list(found.executors) == ["oracle"]
        assert "arduino_uno" in found.skipped["simavr-atmega328p"]

    def test_a_board_without_emulator(self) -> None:
        with pytest.raises(SkaError, match="no emulator"):
            find_emulator(load_board("rpi_pico"))


def test_learns_from_the_command_line_on_2_kb(tmp_path: Path) -> None:
    """The shipped image, without the test bench: learns, comes home, and decides better than before."""
    installed("simavr-atmega328p")
    program, model, out = digits_model(), tmp_path / "m.ska", tmp_path / "learnt.ska"
    codec.save(program, model)
    words = ["device", str(model), "--emulator", "simavr-atmega328p", "learn", "--dataset", "digits"]
    done = CliRunner().invoke(main, [*words, "--samples", "300", "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    learnt = codec.load(out)
    assert learnt.state_digest == learnt_digest(300)
    rest = {"x": digits_stream()["x"][-300:]}
    labels = digits_stream()["label"][-300:]
    right = []
    for one in (program, learnt):
        oracle = open_executor("numba", one)
        right.append(float(np.mean(oracle.stream("infer", rest, ["choice"])["choice"] == labels)))
    assert right[1] > right[0] + 0.2
