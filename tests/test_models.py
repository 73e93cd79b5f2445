"""Shipped models: what the list says is what is there, and one command makes it again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from ska_edge.cli import main
from ska_edge.errors import DataError, FileError
from ska_edge.learner import Learner
from ska_edge.models import folder, model_named, rebuild, shipped

MODELS = shipped()


def test_at_least_five_and_digits_in_every_profile() -> None:
    assert len(MODELS) >= 5
    assert {f"digits-{profile}" for profile in ("w16d15", "w16d8", "w8d8", "w4d8")} <= set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_what_the_list_says(name: str) -> None:
    model = MODELS[name]
    assert model.program.state_digest == model.state_digest
    card = model.path.with_suffix(".md").read_text()
    assert model.state_digest in card
    assert model.command in card


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if model.dataset == "digits"])
def test_a_model_is_made_again(name: str) -> None:
    assert rebuild([MODELS[name]])[name]["same"]


def test_a_change_is_noticed(tmp_path: Path) -> None:
    where = tmp_path / "models"
    shutil.copytree(folder(), where)
    learner = Learner(MODELS["digits-w8d8"].program)
    learner.learn_one([0.0] * 64, 3)
    learner.save(where / "digits-w8d8.ska")
    with pytest.raises(FileError, match="rebuild it"):
        assert shipped(where)["digits-w8d8"].program


def test_unknown() -> None:
    with pytest.raises(DataError, match="shipped are digits-w16d15"):
        model_named("digits-w2d2")


def test_a_missing_list(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="reinstall"):
        shipped(tmp_path)


def test_the_verb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    listed = json.loads(CliRunner().invoke(main, ["models", "--json"]).output)
    assert [row["name"] for row in listed["models"]] == list(MODELS)
    assert "Made by" in CliRunner().invoke(main, ["models", "show", "digits-w8d8"]).output
    assert CliRunner().invoke(main, ["models", "copy", "digits-w8d8", "--out", "new"]).exit_code == 0
    again = CliRunner().invoke(main, ["models", "copy", "digits-w8d8", "--out", "new"])
    assert again.exit_code == 2
    assert (tmp_path / "new" / "digits-w8d8.ska").read_bytes() == MODELS["digits-w8d8"].path.read_bytes()
