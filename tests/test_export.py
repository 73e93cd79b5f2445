"""Exported libraries, as their users meet them: compiled by their own build files, run, equal to the oracle."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import shutil
import subprocess
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from test_c import installed
from test_cli import call, call_json, refused

from ska_edge import Learner, Network, codec, load, lower, rule_named
from ska_edge.data import Dataset, load_dataset
from ska_edge.errors import DataError, FileError, ProgramError, SkaError
from ska_edge.export import FORMATS, export
from ska_edge.export.encoding import integer_encoding
from ska_edge.export.example import make_example
from ska_edge.export.package import camel_case
from ska_edge.learner import encode
from ska_edge.operations import Kind
from ska_edge.profiles import PROFILES
from ska_edge.program import Encoding, Program
from ska_edge.rules import PublishedBatch

ROOT = Path(__file__).parent.parent
ARDUINO = Path("/usr/share/arduino/hardware/arduino/avr")
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror")
AS_ARDUINO = (
    "-mmcu=atmega328p",
    "-Os",
    "-ffunction-sections",
    "-fdata-sections",
    "-DF_CPU=16000000L",
    "-DARDUINO=10819",
)


def run(*command: object, cwd: Path | None = None, seconds: float = 120) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=cwd, timeout=seconds)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "digits.ska"
    call_json("train", "--dataset", "digits", "--passes", 1, "--out", path)
    return path


@pytest.fixture(scope="module")
def program(model: Path) -> Program:
    return load(model)


@pytest.fixture(scope="module")
def folders(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The model in every format."""
    parent = tmp_path_factory.mktemp("exported")
    for name in FORMATS:
        call_json("export", name, model, "--out", parent / name)
    return {name: parent / name for name in FORMATS}


def said(output: str) -> str:
    """The CRC-32 that an example printed; it must have said that it is the expected one."""
    found = re.search(r"state crc32 ([0-9a-fA-F]{8}), expected ([0-9a-fA-F]{8}): equal", output)
    assert found, output
    assert found[1] == found[2]
    return found[1].lower()


def state_crc(program: Program, count: int = 20) -> str:
    """What the oracle's state has after the example's samples, packed here and not by the export."""
    data = load_dataset("digits")
    assert data.labels is not None
    from ska_edge.data import split
    from ska_edge.fixed import pack
    from ska_edge.operations import Role
    from ska_edge.plan import plan

    rows = split(data, 0, 0.2).test[:count]
    learner = Learner(program, "oracle")
    learner.learn_many(data.samples[rows], data.labels[rows])
    state, layout = learner.executor.state(), plan(program)
    image = bytearray(layout.fixed_bytes - layout.state_start)
    for tensor in program.of_role(Role.STATE):
        packed = pack(state[tensor.name], tensor.format)
        start = layout.fixed[tensor.name] - layout.state_start
        image[start : start + len(packed)] = packed
    return f"{zlib.crc32(image):08x}"


