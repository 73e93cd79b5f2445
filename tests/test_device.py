"""The device protocol against the real C code, compiled for this machine: lossless lines, bad lines, hostile bytes."""

from __future__ import annotations

import os
import pty
import socket
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from firmware_tools import LossyLink, build_host, connect, digits_model, digits_stream, learnt_digest, needed, noise
from hypothesis import given
from hypothesis import strategies as st

from ska_edge import Network, codec, lower
from ska_edge.backends import open_executor
from ska_edge.cli import main
from ska_edge.device import (
    Device,
    DeviceTimeoutError,
    DigestError,
    Link,
    LinkError,
    RefusedError,
    RestartedError,
    open_link,
)
from ska_edge.device import protocol as p
from ska_edge.toolchain import INCLUDE, find_compiler

THOROUGH = os.environ.get("SKA_EDGE_THOROUGH") == "1"
FUZZED = 1_000_000 if THOROUGH else 100_000
SAMPLES = 40


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_host(digits_model(), tmp_path_factory.mktemp("host"), "-DSKA_STEPPED")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As on an AVR: short frames, no test bench."""
    return build_host(digits_model(), tmp_path_factory.mktemp("small"), "-DSKA_FRAME_BYTES=64")


def learn(device: Device, samples: int = SAMPLES) -> str:
    stream = digits_stream()
    for row in range(samples):
        device.learn(stream["x"][row], int(stream["label"][row]))
    return device.program.digest_of(device.snapshot())


class TestFrames:
    @given(st.binary(min_size=1, max_size=1200))
    def test_round_trip(self, payload: bytes) -> None:
        frame = p.encode_frame(payload)
        assert frame[0] == frame[-1] == 0
        assert 0 not in frame[1:-1]
        assert p.decode_frame(frame[1:-1]) == payload

    @pytest.mark.parametrize("length", [245, 246, 247, 249, 250, 251, 252, 254, 255, 508, 600])
    def test_blocks_without_a_zero(self, length: int) -> None:
        payload = bytes([7]) * length
        assert p.decode_frame(p.encode_frame(payload)[1:-1]) == payload

    @given(st.binary(min_size=1, max_size=60), st.integers(0, 10**6), st.integers(1, 255))
    def test_a_changed_byte_is_noticed(self, payload: bytes, at: int, flip: int) -> None:
        frame = bytearray(p.encode_frame(payload)[1:-1])
        frame[at % len(frame)] ^= flip
        decoded = [p.decode_frame(bytes(piece)) for piece in frame.split(b"\0")]
        assert payload not in decoded
        assert all(piece is None for piece in decoded)

    def test_what_the_device_says_is_what_the_host_reads(self, built: Path) -> None:
        """Every length and every place of a zero, both ways."""
        with Device(digits_model(), connect(built)) as device:
            device.hello()
            room = device.known.data_bytes
            for count in [*range(1, 40), *range(240, 262), room - 4]:
                for zeros in (0, 1, 3):
                    data = np.random.default_rng(count).integers(1, 256, count).astype(np.uint8)
                    data[:: count // zeros + 1 if zeros else count] = 0 if zeros else 1
                    device.poke(0, data.tobytes())
                    assert device.peek(0, count) == data.tobytes()


class TestRequests:
    def test_hello(self, built: Path) -> None:
        with Device(digits_model(), connect(built)) as device:
            said = device.hello()
        assert (said.stepped, said.learns, said.predicts) == (True, True, True)
        assert (said.sample_bytes, said.classes) == (64, 10)
        assert (said.data_bytes, said.entropies, said.arena_bytes, said.state_bytes) == (504, 2, 1409, 1238)

    @pytest.mark.parametrize("which", ["built", "small"])
    def test_learns_as_the_oracle(self, which: str, request: pytest.FixtureRequest) -> None:
        with Device(digits_model(), connect(request.getfixturevalue(which))) as device:
            assert learn(device) == learnt_digest(SAMPLES)
            assert device.repeats == 0

    def test_predictions_decisions_and_entropies(self, built: Path) -> None:
        program, stream = digits_model(), digits_stream()
        oracle = open_executor("oracle", program)
        with Device(program, connect(built)) as device:
            for row in range(10):
                choice = device.learn(stream["x"][row], int(stream["label"][row]))
                out = oracle.stream(
                    "learn", {name: values[row : row + 1] for name, values in stream.items()}, ["choice"]
                )
                assert choice == out["choice"][0]
                assert device.entropies() == [int(oracle.read(name)) for name in ("entropy_class", "entropy1")]
            for row in range(10, 20):
                assert (
                    device.predict(stream["x"][row])
                    == oracle.stream("infer", {"x": stream["x"][row : row + 1]}, ["choice"])["choice"][0]
                )
                assert device.decisions().tolist() == oracle.read("decision").tolist()

    def test_snapshot_restore_reset(self, small: Path) -> None:
        program = digits_model()
        with Device(program, connect(small)) as device:
            learn(device, 20)
            kept = device.snapshot()
            device.reset()
            assert program.digest_of(device.snapshot()) == program.state_digest
            device.restore(kept)
            assert program.digest_of(device.snapshot()) == learnt_digest(20)

    @pytest.mark.parametrize(
        ("command", "data", "why"),
        [
            (99, b"", "no such command"),
            (p.LEARN, b"", "too short"),
            (p.LEARN, bytes([10, 0]), "beyond"),
            (p.LEARN, bytes([254, 255]), "beyond"),
            (p.LEARN, bytes(65), "too short or too long"),
            (p.PREDICT, bytes(63), "too short or too long"),
            (p.SAMPLE, (60).to_bytes(4, "little") + bytes(5), "beyond"),
            (p.SAMPLE, b"\xff\xff\xff\xff\0", "beyond"),
            (p.STATE_OUT, (1238).to_bytes(4, "little") + bytes([1, 0]), "beyond"),
            (p.STATE_OUT, (0).to_bytes(4, "little") + b"\xff\xff", "too long"),
            (p.STATE_IN, (1237).to_bytes(4, "little") + bytes(2), "beyond"),
            (p.STATE_IN, b"\xfe\xff\xff\xff\1\1\1", "beyond"),
            (p.ENTROPIES, bytes([1, 2]), "beyond"),
            (p.DECISIONS, bytes(5), "too short"),
            (p.PEEK, (1400).to_bytes(4, "little") + bytes([10, 0]), "beyond"),
            (p.RUN, bytes(14), "too short"),
            (p.RUN, bytes([1, 0, 0, 28, 0, 129, 5, 0, 0, 1, 0, 0, 0, 0, 0]), "beyond"),
            (p.RUN, bytes([1, 0, 0, 28, 0, 0, 0, 0, 0, 255, 1, 0, 0, 0, 0]), "too long"),
        ],
    )
    def test_refusals(self, built: Path, command: int, data: bytes, why: str) -> None:
        with Device(digits_model(), connect(built)) as device:
            device.hello()
            before = device.snapshot()
            if command < len(p._COMMANDS):
                with pytest.raises(RefusedError, match=why):
                    device.request(command, data)
            else:
                frame = p.encode_frame(bytes([p.VERSION, 1, command, 0]))
                device.link.write(frame)
                answer = p.decode_frame(device.link.read(2).strip(b"\0"))
                assert answer is not None
                assert answer[3] == p.UNKNOWN
            after = device.snapshot()
            assert all((before[name] == after[name]).all() for name in before)

    def test_no_test_bench_without_it(self, small: Path) -> None:
        with Device(digits_model(), connect(small)) as device, pytest.raises(RefusedError, match="no such command"):
            device.peek(0, 1)

    def test_another_program_is_refused(self, built: Path) -> None:
        other = lower(Network((64, 12, 10)))
        with Device(other, connect(built)) as device, pytest.raises(DigestError) as error:
            device.learn(np.zeros(64, np.int64), 0)
        assert other.program_digest in str(error.value)
        assert digits_model().program_digest in str(error.value)

    def test_another_version_is_refused(self, built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(p, "VERSION", 2)
        with (
            Device(digits_model(), connect(built)) as device,
            pytest.raises(p.DeviceError, match="protocol 1, this is 2"),
        ):
            device.hello()

    def test_a_device_that_was_reset_says_so(self, built: Path) -> None:
        with Device(digits_model(), connect(built)) as device:
            device.hello()
            device.link.close()
            device.link = connect(built)
            with pytest.raises(RestartedError, match="was reset"):
                device.learn(digits_stream()["x"][0], 0)
            device.restore(digits_model().initial_state())
            assert learn(device, 10) == learnt_digest(10)

    @pytest.mark.parametrize("shape", [(6, 4, 3), (7, 6, 5, 3)])
    @pytest.mark.parametrize("profile", ["w4d8", "w16d15"])
    def test_other_networks(self, tmp_path: Path, shape: tuple[int, ...], profile: str) -> None:
        program = lower(Network(shape), profile)
        stream = noise(program, 12)
        oracle = open_executor("oracle", program)
        oracle.stream("learn", stream)
        with Device(program, connect(build_host(program, tmp_path))) as device:
            for row in range(12):
                device.learn(stream["x"][row], int(stream["label"][row]))
            assert program.digest_of(device.snapshot()) == program.digest_of(oracle.state())


class TestBadLines:
    @pytest.mark.parametrize("rate", [0.1, 0.3])
    @pytest.mark.parametrize("which", ["built", "small"])
    def test_nothing_is_lost_or_learnt_twice(self, which: str, rate: float, request: pytest.FixtureRequest) -> None:
        link = LossyLink(connect(request.getfixturevalue(which)), rate, seed=int(rate * 10))
        with Device(digits_model(), link, timeout=0.05, retries=60) as device:
            assert learn(device) == learnt_digest(SAMPLES)
            assert link.damaged > 3
            assert device.repeats > 0

    def test_silence_is_an_error(self, built: Path) -> None:
        class Deaf(LossyLink):
            def write(self, data: bytes) -> None:
                pass

        link = Deaf(connect(built), 0, 0)
        device = Device(digits_model(), link, timeout=0.02, retries=2)
        with device, pytest.raises(DeviceTimeoutError, match="no answer to hello, asked 3 times"):
            device.hello()

    def test_a_dead_device_is_an_error_with_its_last_words(self) -> None:
        link = open_dead()
        with (
            Device(digits_model(), link, timeout=5) as device,
            pytest.raises(LinkError, match=r"with 3; it said: ouch"),
        ):
            device.hello()

    def test_no_process_is_left(self, built: Path) -> None:
        link = connect(built)
        assert link.running
        link.close()
        link.close()
        assert link._process.returncode is not None


def open_dead() -> Link:
    from ska_edge.device import ProcessLink

    return ProcessLink(["sh", "-c", "echo ouch >&2; exit 3"])


class TestLinks:
    def serve(self, built: Path, reader: int, writer: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen([str(built)], stdin=reader, stdout=writer)

    def test_unix_socket(self, built: Path, tmp_path: Path) -> None:
        self.talk(built, socket.AF_UNIX, str(tmp_path / "line"))

    def test_tcp(self, built: Path) -> None:
        self.talk(built, socket.AF_INET, ("127.0.0.1", 0))

    def talk(self, built: Path, family: int, address: object) -> None:
        with socket.socket(family, socket.SOCK_STREAM) as server:
            server.bind(address)
            server.listen()
            where = server.getsockname()
            port = f"unix:{where}" if isinstance(where, str) else f"tcp:127.0.0.1:{where[1]}"

            def accept() -> None:
                connection, _ = server.accept()
                with connection:
                    self.serve(built, connection.fileno(), connection.fileno()).wait(30)

            thread = threading.Thread(target=accept)
            thread.start()
            with Device(digits_model(), open_link(port)) as device:
                assert learn(device, 10) == learnt_digest(10)
            thread.join(30)
            assert not thread.is_alive()

    def test_terminal(self, built: Path) -> None:
        ours, theirs = pty.openpty()
        path = os.ttyname(theirs)
        with Device(digits_model(), open_link(path)) as device:
            child = self.serve(built, ours, ours)
            assert learn(device, 10) == learnt_digest(10)
            child.kill()
            child.wait()
        os.close(ours)
        os.close(theirs)

    def test_serial_port(self, built: Path) -> None:
        serial = pytest.importorskip("serial")
        assert serial.__version__
        from ska_edge.device import SerialLink

        ours, theirs = pty.openpty()
        with Device(digits_model(), SerialLink(os.ttyname(theirs), 115200)) as device:
            child = self.serve(built, ours, ours)
            assert learn(device, 10) == learnt_digest(10)
            child.kill()
            child.wait()
        os.close(ours)
        os.close(theirs)

    @pytest.mark.parametrize("port", ["tcp:localhost:x", "tcp:127.0.0.1:1", "unix:/nowhere", "/dev/pts/none"])
    def test_nobody_there(self, port: str) -> None:
        with pytest.raises(LinkError, match=r"allowed is|cannot"):
            open_link(port)


def test_malformed_frames(tmp_path: Path) -> None:
    """10^5 of them, 10^6 with SKA_EDGE_THOROUGH=1, under sanitizers; then a good one works."""
    needed(lambda: find_compiler("gcc"))
    here = Path(__file__).parent
    sanitize = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-static-libasan")
    files = (here / "fuzz_device.c", INCLUDE / "device/protocol.c", INCLUDE / "device/frame.c")
    for number, flags in enumerate((("-DSKA_STEPPED",), ("-DSKA_FRAME_BYTES=112",))):
        fuzzer = build_host(digits_model(), tmp_path, *sanitize, *flags, sources=files)
        done = subprocess.run(
            [fuzzer, str(FUZZED), str(number)], capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr
        answered = int(done.stdout.split()[2])
        assert FUZZED / 10 < answered < FUZZED / 2


class TestCommandLine:
    @pytest.fixture
    def model(self, tmp_path: Path) -> Path:
        codec.save(digits_model(), tmp_path / "m.ska")
        return tmp_path / "m.ska"

    def test_learn_and_take_home(
        self, built: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ska_edge.device.open_link", lambda port, baud: connect(built))
        words = ["device", str(model), "--port", "line"]

        def call(*rest: str) -> str:
            result = CliRunner().invoke(main, [*words, *rest])
            assert result.exit_code == 0, result.output
            return result.stdout

        out = str(tmp_path / "learnt.ska")
        call("learn", "--dataset", "digits", "--samples", str(SAMPLES), "--out", out, "--json")
        learnt = codec.load(out)
        assert learnt.state_digest == learnt_digest(SAMPLES)
        assert learnt.program_digest == digits_model().program_digest
        assert learnt.state_digest in call("restore", out, "--json")
        assert digits_model().state_digest in call("snapshot", "--out", out, "--json")
        assert digits_model().state_digest in call("reset", "--json")
        assert digits_model().program_digest in call("hello")
        assert "entropy1" in call("entropies")
        assert '"accuracy"' in call("predict", "--dataset", "digits", "--json")

    def test_refusals(self, model: Path) -> None:
        def refused(*words: str) -> str:
            result = CliRunner().invoke(main, ["device", str(model), *words])
            assert result.exit_code in (2, 3)
            return result.stderr

        assert "either --port PORT or --emulator NAME" in refused("hello")
        assert "allowed are qemu-m0" in refused("--emulator", "abacus", "hello")
        assert "cannot" in refused("--port", "unix:/nowhere", "hello")


def test_samples_that_do_not_fit_are_refused(built: Path) -> None:
    program = digits_model()
    with Device(program, connect(built)) as device, pytest.raises(Exception, match=r"do not fit|shape"):
        device.learn(np.full(64, 300), 0)
