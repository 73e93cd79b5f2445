"""TOML files of hardware facts: read once, every key checked, a source beside every number.

A source begins with `checked:` where the number was read in the named file or machine while the entry was written, and
with `cited:` where it stands in the named document but was not looked up again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from .errors import SimError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SOURCES = ("checked: ", "cited: ")
T = TypeVar("T")


def read_table(path: Path, error: type[SimError]) -> Table:
    """The file's top table, or `error` with its name and what is wrong with it."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise error(f"{path}: cannot be read ({problem.strerror})") from None
    except UnicodeDecodeError:
        raise error(f"{path}: not UTF-8 text") from None
    except tomllib.TOMLDecodeError as problem:
        raise error(f"{path}: no TOML: {problem}") from None
    return Table(content, str(path), error)


class Table:
    """A TOML table that hands out each key once, checks it, and complains about those nobody asked for."""

    def __init__(self, content: Mapping[str, Any], where: str, error: type[SimError]) -> None:
        self._content = dict(content)
        self._where = where
        self._error = error
        self._known: list[str] = []

    def fail(self, message: str) -> SimError:
        """An error that names this table."""
        return self._error(f"{self._where}: {message}")

    def text(self, key: str, default: str | None = None) -> str:
        """A text that is not empty."""
        value = self._take(key, str, "text", default)
        if key in self._content and not value.strip():
            raise self.fail(f"{key} is empty; say it, or leave the key out where it is optional")
        return str(value)

    def choice(self, key: str, allowed: tuple[str, ...], default: str | None = None) -> str:
        """One of the allowed words."""
        value = self.text(key, default)
        if value not in allowed:
            raise self.fail(f"{key} = {value!r}; allowed are {', '.join(allowed)}")
        return value

    def flag(self, key: str) -> bool:
        """True or false."""
        return bool(self._take(key, bool, "true or false"))

    def whole(self, key: str, least: int, most: int) -> int:
        """A whole number in range."""
        value = self._take(key, int, "a whole number")
        if not least <= value <= most:
            raise self.fail(f"{key} = {value}; allowed are {least} to {most}")
        return int(value)

    def optional(self, key: str, least: int, most: int) -> int | None:
        """A whole number in range, or None where the key is absent: unknown."""
        self._known.append(key)
        return self.whole(key, least, most) if key in self._content else None

    def real(self, key: str, least: float, most: float) -> float:
        """A number in range."""
        value = self._take(key, (int, float), "a number")
        if not least <= value <= most:
            raise self.fail(f"{key} = {value}; allowed are {least} to {most}")
        return float(value)

    def interval(self, key: str, least: float, most: float) -> tuple[float, float] | None:
        """A number, or the two ends [low, high] of what is known of it; None where the key is absent: unknown."""
        self._known.append(key)
        if key not in self._content:
            return None
        value = self._content[key]
        ends = value if isinstance(value, list) else [value, value]
        if len(ends) != 2 or any(not isinstance(end, (int, float)) or isinstance(end, bool) for end in ends):
            raise self.fail(f"{key} = {str(value)[:60]!r}; expected a number, or two: [low, high]")
        low, high = map(float, ends)
        if not least <= low <= high <= most:
            raise self.fail(f"{key} = {value}; allowed are {least} to {most}, the lower end first")
        return low, high

    def source(self, key: str = "source") -> str:
        """Where a number comes from, in the form the module's docstring demands."""
        value = self.text(key)
        if not value.startswith(SOURCES) or len(value) < 20:
            raise self.fail(f"{key} = {value!r}; begins with 'checked: ' or 'cited: ' and names document and place")
        return value

    def table(self, key: str) -> Table:
        """A table inside this one."""
        return Table(self._take(key, dict, "a table"), f"{self._where}: [{key}]", self._error)

    def optional_table(self, key: str) -> Table | None:
        """A table inside this one, or None."""
        self._known.append(key)
        return self.table(key) if key in self._content else None

    def tables(self, key: str, build: Callable[[Table], T], least: int = 0) -> tuple[T, ...]:
        """The tables under [[key]], each built and then checked for keys nobody asked for."""
        entries = self._take(key, list, f"tables, each under [[{key}]]", [])
        if len(entries) < least or any(not isinstance(entry, dict) for entry in entries):
            raise self.fail(f"{key}: found {len(entries)} entries; expected at least {least}, each under [[{key}]]")
        return tuple(self._each(entry, f"{self._where}: [[{key}]] {n + 1}", build) for n, entry in enumerate(entries))

    def done(self, built: T) -> T:
        """Refuse keys that nothing asked for."""
        unknown = sorted(set(self._content) - set(self._known))
        if unknown:
            allowed = ", ".join(dict.fromkeys(self._known))
            raise self.fail(f"unknown key {unknown[0]!r}; allowed are {allowed}")
        return built

    def _each(self, entry: Mapping[str, Any], where: str, build: Callable[[Table], T]) -> T:
        table = Table(entry, where, self._error)
        return table.done(build(table))

    def _take(self, key: str, kind: type | tuple[type, ...], words: str, default: Any = None) -> Any:
        self._known.append(key)
        if key not in self._content:
            if default is None:
                raise self.fail(f"key {key!r} is missing; expected {words}")
            return default
        value = self._content[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.fail(f"{key} = {str(value)[:60]!r}; expected {words}")
        return value