class TestC:
    def test_its_makefile_builds_and_its_example_is_equal(self, folders: dict[str, Path], program: Program) -> None:
        installed("gcc")
        installed("make")
        output = run("make", "-s", "CFLAGS=-O2 -Wsign-conversion", cwd=folders["c"])
        assert said(output) == state_crc(program)
        assert program.program_digest in output
        assert output.count("sample ") == 20
        run("make", "-s", "clean", cwd=folders["c"])

    @pytest.mark.parametrize("compiler", ["gcc", "clang"])
    def test_it_compiles_without_anything_of_ours(
        self, folders: dict[str, Path], compiler: str, tmp_path: Path
    ) -> None:
        installed(compiler)
        library = folders["c"]
        sources = [*library.glob("src/*.c"), library / "example" / "main.c"]
        out = tmp_path / "learn"
        run(
            compiler,
            *STRICT,
            "-O1",
            "-fsanitize=undefined",
            "-fno-sanitize-recover=all" if compiler == "gcc" else "-fsanitize-trap=undefined",
            f"-I{library / 'src'}",
            *sources,
            "-o",
            out,
        )
        said(run(out))

    def test_cmake(self, folders: dict[str, Path], tmp_path: Path) -> None:
        installed("gcc")
        if shutil.which("cmake") is None:
            pytest.skip("cmake is not installed; the Makefile builds the same sources")
        run("cmake", "-S", folders["c"], "-B", tmp_path)
        run("cmake", "--build", tmp_path, "--target", "ska_digits_learn")
        said(run(tmp_path / "ska_digits_learn"))

    @pytest.mark.parametrize(
        ("compiler", "flags"),
        [
            ("arm-none-eabi-gcc", ("-mcpu=cortex-m0plus", "-mthumb")),
            ("arm-none-eabi-gcc", ("-mcpu=cortex-m4", "-mthumb")),
            ("avr-gcc", ("-mmcu=atmega328p",)),
            ("riscv64-unknown-elf-gcc", ("-march=rv32imac", "-mabi=ilp32", "-ffreestanding")),
        ],
    )
    def test_it_compiles_for_chips(
        self, folders: dict[str, Path], compiler: str, flags: Sequence[str], tmp_path: Path
    ) -> None:
        installed(compiler)
        for source in folders["c"].glob("src/*.c"):
            out = tmp_path / f"{source.stem}.o"
            run(compiler, *STRICT, "-Os", *flags, f"-I{folders['c'] / 'src'}", "-c", source, "-o", out)

    @pytest.mark.parametrize("profile", PROFILES)
    def test_every_profile(self, profile: str, tmp_path: Path) -> None:
        installed("gcc")
        data = load_dataset("digits")
        assert data.labels is not None
        network = Network((64, 12, 10), rule_named("guided"))
        program = lower(network, profile, data.samples[:200], data.labels[:200], data.encoding())
        done = export(program, "c", tmp_path / "lib", "any", data)
        assert done.example.source == "digits"
        run("make", "-s", "learn", cwd=tmp_path / "lib")
        assert said(run(tmp_path / "lib" / "learn")) == f"{done.example.state_crc:08x}"

    def test_without_heads_or_data(self, tmp_path: Path) -> None:
        installed("gcc")
        done = export(lower(Network((8, 5, 3), rule_named("guided", heads="code"))), "c", tmp_path / "lib", "toy")
        assert done.example.source.startswith("made up")
        run("make", "-s", "learn", cwd=tmp_path / "lib")
        said(run(tmp_path / "lib" / "learn"))

    def test_a_flipped_bit_in_a_kernel_is_noticed(self, folders: dict[str, Path], tmp_path: Path) -> None:
        installed("gcc")
        wrong = tmp_path / "wrong"
        shutil.copytree(folders["c"], wrong)
        kernel = wrong / "src" / "kernels" / "arithmetic.h"
        text = kernel.read_text()
        assert "53685U" in text
        kernel.write_text(text.replace("53685U", "53684U"))
        run("make", "-s", "learn", cwd=wrong)
        done = subprocess.run([wrong / "learn"], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "DIFFERENT" in done.stdout


class TestArduino:
    def test_layout(self, folders: dict[str, Path], program: Program) -> None:
        library = folders["arduino"]
        lines = (library / "library.properties").read_text().splitlines()
        properties = dict(line.split("=", 1) for line in lines)
        wanted = "name version author maintainer sentence paragraph category url architectures includes"
        assert set(properties) == set(wanted.split())
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", properties["name"])
        assert (library / "src" / properties["includes"]).is_file()
        assert program.program_digest in (library / "src" / properties["includes"]).read_text()
        assert (library / "examples" / "LearnDigits" / "LearnDigits.ino").is_file()
        assert [path.name for path in (library / "src").iterdir() if path.is_file()] == ["SkaDigits.h"]

    def test_the_sketch_learns_on_an_atmega328p(
        self, folders: dict[str, Path], program: Program, tmp_path: Path
    ) -> None:
        """Compiled against the Arduino core as the IDE does it, linked, run in simavr: equal, in 2 KB of RAM."""
        for tool in ("avr-g++", "avr-gcc", "simavr"):
            installed(tool)
        if not ARDUINO.is_dir():
            pytest.skip("Arduino core: not installed; Debian package arduino-core-avr")
        image = self.build(folders["arduino"], tmp_path)
        sizes = run("avr-size", image).splitlines()[1].split()
        assert int(sizes[0]) + int(sizes[1]) < 16_000
        assert int(sizes[1]) + int(sizes[2]) < 2048 - 256, "leaves 256 bytes of stack"
        assert said(self.simulate(image)) == state_crc(program)

    def build(self, library: Path, folder: Path) -> Path:
        core, variant = ARDUINO / "cores" / "arduino", ARDUINO / "variants" / "standard"
        flags = (*AS_ARDUINO, f"-I{core}", f"-I{variant}", f"-I{library / 'src'}")
        objects: list[Path] = []

        def compile(source: Path, *more: object) -> None:
            objects.append(folder / f"{len(objects)}.o")
            plus = source.suffix == ".cpp"
            tool = ("avr-g++", "-std=gnu++11", "-fno-exceptions", "-fno-threadsafe-statics") if plus else ("avr-gcc",)
            run(*tool, *flags, *more, "-c", source, "-o", objects[-1])

        sketch = next(library.glob("examples/*/*.ino"))
        main = folder / "sketch.cpp"
        main.write_text(f"#include <Arduino.h>\n{sketch.read_text()}")
        compile(main, "-Wall", "-Wextra", "-Werror", f"-I{sketch.parent}")
        for source in library.glob("src/**/*.c"):
            compile(source, "-std=c99", "-Wall", "-Wextra", "-Werror")
        for name in (
            "main.cpp",
            "HardwareSerial.cpp",
            "HardwareSerial0.cpp",
            "Print.cpp",
            "abi.cpp",
            "hooks.c",
            "wiring.c",
        ):
            compile(core / name, "-w")
        image = folder / "sketch.elf"
        run("avr-gcc", "-mmcu=atmega328p", "-Wl,--gc-sections", *objects, "-o", image)
        return image

    def simulate(self, image: Path) -> str:
        """What the sketch prints; simavr goes on for ever, so it is stopped at the last line."""
        command = ["simavr", "-m", "atmega328p", "-f", "16000000", str(image)]
        output = ""
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            assert process.stdout
            try:
                for line in process.stdout:
                    output += line
                    if "expected" in line:
                        break
            finally:
                process.kill()
        return output

    def test_the_header_is_fit_for_cplusplus(self, folders: dict[str, Path], tmp_path: Path) -> None:
        """C++ calls the C library: linked, so that a missing extern "C" would show."""
        installed("g++")
        library = folders["arduino"]
        main = tmp_path / "main.cpp"
        main.write_text(
            "#include <SkaDigits.h>\n#include <ska/crc.h>\n"
            "int main() { ska_reset(); ska_feature *x = ska_sample(); x[0] = ska_encode(0, 3);\n"
            "  ska_snapshot_restore(nullptr == x ? nullptr : new ska_flash());\n"
            "  return ska_learn(x, 1) + ska_predict(x) + int(ska_entropy(0)) > 1e9 ? int(*ska_state()) : 0; }\n"
        )
        objects: list[Path] = []
        for source in library.glob("src/**/*.c"):
            objects.append(tmp_path / f"{source.stem}.o")
            run("gcc", *STRICT, f"-I{library / 'src'}", "-c", source, "-o", objects[-1])
        strict = ("-std=c++11", "-Wall", "-Wextra", "-Wconversion", "-Werror")
        run("g++", *strict, f"-I{library / 'src'}", main, *objects, "-o", tmp_path / "main")
        run(tmp_path / "main")


class TestPlatformIO:
    def test_the_manifest(self, folders: dict[str, Path], program: Program) -> None:
        library = folders["platformio"]
        found = json.loads((library / "library.json").read_text())
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]*", found["name"])
        assert re.fullmatch(r"\d+\.\d+\.\d+\S*", found["version"])
        assert isinstance(found["description"], str)
        assert program.program_digest in found["description"]
        assert all(isinstance(word, str) for word in found["keywords"])
        assert found["license"] == "MIT"
        assert (found["frameworks"], found["platforms"]) == ("*", "*")
        for header in found["headers"]:
            assert (library / "src" / header).is_file()
        for example in found["examples"]:
            for file in example["files"]:
                assert (library / example["base"] / file).is_file()
        allowed = "name version description keywords license authors headers frameworks platforms examples"
        assert set(found) <= set(allowed.split())

    def test_the_native_example(self, folders: dict[str, Path], program: Program, tmp_path: Path) -> None:
        installed("gcc")
        library, out = folders["platformio"], tmp_path / "learn"
        sources = [*library.glob("src/**/*.c"), library / "examples" / "native" / "main.c"]
        run("gcc", *STRICT, "-O2", f"-I{library / 'src'}", *sources, "-o", out)
        assert said(run(out)) == state_crc(program)


