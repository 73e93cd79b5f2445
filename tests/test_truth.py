"""The simulator against published cycles, simavr and rp2040js."""

from __future__ import annotations

from pathlib import Path

import pytest
from firmware_tools import needed

from ska_edge import ibex, truth
from ska_edge.cli.cycles_truth import markdown
from ska_edge.errors import MissingError
from ska_edge.toolchain import find_compiler


def test_published_cycles_lie_in_the_interval(tmp_path: Path) -> None:
    needed(lambda: find_compiler("zig"))
    rows = list(truth._published(tmp_path))
    assert len(rows) == len(truth.SILICON) + 4 + len(truth.C3)
    for row in rows:
        assert row.truth is not None and row.relative_error is not None and row.low is not None and row.high is not None
        assert row.low <= row.truth <= row.high, row
        assert abs(row.relative_error) < 0.05, row
        assert row.holds
    assert "The loop takes 3 cycles/loop." in markdown(rows)


def test_avr_equals_simavr(tmp_path: Path) -> None:
    rows: list[truth.Row] = []
    needed(lambda: rows.extend(truth._simavr(tmp_path)))
    for row in rows:
        assert row.simulated == row.truth, row


def test_missing_rp2040js_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"npm|node"):
        next(truth._rp2040js(tmp_path, tmp_path / "nowhere"))


def test_equals_rp2040js(tmp_path: Path) -> None:
    """Instructions, memory and cycles, where the emulator is installed."""
    rows = []
    try:
        for row in truth._rp2040js(tmp_path, None):
            rows.append(row)
            if len(rows) == 6:  # both functions of one profile; `cycles-truth` does all
                break
    except MissingError as error:
        pytest.skip(str(error))
    assert all(row.holds for row in rows), rows
    assert any(row.bar == 0.0 for row in rows) and any(row.bar == 0.003 for row in rows)


def test_what_has_no_reference_says_so() -> None:
    for row in truth._unvalidated():
        assert row.truth is None and "unvalidated" in row.note
        assert not row.to_json()["validated"]


def test_equals_ibex_in_rtl(tmp_path: Path) -> None:
    """All instructions, memory and cycles, where Verilator and the RTL are installed."""
    needed(lambda: find_compiler("zig"))
    try:
        rows = list(truth._ibex(tmp_path))
    except MissingError as error:
        pytest.skip(str(error))
    assert len(rows) == 2 * (2 * len(truth.PROFILES) + 1)
    assert all(row.holds and row.bar == 0.0 for row in rows), [row for row in rows if not row.holds]


def test_missing_rtl_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ibex, "PACKAGE", "pythondata_cpu_nowhere")
    with pytest.raises(MissingError, match="pip install pythondata-cpu-ibex"):
        ibex.build_ibex(tmp_path)
