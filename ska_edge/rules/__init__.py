"""Learning rules, one module each, composed of the Program's primitives."""

from __future__ import annotations

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


__all__ = [
    "RULES",
    "Competitive",
    "Guided",
    "Homeostatic",
    "Novelty",
    "Published",
    "PublishedBatch",
    "Rule",
    "rule_named",
]