class TestZephyr:
    def test_the_module(self, folders: dict[str, Path]) -> None:
        yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
        module = folders["zephyr"]
        found = yaml.safe_load((module / "zephyr" / "module.yml").read_text())
        assert found["name"] == "ska_digits"
        assert (module / found["build"]["cmake"] / "CMakeLists.txt").is_file()
        assert (module / found["build"]["kconfig"]).is_file()
        for folder in found["samples"]:
            assert (module / folder).is_dir()
        sample = yaml.safe_load((module / "samples" / "learn" / "sample.yaml").read_text())
        assert "sample.ska_digits.learn" in sample["tests"]

    def test_one_name_in_cmake_kconfig_and_configuration(self, folders: dict[str, Path]) -> None:
        module = folders["zephyr"]
        assert "config SKA_DIGITS\n" in (module / "Kconfig").read_text()
        assert "CONFIG_SKA_DIGITS=y" in (module / "samples" / "learn" / "prj.conf").read_text()
        build = (module / "CMakeLists.txt").read_text()
        assert "if(CONFIG_SKA_DIGITS)" in build
        listed = set(re.findall(r"^    (src/\S+)$", build, re.MULTILINE))
        assert listed == {str(path.relative_to(module)) for path in module.glob("src/*.c")}

    def test_it_compiles_with_the_folders_that_cmake_names(
        self, folders: dict[str, Path], program: Program, tmp_path: Path
    ) -> None:
        installed("gcc")
        installed("arm-none-eabi-gcc")
        module = folders["zephyr"]
        include = [f"-I{module / path}" for path in ("include", "include/ska_digits", "src")]
        sources = list(module.glob("src/*.c"))
        for source in sources:
            arm = ("-mcpu=cortex-m33", "-mthumb", "-Os", *include, "-c", source, "-o", tmp_path / "one.o")
            run("arm-none-eabi-gcc", *STRICT, *arm)
        objects: list[Path] = []
        for source in sources:
            objects.append(tmp_path / f"{source.stem}.o")
            run("gcc", *STRICT, *include, "-c", source, "-o", objects[-1])
        main = module / "samples" / "learn" / "src" / "main.c"
        run("gcc", *STRICT, include[0], main, *objects, "-o", tmp_path / "learn")
        assert said(run(tmp_path / "learn")) == state_crc(program)


