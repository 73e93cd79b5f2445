"""Learning rules, one module each, composed of the Program's primitives."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any

from ..errors import NetworkError
from .base import Rule
from .batch import PublishedBatch
from .competitive import Competitive
from .guided import Guided
from .homeostatic import Homeostatic
from .novelty import Novelty
from .published import Published

RULES: dict[str, type[Rule]] = {rule.name: rule for rule in (Published, Homeostatic, Competitive, Guided, Novelty)}

_TRUTHS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
_KINDS: dict[str, Callable[[str], Any]] = {"float": float, "int": int, "str": str, "bool": _TRUTHS.__getitem__}


def rule_named(name: str, **parameters: Any) -> Rule:
    """A rule with some parameters set; None keeps a default.

    >>> rule_named("guided", rate=0.01).rate
    0.01
    """
    if name not in RULES:
        raise NetworkError(f"rule {name!r}: allowed are {', '.join(RULES)}")
    given = {key: value for key, value in parameters.items() if value is not None}
    try:
        return RULES[name](**given)
    except TypeError:
        known = ", ".join(each.name for each in fields(RULES[name]))
        raise NetworkError(f"rule {name}: parameters {', '.join(given)}; it has {known}") from None


def parse_parameters(rule: str, settings: Iterable[str]) -> dict[str, Any]:
    """Parameters from their text, NAME=VALUE.  Raises NetworkError for one that the rule does not have.

    >>> parse_parameters("guided", ["mask=0.3", "rectified=yes", "heads=code"])
    {'mask': 0.3, 'rectified': True, 'heads': 'code'}
    """
    known: dict[str, Callable[[str], Any]] = {}
    if rule in RULES:
        known = {each.name: _KINDS[str(each.type)] for each in fields(RULES[rule]) if str(each.type) in _KINDS}
    found: dict[str, Any] = {}
    for setting in settings:
        name, _, text = setting.partition("=")
        try:
            found[name] = known[name](text)
        except (KeyError, ValueError):
            raise NetworkError(f"rule {rule}: {setting!r}; wanted NAME=VALUE, of {', '.join(known)}") from None
    return found


__all__ = [
    "RULES",
    "Competitive",
    "Guided",
    "Homeostatic",
    "Novelty",
    "Published",
    "PublishedBatch",
    "Rule",
    "parse_parameters",
    "rule_named",
]
