"""Shipped models: learnt by one command each, and rebuilt by it to the same digest.

`models/models.toml` names them: the arguments of `ska-edge train`, and the digests that come out.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from . import codec
from .data import load_dataset
from .errors import DataError, FileError
from .program import Program
from .training import Settings, train_model

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SPEC = "models.toml"


@dataclass(frozen=True)
class ShippedModel:
    """One model: its name, what it is for, data, settings of its training, and its digests."""

    name: str
    purpose: str
    dataset: str
    settings: Settings
    program_digest: str
    state_digest: str
    path: Path

    @property
    def command(self) -> str:
        """The command that makes it."""
        given = self.settings
        words = ["ska-edge train", f"--dataset {self.dataset}", f"--shape {given.shape}", f"--rule {given.rule}"]
        words += [f"--profile {given.profile}", f"--passes {given.passes}", f"--seed {given.seed}"]
        words += [f"--test-share {given.test_share:g}"] if given.test_share != Settings().test_share else []
        words += [f"--set {each}" for each in given.parameters]
        return " ".join([*words, f"--out {self.name}.ska"])

    @cached_property
    def program(self) -> Program:
        """The model.  Raises FileError where it is missing or is not what the list says."""
        program = codec.load(self.path)
        found = (program.program_digest, program.state_digest)
        if found != (self.program_digest, self.state_digest):
            raise FileError(f"{self.path}: digests {found[0][:16]} {found[1][:16]}, not those of {SPEC}; rebuild it")
        return program

    def rebuild(self, path: Path) -> dict[str, Any]:
        """Learn it again into `path`; what `train` reports."""
        return train_model(load_dataset(self.dataset), path, self.settings)


def folder() -> Path:
    """Where the shipped models are: in an installed package, or in the checkout."""
    inside = Path(str(resources.files("ska_edge"))) / "shipped"
    return inside if inside.is_dir() else Path(str(resources.files("ska_edge"))).parent / "models"


def shipped(where: Path | None = None) -> dict[str, ShippedModel]:
    """The models by name, in the list's order.  Raises FileError without a list."""
    where = where or folder()
    try:
        entries = tomllib.loads((where / SPEC).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(f"{where / SPEC}: cannot be read ({error}); reinstall ska_edge") from None
    models = {}
    for name, entry in entries.items():
        train = dict(entry["train"])
        settings = Settings(**{**train, "parameters": tuple(train.get("parameters", ()))})
        digests = entry.get("program_digest", ""), entry.get("state_digest", "")
        models[name] = ShippedModel(name, entry["purpose"], entry["dataset"], settings, *digests, where / f"{name}.ska")
    return models


def model_named(name: str) -> ShippedModel:
    """A shipped model.  Raises DataError for an unknown name."""
    models = shipped()
    if name not in models:
        raise DataError(f"model {name!r}: shipped are {', '.join(models)}")
    return models[name]


def rebuild(
    models: list[ShippedModel], advance: Callable[[int], None] = lambda count: None
) -> dict[str, dict[str, Any]]:
    """Learn models again, in a folder that is thrown away; per name, whether both digests are the same."""
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        for model in models:
            result = model.rebuild(Path(scratch) / f"{model.name}.ska")
            same = (result["program_digest"], result["state_digest"]) == (model.program_digest, model.state_digest)
            found[model.name] = {"same": same, **{key: result[key] for key in ("program_digest", "state_digest")}}
            advance(1)
    return found
