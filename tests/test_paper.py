"""`ska-edge paper`: every file, every key, every verdict computed, and what bad input meets."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import published
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

import ska_edge.paper as paper_module
from ska_edge.cli import main
from ska_edge.errors import DataError, FileError, MissingError, SkaError
from ska_edge.paper import FAILS, HOLDS, IN_PART, INTEGERS, PaperResult, load_images, run_paper
from ska_edge.reference.papers import Trajectory
from ska_edge.reference.published import HISTORIES, KEY_STEPS, key_figures, load_published
from ska_edge.report.paper import integers_picture, page, print_claims, rounding_picture
from ska_edge.report.style import Picture
from ska_edge.schedule import IntegerRun

PICTURES = {"histories", "times", "flow", "valley", "net", "lagrangian", "output", "readout", "functions", "two_layer"}
CURVES = {"layers", "output", "time_invariance", "functions", "readout", "two_layer", "claims", "integers"}


def pretended(exact: Trajectory, profile: str, rounding: str) -> IntegerRun:
    """Float64 with an error put in: 0.5 % for w16d15, 5 % for w8d8, 9 % for w4d8; nothing learnt when half up."""
    share = {"w16d15": 0.005, "w8d8": 0.05, "w4d8": 0.09}[profile]
    entropy = [[0.0 if rounding == "half" else bits * (1.0 + share) for bits in layer] for layer in exact.entropy]
    return IntegerRun(profile, rounding, entropy, exact.flow, exact.output, 0.0 if rounding == "half" else 0.7)


def call(*words: object) -> Result:
    return CliRunner().invoke(main, ["paper", *(str(word) for word in words)])


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, Any], Path, PaperResult]]:
    """One quick run by command, its JSON, its folder, and what `run_paper` returned."""
    out = tmp_path_factory.mktemp("paper") / "deep" / "out"
    kept: list[PaperResult] = []

    def keep(*words: Any, **named: Any) -> PaperResult:
        kept.append(run_paper(*words, **named))
        return kept[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKA_EDGE_DATA", str(published.path_of("mnist_train_100_per_class.npz").parent))
        patch.setattr(paper_module, "run_paper", keep)
        done = call("--quick", "--out", out, "--json")
        assert done.exit_code == 0, done.output
        yield json.loads(done.stdout), out, kept[0]


@pytest.fixture(scope="module")
def result(quick: tuple[dict[str, Any], Path, PaperResult]) -> PaperResult:
    return quick[2]


@pytest.fixture(scope="module")
def every_rounding(result: PaperResult) -> PaperResult:
    """The result with nine integer runs."""
    found: dict[str, dict[str, IntegerRun]] = {}
    for profile, rounding in INTEGERS:
        found.setdefault(profile, {})[rounding] = pretended(result.run, profile, rounding)
    return replace(result, roundings=found)


def verdicts(result: PaperResult) -> dict[str, str]:
    return {each.claim: each.verdict for each in result.claims}


def verdict_of(result: PaperResult, start: str) -> str:
    return next(verdict for claim, verdict in verdicts(result).items() if claim.startswith(start))


def test_every_file_is_there(quick: tuple[dict[str, Any], Path, PaperResult]) -> None:
    found, out, _ = quick
    names = {f"{name}.{ending}" for name in PICTURES | {"integers", "rounding"} for ending in ("svg", "png")}
    names |= {f"{name}.csv" for name in CURVES} | {"paper.json", "index.html"}
    assert {path.name for path in out.iterdir()} == names == {Path(path).name for path in found["files"]}
    assert found["files"][-1].endswith("index.html")
    for path in out.glob("*.svg"):
        assert ET.fromstring(path.read_bytes()).tag.endswith("svg")
    written = json.loads((out / "paper.json").read_text())
    assert written == {key: value for key, value in found.items() if key != "files"}


def test_json_has_the_keys_of_the_contract(quick: tuple[dict[str, Any], Path, PaperResult]) -> None:
    found = quick[0]
    assert set(found["max_rel_error"]) == set(HISTORIES)
    assert all(0 < error < 3e-5 for errors in found["max_rel_error"].values() for error in errors)
    assert [len(found["max_rel_error"][name]) for name in HISTORIES] == [4, 4, 4, 4, 4, 1]
    assert found["entropy_minimum_step"] == [29, 16, 25, 48]
    assert found["zero_crossing_step"] == [24, None, 23, None]
    assert set(found["profiles"]) == {"w8d8"}
    for error in found["profiles"].values():
        assert [len(error[key]) for key in ("entropy_max_rel_error", "entropy_correlation")] == [4, 4]
        assert error["entropy_minimum_step"] == [30, 16, 25, 49]
        assert all(0.002 < each < 0.06 for each in error["entropy_max_rel_error"])
    assert set(found["time_invariance"]) == {"0.02", "0.01"}
    assert found["time_invariance"]["0.02"] == pytest.approx([0.18, 0.36, 0.38, 0.15], abs=0.01)
    assert all(check["holds"] for check in found["checks"])


def test_curves_are_the_histories(quick: tuple[dict[str, Any], Path, PaperResult]) -> None:
    _, out, result = quick
    rows = list(csv.DictReader(io.StringIO((out / "layers.csv").read_text())))
    assert len(rows) == 4 * 50
    for row in rows:
        layer, step = int(row["layer"]) - 1, int(row["step"])
        assert float(row["knowledge_norm"]) == result.run.knowledge_norm[layer][step]
        if step:
            assert float(row["entropy"]) == result.run.entropy[layer][step - 1]
            assert float(row["published_entropy"]) == published.history("entropy")[layer, step - 1]
        else:
            assert row["entropy"] == ""
    times = list(csv.DictReader(io.StringIO((out / "time_invariance.csv").read_text())))
    assert {row["rate"] for row in times} == {"0.02", "0.01", "0.005"}


def test_page_loads_nothing_and_tells_all(quick: tuple[dict[str, Any], Path, PaperResult]) -> None:
    _, out, result = quick
    text = (out / "index.html").read_text(encoding="utf-8")
    loads = re.findall(r"""(?:src|href|action|data|poster)\s*=\s*["']([^"']*)""", text)
    assert all(load.startswith(("data:image/", "#")) for load in loads), [load[:60] for load in loads]
    for word in ("<script", "@import", "<link", "<iframe", "url(", "http://", "https://"):
        assert word not in text, word
    assert len(re.findall(r'<img [^>]*alt="[^"]+', text)) == len(PICTURES) + 1  # one rounding only: no picture of it
    for each in result.claims:
        assert text.count(each.verdict) and each.claim.replace("'", "&#39;") in text, each.claim


def test_all_roundings_are_drawn_and_told(every_rounding: PaperResult) -> None:
    drawn = {"integers": integers_picture(every_rounding), "rounding": rounding_picture(every_rounding)}
    text = page(every_rounding, {name: Picture(b"", b"", name) for name in PICTURES} | drawn).decode()
    assert "half up" in text and "w4d8" in text and "random draws" in text
    assert "half up 100 %" in drawn["rounding"].alt
    assert all(check.holds for check in every_rounding.checks)
    assert {check.name.split(":")[0] for check in every_rounding.checks} > {"w16d15", "w8d8", "w4d8"}
    assert every_rounding.integer_error(every_rounding.roundings["w8d8"]["half"]).entropy_correlation == [0.0] * 4
    json.dumps(every_rounding.to_json(), allow_nan=False)


def test_missed_bars_fail_the_command(every_rounding: PaperResult, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = dict(every_rounding.roundings)
    runs["w16d15"] = {"lattice": replace(runs["w8d8"]["lattice"], profile="w16d15")}
    missed = replace(every_rounding, roundings=runs)
    assert [check.name for check in missed.checks if not check.holds] == ["w16d15: entropy against float64"]
    monkeypatch.setattr(paper_module, "run_paper", lambda *_, **__: missed)
    done = call()
    assert done.exit_code == 1
    assert "FAIL" in done.stdout and "w16d15: entropy against float64" in done.stdout


def test_claims_are_computed(result: PaperResult) -> None:
    """Change what was found, and the verdict changes."""
    found = verdicts(result)
    assert list(found.values()).count(HOLDS) >= 4
    assert verdict_of(result, "Runs with the same product") == FAILS
    assert verdict_of(result, "Decisions become structured") == FAILS
    assert verdict_of(result, "A layer's entropy falls, turns") == IN_PART  # layer 4 has hardly turned
    assert verdict_of(result, "The tensor net as equation 8") == FAILS
    finest = min(result.rates)
    same = {rate: result.rates[finest][:, : int(0.5 / rate) - 1] * 0.0 - rate for rate in result.rates}
    assert verdict_of(replace(result, rates=same), "Runs with the same product") == HOLDS
    better = {kind: ([0.1] * 4, [0.9] * 4) for kind in result.readout}
    assert verdict_of(replace(result, readout=better), "Decisions become structured") == HOLDS
    flat = replace(result.run, entropy=[[-float(step) for step in range(49)]] * 4)
    assert verdict_of(replace(result, run=flat), "A layer's entropy falls, turns") == FAILS
    assert verdict_of(replace(result, run=flat), "The published histories") == IN_PART
    missed = [check.name for check in replace(result, run=flat, roundings={}).checks if not check.holds]
    assert missed == ["published entropy", "entropy minima"]


def test_a_history_off_by_a_little_is_noticed(result: PaperResult) -> None:
    cosine = result.published["cosine"]
    moved = replace(cosine, values=cosine.values * (1 + 1e-4))
    checks = replace(result, published={**result.published, "cosine": moved}).checks
    assert [check.name for check in checks if not check.holds] == ["published cosine"]


def test_claims_are_printed(result: PaperResult) -> None:
    console = Console(file=io.StringIO(), width=160)
    print_claims(result, console)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert printed.count("holds") + printed.count("does not hold") >= len(result.claims)
    assert "29, 16, 25, 48" in printed


def test_key_figures_are_those_of_the_files(result: PaperResult) -> None:
    whole = load_published(published.path_of("ska_paper_entropy_history.csv").parent)
    for name in HISTORIES:
        known = key_figures(name)
        places = [whole[name].steps.index(step) for step in KEY_STEPS]
        assert known.values == pytest.approx(whole[name].values[:, places], rel=2e-7), name
    without = replace(result, published={name: key_figures(name) for name in HISTORIES})
    assert all(check.holds for check in without.checks)
    assert "at five steps only" in without.claims[0].found


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    """A folder with copies of the published histories."""
    folder = tmp_path / "data"
    folder.mkdir()
    for path in published.path_of("ska_paper_entropy_history.csv").parent.glob("ska_paper_*.csv"):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def spoilt(text: str, how: str) -> bytes:
    lines = text.splitlines()
    last = lines[-1].split(",")
    changes: dict[str, Callable[[], str]] = {
        "truncated": lambda: text[: len(text) // 2],
        "row missing": lambda: "\n".join(lines[:-1]),
        "NaN": lambda: "\n".join([*lines[:-1], ",".join([*last[:-1], "nan"])]),
        "word": lambda: "\n".join([*lines[:-1], ",".join([*last[:-1], "many"])]),
        "empty": lambda: "",
    }
    return b"\xff\xfe\xff" if how == "bytes" else changes[how]().encode()


@pytest.mark.parametrize("how", ["truncated", "row missing", "NaN", "word", "empty", "bytes"])
@pytest.mark.parametrize("name", ["ska_paper_entropy_history.csv", "ska_paper_output_neuron_activation.csv"])
def test_spoilt_histories(copies: Path, tmp_path: Path, name: str, how: str) -> None:
    path = copies / name
    path.write_bytes(spoilt(path.read_text(), how))
    done = call("--data", copies, "--out", tmp_path / "out")
    assert done.exit_code == 2, done.output
    assert name in done.stderr and "Traceback" not in done.stderr
    assert not list((tmp_path / "out").iterdir())


def test_missing_data(copies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = call("--data", tmp_path / "nowhere", "--out", tmp_path / "out", "--json")
    assert done.exit_code == 3
    assert "key figures" in json.loads(done.stdout)["error"]
    monkeypatch.setenv("SKA_EDGE_DATA", str(tmp_path))
    assert not any(history.complete for history in load_published().values())
    with pytest.raises(SkaError, match="mnist_train_100_per_class"):
        load_images(copies)
    assert call("--out", tmp_path / "out").exit_code == 3
    (copies / "ska_paper_cosine_history.csv").unlink()
    with pytest.raises(MissingError, match="cosine"):
        load_published(copies)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_spoilt_images(copies: Path, content: bytes) -> None:
    (copies / "mnist_train_100_per_class.npz").write_bytes(content)
    with pytest.raises(FileError, match="mnist_train"):
        load_images(copies)


def test_other_images(copies: Path) -> None:
    np.savez(copies / "mnist_train_100_per_class.npz", images=np.zeros((20, 28, 28), np.uint8), labels=np.arange(20))
    with pytest.raises(DataError, match="the papers' batch is 1000 images"):
        load_images(copies)


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = call("--out", tmp_path / "file" / "out")
    assert done.exit_code == 2
    assert "cannot be written" in done.stderr
