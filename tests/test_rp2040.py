"""The Pico's flash image in rp2040js, an independent emulator: from its own second stage to equal weights."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from firmware_tools import digits_model, digits_stream, learnt_digest, needed

from ska_edge.device import Device, ProcessLink
from ska_edge.firmware import Image, build
from ska_edge.toolchain import find_compiler

ROOT = Path(__file__).parent.parent
RUNNER = ROOT / "tools" / "rp2040.mjs"
PACKAGES = Path(os.environ.get("SKA_EDGE_RP2040JS", ROOT / "out" / "rp2040js"))
INSTALL = "npm install --prefix out/rp2040js rp2040js@1.4.1"
SAMPLES = 40


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    if shutil.which("node") is None:
        pytest.skip("node is not installed; Debian package nodejs")
    if not (PACKAGES / "node_modules" / "rp2040js").is_dir():
        pytest.skip(f"rp2040js is not installed; {INSTALL}")
    needed(lambda: find_compiler("zig"))
    return build(digits_model(), "rpi_pico", tmp_path_factory.mktemp("pico"))


def command(flash: Path) -> list[str]:
    return ["node", str(RUNNER), str(flash), str(PACKAGES)]


def test_learns_what_the_oracle_learns(image: Image, tmp_path: Path) -> None:
    program, stream = digits_model(), digits_stream()
    link = ProcessLink(command(image.binary), "rp2040js", tmp_path)
    with link:
        device = Device(program, link, 20.0, 2, "rp2040js")
        assert "rpi_pico" in device.hello(timeout=2.0, retries=10).build
        device.repeats = 0
        for row in range(SAMPLES):
            device.learn(stream["x"][row], int(stream["label"][row]))
        assert program.digest_of(device.snapshot()) == learnt_digest(SAMPLES)
        total, used = device.stack()
        assert 0 < used < total - 100
        assert device.repeats == 0
        said = json.loads(re.findall(r"^\{.*\}$", link.last_words(), re.M)[0])
    assert said["clk_sys"] == said["clk_peri"] == image.clock_hz == 125_000_000
    assert abs(said["baud"] / 115_200 - 1) < 0.001
    assert (said["bits"], said["functions"], said["flash"]) == (8, [2, 2], 3)


@pytest.mark.parametrize("at", [3, 60, 254])
def test_a_second_stage_with_a_flipped_bit_does_not_start(image: Image, at: int, tmp_path: Path) -> None:
    flash = bytearray(image.binary.read_bytes())
    flash[at] ^= 1
    broken = tmp_path / "broken.bin"
    broken.write_bytes(flash)
    done = subprocess.run(command(broken), capture_output=True, text=True, check=False, timeout=60, input="")
    assert done.returncode == 4
    assert "checksum is wrong" in done.stderr
