"""The exported page in headless Chromium: drawn on, taught, its model downloaded, and learnt again in Numba."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from firmware_tools import needed

from ska_edge import Learner, Network, lower
from ska_edge.cli import main
from ska_edge.codec import decode, encode, save
from ska_edge.data import Dataset, load_dataset, load_file, split
from ska_edge.errors import DataError, MissingError, ProgramError
from ska_edge.export.browser import HELD_OUT, export_browser, held_out, runtime_files
from ska_edge.program import Program
from ska_edge.rules import PublishedBatch

ROOT = Path(__file__).parent.parent
DRIVER = Path(__file__).with_name("browser_page.mjs")
PLAYWRIGHT = ROOT / "out" / "playwright"
CHROMIUM = "chromium"


def trained(profile: str) -> Program:
    """One pass over the digits' learning rows, with the notes that `ska-edge train` leaves."""
    data = load_dataset("digits")
    rows = split(data, 0).learn
    network = Network((64, 16, 10))
    assert data.labels is not None
    learner = Learner(lower(network, profile, data.samples[rows], data.labels[rows], data.encoding(rows)))
    learner.learn_many(data.samples[rows], data.labels[rows])
    return replace(learner.snapshot(), meta={"dataset": "digits", "seed": 0, "test_share": 0.2})


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def browser_tools() -> None:
    for program, package in (("node", "nodejs"), (CHROMIUM, "chromium")):
        if shutil.which(program) is None:
            raise MissingError(f"{program}: not installed; Debian package {package}")
    if not (PLAYWRIGHT / "node_modules" / "playwright-core").is_dir():
        raise MissingError(f"playwright-core: not in {PLAYWRIGHT}; npm install --prefix {PLAYWRIGHT} playwright-core")
    runtime_files()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="module")
def programs() -> dict[str, Program]:
    return {profile: trained(profile) for profile in ("w8d8", "w4d8")}


@pytest.fixture(scope="module")
def seen(folder: Path, programs: dict[str, Program]) -> Iterator[dict[str, Any]]:
    """What the driver saw on two pages, 8-bit and 4-bit, served as files."""
    needed(browser_tools)
    for profile, program in programs.items():
        export_browser(program, folder / "site" / profile, profile)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder / "site")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    try:
        done = subprocess.run(
            ["node", DRIVER, PLAYWRIGHT, f"{address}/w8d8/", f"{address}/w4d8/", folder],
            capture_output=True,
            text=True,
            timeout=240,
            env={**os.environ, "CHROMIUM": str(shutil.which(CHROMIUM))},
        )
        assert done.returncode == 0, done.stderr
        yield json.loads(done.stdout)
    finally:
        server.shutdown()
        server.server_close()


def test_nothing_goes_wrong_and_nothing_leaves(seen: dict[str, Any]) -> None:
    assert seen["problems"] == []
    assert seen["foreign"] == []
    assert seen["start"]["digest"] and seen["start"]["lessons"] == "0"


def test_a_drawing_is_decided_and_a_click_teaches_it(seen: dict[str, Any]) -> None:
    blank, drawn, taught = seen["start"], seen["seven"], seen["taught"]
    assert set(blank["heights"]) == {"0"} and blank["chosen"] == -1
    assert any(float(height) > 0 for height in drawn["heights"]) and drawn["digest"] == blank["digest"]
    assert float(taught["heights"][7]) > float(drawn["heights"][7])
    assert taught["digest"] != drawn["digest"]
    assert drawn["bars"] == 0 and taught["bars"] == 2
    assert all(text.endswith(" bits") and float(text.split()[0]) for text in taught["entropies"])
    assert "Learnt as 7" in taught["status"]
    assert seen["four"]["heights"] != taught["heights"] and seen["key"]["lessons"] == "2"


def test_undo_and_reset_bring_back_the_state(seen: dict[str, Any]) -> None:
    assert seen["mistaken"]["digest"] != seen["four"]["digest"]
    for key in ("digest", "heights", "entropies", "accuracy"):
        assert seen["undone"][key] == seen["four"][key], key
    assert seen["reset"]["digest"] == seen["start"]["digest"] and seen["reset"]["bars"] == 0


@pytest.mark.parametrize(("profile", "model", "lessons"), [("w8d8", "snapshot", "lessons"), ("w4d8", "phone", "phone")])
def test_the_download_is_what_numba_learns(
    seen: dict[str, Any], folder: Path, programs: dict[str, Program], profile: str, model: str, lessons: str
) -> None:
    snapshot = decode((folder / f"{model}.ska").read_bytes())
    given = load_file(folder / f"{lessons}.csv")
    learner = Learner(programs[profile])
    learner.learn_many(given.samples, given.labels)
    assert snapshot.program_digest == programs[profile].program_digest
    assert snapshot.state_digest == learner.snapshot().state_digest
    assert snapshot.state_digest != programs[profile].state_digest
    assert encode(snapshot) == (folder / f"{model}.ska").read_bytes()
    assert snapshot.state_digest.startswith((seen["again"] if profile == "w8d8" else seen["tapped"])["digest"])
    assert given.samples.min() >= 0 and given.samples.max() <= 16 and (given.samples == np.round(given.samples)).all()
    if profile == "w8d8":
        assert given.labels is not None and given.labels.tolist() == [7, 4, -1, 0, 7, 7, 7, 7, 7]
        shown = CliRunner().invoke(main, ["show", str(folder / "snapshot.ska"), "--json"])
        assert json.loads(shown.stdout)["state_digest"] == snapshot.state_digest


