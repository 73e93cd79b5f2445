"""Outcomes of finished runs, by data set and scenario, in the store that every long comparison has."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from ..baselines import Cost, Outcome
from ..store import Key, Store


class OutcomeStore:
    """A folder of outcomes; None keeps nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._store = Store(folder)

    def find(self, key: Key) -> Outcome | None:
        """The outcome of a run made before, if it is there and whole."""
        found = self._store.find(_group(key), key)
        try:
            return found and Outcome(found["score"], Cost(**found["cost"]), found["seconds"], tuple(found["others"]))
        except (KeyError, TypeError):
            return None

    def keep(self, key: Key, outcome: Outcome) -> None:
        """Write a run down, whole or not at all.  Raises FileError."""
        self._store.keep(_group(key), key, asdict(outcome))


def _group(key: Key) -> str:
    return f"{key['dataset']}-{key['scenario']}"
