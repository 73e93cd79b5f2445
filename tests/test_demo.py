"""A tiny demo writes everything, says everything, and compares ours with others only."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from ska_edge import codec
from ska_edge.data import load_dataset, split
from ska_edge.demo import DemoResult, run_demo
from ska_edge.errors import FileError
from ska_edge.learner import Learner
from ska_edge.plan import plan
from ska_edge.report.files import write_files
from ska_edge.report.tables import print_table
from ska_edge.training import Settings, train_model

PASSES = 2
KEYS = ["dataset", "scenario", "method", "family", "profile", "seeds", "metric", "mean", "ci95"]
KEYS += ["weight_bytes", "state_bytes", "macs_per_sample", "seconds"]
PICTURES = ("learning", "weights", "comparison", "memory", "digits", "confusion")


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> DemoResult:
    return run_demo(tmp_path_factory.mktemp("demo") / "deep" / "out", seeds=2, passes=PASSES)


def test_every_file_is_written_and_nothing_else(result: DemoResult) -> None:
    names = {"digits.ska", "comparison.csv", "learning.csv", "index.html"}
    names |= {f"{name}.{ending}" for name in PICTURES for ending in ("svg", "png")}
    assert {path.name for path in result.files} == names
    assert {path.name for path in result.files[0].parent.iterdir()} == names
    assert result.files[-1].name == "index.html"  # the page comes when all it speaks of is there


def test_json_has_the_keys_of_the_contract(result: DemoResult) -> None:
    found = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert [list(row) for row in found["rows"]] == [KEYS] * len(found["rows"])
    assert all(Path(path).is_file() for path in found["files"])
    assert {"accuracy", "program_digest", "state_digest", "weights_changed", "saturated", "weight_updates"} <= set(
        found
    )
    assert found["weight_updates"] == PASSES * 1437 * 1184
    assert found["weights_changed"] > 0.2
    assert found["saturated"] < 0.2
    assert [each["holds"] in (True, False) for each in found["paired_differences"]] == [True, True]


def test_rows_are_honest(result: DemoResult) -> None:
    families = [row.family for row in result.rows]
    assert {"ours", "backprop", "control", "published"} == set(families)
    assert len({(row.method, row.profile) for row in result.rows}) == len(result.rows)
    assert {row.profile for row in result.rows if row.family == "ours"} == {"w8d8", "w4d8", "w16d15", "float64"}
    for each in result.bars:
        assert each.difference.ours.startswith("guided")
        assert each.difference.other.startswith("SGD backprop")
    best = result.comparison.best_backprop()
    assert best.mean == max(row.mean for row in result.rows if row.family == "backprop")
    assert all(row.seeds == 2 and row.ci95 is not None for row in result.rows)
    accuracy = {(row.method, row.profile): row.mean for row in result.rows}
    assert accuracy["guided", "w8d8"] > accuracy["untrained + class layer", "w8d8"] + 0.05


def test_the_model_is_the_one_recorded_compared_and_trained(result: DemoResult, tmp_path: Path) -> None:
    model = next(path for path in result.files if path.suffix == ".ska")
    program = codec.load(model)
    assert program.state_digest == result.to_json()["state_digest"]
    digits = load_dataset("digits")
    test = split(digits, 0).test
    assert digits.labels is not None
    accuracy = Learner(program).accuracy(digits.samples[test], digits.labels[test])
    assert accuracy == result.accuracy == result.recording.test[-1]
    assert accuracy == result.comparison.of("guided", "w8d8").scores()[0]
    trained = train_model(digits, tmp_path / "train.ska", Settings(passes=PASSES))
    assert trained["state_digest"] == program.state_digest, "the page says that `train` gives the same model"
    assert trained["program_digest"] == program.program_digest


def test_recording_covers_the_stream(result: DemoResult) -> None:
    recording = result.recording
    assert recording.samples[-1] == PASSES * 1437
    assert recording.samples == sorted(set(recording.samples))
    assert set(recording.weights) == {0, 100, 1437, PASSES * 1437}
    assert set(recording.entropy) == {"entropy1", "entropy_class"}
    assert all(len(bits) == len(recording.samples) for bits in recording.entropy.values())
    assert all(weights.shape == (16, 64) for weights in recording.weights.values())
    assert not np.array_equal(recording.weights[0], recording.weights[100])


def test_page_loads_nothing_and_tells_all(result: DemoResult) -> None:
    page = result.files[-1].read_text(encoding="utf-8")
    loads = re.findall(r"""(?:src|href|action|data|poster)\s*=\s*["']([^"']*)""", page)
    assert len(loads) >= len(PICTURES)
    assert all(load.startswith(("data:image/", "#")) for load in loads), [load[:60] for load in loads]
    for word in ("<script", "@import", "<link", "<iframe", "url(", "http://", "https://"):
        assert word not in page, word
    assert 'name="viewport"' in page
    assert "prefers-color-scheme: dark" in page
    assert all(alt.strip() for alt in re.findall(r'alt="([^"]*)"', page))
    assert len(re.findall(r"<img ", page)) == len(re.findall(r'<img [^>]*alt="', page)) == len(PICTURES)
    digests = result.to_json()
    arena = plan(result.program).arena_bytes
    for fact in (digests["program_digest"], digests["state_digest"], f"{arena:,} bytes of RAM", "2,048", "silicon"):
        assert fact in page, fact
    for row in result.rows:
        assert row.method in page, row.method


def test_pictures_are_pictures(result: DemoResult) -> None:
    for path in result.files:
        if path.suffix == ".svg":
            assert ET.fromstring(path.read_bytes()).tag.endswith("svg")
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG")


def test_tables_repeat_the_rows(result: DemoResult) -> None:
    folder = result.files[0].parent
    rows = list(csv.DictReader(io.StringIO((folder / "comparison.csv").read_text())))
    assert [row["method"] for row in rows] == [row.method for row in result.rows]
    assert [float(row["mean"]) for row in rows] == [row.mean for row in result.rows]
    curves = list(csv.DictReader(io.StringIO((folder / "learning.csv").read_text())))
    assert [int(row["samples"]) for row in curves] == result.recording.samples
    console = Console(file=io.StringIO(), width=140)
    print_table(result.rows, console)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(row.method in printed for row in result.rows)
    means = [float(match) for match in re.findall(r"([\d.]+) ± ", printed)]
    assert means == sorted(means, reverse=True)


def test_summary_says_whether_the_bars_hold(result: DemoResult) -> None:
    lines = result.summary.splitlines()
    assert len(lines) == 2
    for line, each in zip(lines, result.bars, strict=True):
        assert ("holds" in line) == each.holds
        assert f"{abs(each.difference.points):.2f} points" in line


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FileError, match=r"file.out.*cannot be written"):
        run_demo(tmp_path / "file" / "out", seeds=1, passes=1)
    with pytest.raises(FileError, match="cannot be written"):
        run_demo(tmp_path / "file", seeds=1, passes=1)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_failed_write_leaves_no_half_files(tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    with pytest.raises(FileError, match="second"):
        write_files(tmp_path, {"first": b"whole", "second": b"impossible", "index.html": b"never"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]
    assert (tmp_path / "first").read_bytes() == b"whole"