def test_accuracy_is_that_of_the_held_out_digits(seen: dict[str, Any], programs: dict[str, Program]) -> None:
    rows = held_out(programs["w8d8"])
    kept = [i for i in range(len(rows["labels"])) if i % 8]
    samples, labels = np.array(rows["samples"])[kept], np.array(rows["labels"])[kept]
    right = float((Learner(programs["w8d8"]).predict_many(samples) == labels).mean())
    assert seen["start"]["accuracy"] == f"{100 * right:.1f}%"


def test_a_finger_draws_and_does_not_scroll(seen: dict[str, Any]) -> None:
    assert any(float(height) > 0 for height in seen["touched"]["heights"])
    assert seen["touched"]["scrolled"] == 0 and seen["touched"]["wide"] == 0
    assert "Learnt as 7" in seen["tapped"]["status"]


def test_sha256_is_the_standard_one(seen: dict[str, Any]) -> None:
    for count, digest in seen["hash"]:
        assert digest == hashlib.sha256(bytes(i * 7 % 256 for i in range(count))).hexdigest(), f"{count} bytes"


def test_pictures_have_the_ink_size_and_slant_of_the_digits(seen: dict[str, Any]) -> None:
    pictures = {name: np.array(values).reshape(8, 8) for name, values in seen["pictures"].items()}
    assert pictures.pop("none").sum() == 0
    for name, picture in pictures.items():
        assert picture.sum() == 312 and picture.min() >= 0 and picture.max() <= 16, name
    assert abs(pictures["slanted"] - pictures["upright"]).max() <= 2
    assert (pictures["small"] == pictures["upright"]).all()
    assert pictures["upright"][[0, 7]].any(axis=1).all() and not pictures["dash"][[0, 7]].any()


def test_programs_without_a_page_are_refused(tmp_path: Path) -> None:
    digits = load_dataset("digits")
    samples, out = digits.samples[:60], tmp_path / "page"
    assert digits.labels is not None
    with pytest.raises(ProgramError, match=r"63 features; a drawing has 64"):
        export_browser(lower(Network((63, 8, 10)), "w8d8", samples[:, 1:], digits.labels[:60]), out, "a")
    with pytest.raises(ProgramError, match="11 classes"):
        export_browser(lower(Network((64, 8, 11)), "w8d8", samples, digits.labels[:60]), out, "a")
    with pytest.raises(ProgramError, match="one sample at a time"):
        export_browser(lower(Network((64, 8, 10), PublishedBatch()), "w16d15", samples), out, "a")
    assert not out.exists()


def test_data_that_are_no_test_are_refused(tmp_path: Path, programs: dict[str, Program]) -> None:
    digits = load_dataset("digits")
    assert digits.labels is not None
    with pytest.raises(DataError, match="no sample has a label"):
        held_out(programs["w8d8"], Dataset("mine", digits.samples[:5], None, 0.0, 16.0))
    with pytest.raises(DataError, match="rows of 64 features"):
        held_out(programs["w8d8"], Dataset("mine", digits.samples[:5, 1:], digits.labels[:5], 0.0, 16.0))
    unknown = replace(programs["w8d8"], meta={"dataset": "digits", "seed": "x"})
    assert held_out(unknown) == {"samples": [], "labels": []}


def test_the_command_names_what_is_missing(
    tmp_path: Path, programs: dict[str, Program], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, out = tmp_path / "digits.ska", tmp_path / "page"
    save(programs["w8d8"], model)
    monkeypatch.setenv("SKA_EDGE_ONNXRUNTIME_JS", str(tmp_path))
    done = CliRunner().invoke(main, ["export", "browser", str(model), "--out", str(out)])
    assert done.exit_code == 3 and "npm install" in done.stderr and not out.exists()


def test_the_command_writes_static_files(tmp_path: Path, programs: dict[str, Program]) -> None:
    needed(runtime_files)
    model, out = tmp_path / "digits.ska", tmp_path / "page"
    save(programs["w8d8"], model)
    command = ["export", "browser", str(model), "--out", str(out), "--json"]
    told = json.loads(CliRunner().invoke(main, command).stdout)
    assert told["held_out"] == len(json.loads((out / HELD_OUT).read_text())["labels"]) == 360
    for path, digest in told["files"].items():
        assert hashlib.sha256((out / path).read_bytes()).hexdigest() == digest, path
        if path.endswith((".js", ".html", ".css")):
            addresses = set(re.findall(r"https?://[\w.]+", (out / path).read_text()))
            assert addresses <= {"http://localhost"}, f"{path} names an address"
    again = CliRunner().invoke(main, command)
    assert again.exit_code == 2 and "is not empty" in again.stderr
