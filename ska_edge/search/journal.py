"""Finished trials in an Optuna journal, one at a time, so that a search can be cut and taken up again.

A trial that is found there is not learnt again.  Everything else of a search follows from its seed, so going on and
starting over are the same thing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..codec import write_atomically
from ..errors import FileError, SkaError
from .space import Candidate

if TYPE_CHECKING:
    from optuna import Study, Trial

NAME = "ska-edge search"
_FIRST = b'{"op_code":'


class Journal:
    """Scores by candidate; `path` None keeps nothing beyond this process."""

    def __init__(self, path: Path | None, settings: Mapping[str, Any]) -> None:
        """Open; nothing is written yet.  Raises FileError for no such journal, SkaError for another search's."""
        self.path = path
        self.settings = json.loads(json.dumps(settings))
        self.scores: dict[str, list[float]] = {}
        self.gauge: Any = None
        self._study: Study | None = None
        if path is None:
            return
        if not path.parent.is_dir():
            raise FileError(f"{path}: cannot be written; there is no folder {path.parent}")
        if path.exists():
            self._load(path)

    def begin(self, gauge: Any) -> None:
        """Write down what the search is, and the images measured for it, unless they stand there."""
        if self.path is None or self._study is not None:
            return
        try:
            self._study = _open(self.path)
        except OSError as error:
            raise FileError(f"{self.path}: cannot be written ({error.strerror})") from None
        self._study.set_user_attr("settings", self.settings)
        self._study.set_user_attr("gauge", gauge)

    def keep(self, trial: Trial, candidate: Candidate, scores: list[float], ram_bytes: int) -> None:
        """Write a finished trial down."""
        self.scores[candidate.key] = scores
        if self._study is None:
            return
        from optuna.trial import create_trial

        self._study.add_trial(
            create_trial(
                params=trial.params,
                distributions=trial.distributions,
                values=[sum(scores) / len(scores), float(ram_bytes)],
                user_attrs={"candidate": candidate.key, "scores": scores},
            )
        )

    def _load(self, path: Path) -> None:
        try:
            _cut_last_line(path)
            self._study = _open(path)
            found = self._study.user_attrs
            kept, self.gauge = found["settings"], found["gauge"]
            trials = self._study.get_trials(deepcopy=False)
            self.scores = {each.user_attrs["candidate"]: list(each.user_attrs["scores"]) for each in trials}
        except OSError as error:
            raise FileError(f"{path}: cannot be read and written ({error.strerror})") from None
        except Exception as error:  # Optuna promises no type: broken JSON, wrong keys, wrong types
            raise FileError(
                f"{path}: no journal of a search, or damaged ({type(error).__name__}: {error}); give another --study"
            ) from None
        for name in sorted({*self.settings, *kept}):
            if kept.get(name) != self.settings.get(name):
                raise SkaError(
                    f"{path}: holds a search with {name} {_short(kept.get(name))}, this one has "
                    f"{_short(self.settings.get(name))}; give the same, or another --study"
                )


def _open(path: Path) -> Study:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = JournalStorage(JournalFileBackend(str(path)))
    return optuna.create_study(
        storage=storage, study_name=NAME, directions=["maximize", "minimize"], load_if_exists=True
    )


def _cut_last_line(path: Path) -> None:
    """Drop a line of ours that a crash left unfinished: what is appended to it would be lost with it."""
    content = path.read_bytes() if path.exists() else b""
    if content and not content.endswith(b"\n") and content.startswith(_FIRST):
        write_atomically(path, content[: content.rfind(b"\n") + 1])


def _short(value: Any) -> str:
    return str(value)[:60]