class TestEncoding:
    def encode_in_c(
        self, program: Program, folder: Path, steps: Sequence[int]
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        export(program, "c", folder / "lib", "any")
        src, out = folder / "lib" / "src", folder / "encode.so"
        run("gcc", *STRICT, "-shared", "-fPIC", f"-I{src}", src / "encode.c", "-o", out)
        library = ctypes.CDLL(str(out))
        sample = next(program.of_kind(Kind.SAMPLE))
        kinds = {8: (ctypes.c_int8, ctypes.c_uint8), 16: (ctypes.c_int16, ctypes.c_uint16)}
        library.ska_encode.restype = kinds[sample.format.stored_bits][not sample.format.signed]
        library.ska_encode.argtypes = (ctypes.c_uint16, ctypes.c_int32)
        return np.array([[library.ska_encode(i, x) for i in range(sample.size)] for x in steps])

    @pytest.mark.parametrize("profile", PROFILES)
    def test_digits_are_encoded_as_the_host_does(self, profile: str, tmp_path: Path) -> None:
        installed("gcc")
        data = load_dataset("digits")
        program = lower(Network((64, 6, 10)), profile, data.samples, data.labels, data.encoding())
        steps = [-2147483648, -5, *range(17), 17, 2147483647]
        ours = self.encode_in_c(program, tmp_path, steps)
        host = encode(program, np.repeat(np.array(steps, float)[:, None], 64, axis=1))
        assert integer_encoding(program).differing == 0
        assert np.array_equal(ours, host)

    @pytest.mark.parametrize(
        "encoding",
        [
            Encoding(0, 1023),
            Encoding(-40, 85),
            Encoding(0, 255),
            Encoding(-3.7, 4.9),
            Encoding(0, 4095),
            Encoding(0, 1e6),
            Encoding(1e9, 1e9 + 512),
            Encoding(-1e-6, 1e-6),
        ],
    )
    def test_ranges_of_sensors(self, encoding: Encoding, tmp_path: Path) -> None:
        installed("gcc")
        program = lower(Network((2, 3, 2)), encoding=encoding)
        found = integer_encoding(program)
        assert found.most_apart <= 1
        assert found.differing <= 0.01 * found.checked
        steps = list(range(found.low - 2, found.high + 3, max(1, (found.high - found.low) // 500)))
        ours = self.encode_in_c(program, tmp_path, steps)
        real = np.repeat(np.ldexp(np.array(steps, float), -found.scale)[:, None], 2, axis=1)
        assert np.abs(ours - encode(program, real)).max() <= 1


class TestFolders:
    def test_manifest_and_json(self, model: Path, program: Program, tmp_path: Path) -> None:
        out = tmp_path / "a" / "b"
        result = call_json("export", "c", model, "--out", out)
        assert result["program_digest"] == program.program_digest
        assert result["state_digest"] == program.state_digest
        assert result["example"]["state_crc32"] == state_crc(program)
        on_disk = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
        assert on_disk == {*result["files"], "ska-edge.json"}
        for name, digest in result["files"].items():
            assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest
        assert json.loads((out / "ska-edge.json").read_text())["files"] == result["files"]

    def test_same_model_same_bytes(self, program: Program, tmp_path: Path) -> None:
        for name in FORMATS:
            first, second = (export(program, name, tmp_path / f"{name}{i}", "digits").files for i in range(2))
            assert first == second

    def test_the_digest_is_in_every_generated_file_of_the_model(
        self, folders: dict[str, Path], program: Program
    ) -> None:
        for folder in folders.values():
            for name in ("model.h", "model.c", "encode.h", "samples.h"):
                for path in folder.rglob(name):
                    assert program.program_digest in path.read_text(), path

    def test_the_licence_is_ours(self, folders: dict[str, Path]) -> None:
        for folder in folders.values():
            assert (folder / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()

    def test_a_folder_that_is_not_empty(self, model: Path, tmp_path: Path) -> None:
        (tmp_path / "mine.txt").write_text("mine")
        assert "is not empty" in refused("export", "c", model, "--out", tmp_path)
        assert "was not written by an export" in refused("export", "c", model, "--out", tmp_path, "--force")
        assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]

    def test_force_replaces_an_export(self, model: Path, tmp_path: Path) -> None:
        out = tmp_path / "lib"
        call_json("export", "arduino", model, "--out", out)
        assert "--force" in refused("export", "c", model, "--out", out)
        result = call_json("export", "c", model, "--out", out, "--force")
        assert not (out / "library.properties").exists()
        assert set(result["files"]) < {str(path.relative_to(out)) for path in out.rglob("*")}
        assert [path.name for path in tmp_path.iterdir()] == ["lib"]

    def test_an_empty_folder_is_fine(self, model: Path, tmp_path: Path) -> None:
        (tmp_path / "lib").mkdir()
        call_json("export", "zephyr", model, "--out", tmp_path / "lib")

    def test_a_failure_half_way_leaves_what_was_there(
        self, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out = tmp_path / "lib"
        before = export(program, "c", out, "digits").files
        write = Path.write_bytes

        def full(self: Path, *words: object, **more: object) -> int:
            if self.name == "model.c":
                raise OSError(28, "No space left on device")
            return write(self, *words, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(Path, "write_bytes", full)
        with pytest.raises(FileError, match="No space left"):
            export(program, "arduino", out, "digits", force=True)
        monkeypatch.undo()
        assert {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in before} == before
        assert [path.name for path in tmp_path.iterdir()] == ["lib"]

    def test_the_default_folder_and_name(self, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        result = call_json("export", "arduino", model)
        assert result["name"] == "SkaDigits"
        assert (tmp_path / result["out"]).is_dir()
        assert call_json("export", "arduino", model, "--name", "my gesture 2", "--out", "x")["name"] == "SkaMyGesture2"

    def test_for_people(self, model: Path, tmp_path: Path) -> None:
        result = call("export", "c", model, "--out", tmp_path / "lib")
        assert result.exit_code == 0
        assert "20 samples (digits)" in result.stdout


class TestBadInput:
    def test_an_unknown_format(self, model: Path, tmp_path: Path) -> None:
        message = refused("export", "rust", model, "--out", tmp_path / "x")
        assert "'rust'" in message
        assert "c, arduino, platformio, zephyr" in message
        with pytest.raises(SkaError, match="allowed are"):
            export(load(model), "rust", tmp_path / "x", "x")

    def test_a_missing_model(self, tmp_path: Path) -> None:
        assert "no.ska" in refused("export", "c", tmp_path / "no.ska", "--out", tmp_path / "x")

    def test_a_broken_model(self, model: Path, tmp_path: Path) -> None:
        broken = tmp_path / "broken.ska"
        broken.write_bytes(model.read_bytes()[:-40])
        refused("export", "c", broken, "--out", tmp_path / "x")
        assert not (tmp_path / "x").exists()

    def test_a_place_that_cannot_be_written(self, model: Path, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        assert "file" in refused("export", "c", model, "--out", tmp_path / "file")
        assert "file" in refused("export", "c", model, "--out", tmp_path / "file" / "lib")
        if os.geteuid():
            (tmp_path / "closed").mkdir(mode=0o500)
            assert "cannot be written" in refused("export", "c", model, "--out", tmp_path / "closed" / "lib")

    def test_the_papers_schedule_has_no_learn(self, tmp_path: Path) -> None:
        batch = np.random.default_rng(0).random((12, 8))
        program = lower(Network((8, 6, 4), PublishedBatch(rate=0.1, batch=12)), "w16d15", batch)
        codec.save(program, tmp_path / "paper.ska")
        assert "needs infer and learn" in refused("export", "c", tmp_path / "paper.ska", "--out", tmp_path / "x")
        with pytest.raises(ProgramError, match="prime"):
            make_example(program)

    def test_data_of_another_width(self, model: Path, tmp_path: Path) -> None:
        (tmp_path / "rows.csv").write_text("1,2,0\n3,4,1\n")
        message = refused("export", "c", model, "--data", tmp_path / "rows.csv", "--out", tmp_path / "x")
        assert "64 features" in message

    def test_labels_the_model_does_not_have(self) -> None:
        data = Dataset("mine", np.zeros((3, 2)), np.array([0, 1, 2]), 0.0, 1.0)
        with pytest.raises(DataError, match="classes 0 to 1"):
            make_example(lower(Network((2, 3, 2))), data)

    def test_data_without_labels(self, tmp_path: Path) -> None:
        data = Dataset("mine", np.random.default_rng(0).random((5, 4)), None, 0.0, 1.0)
        example = make_example(lower(Network((4, 3, 2))), data)
        assert example.labels == (-1,) * 5

    def test_notes_cannot_leave_their_comment(self, program: Program, tmp_path: Path) -> None:
        installed("gcc")
        notes = {"dataset": "x */ #error /* \n*\\\n/ int main", "seed": -1, "test_share": "all"}
        export(program.with_state(program.initial_state(), notes), "c", tmp_path / "lib", "*/ #error")
        run("make", "-s", cwd=tmp_path / "lib")

    @pytest.mark.parametrize("name", ["digits", "9lives", "*/ evil", "a" * 200, "Größe", ""])
    def test_names(self, name: str) -> None:
        assert re.fullmatch(r"Ska[A-Za-z0-9]{1,37}", camel_case(name))
