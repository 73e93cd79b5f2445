"""Learning on the device without backprop: Structured Knowledge Accumulation in fixed point.

    from ska_edge import Learner, Network, lower

A `Network` is declared in floats, `lower` turns it into an integer `Program`, and a `Learner` runs that Program in any
executor, learning the same weights to the bit everywhere.  Names are imported on first use: this import is cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .codec import load, save
    from .learner import Learner
    from .lowering import lower
    from .network import Network
    from .program import Encoding, Program
    from .rules import rule_named

__version__ = "0.1.0"

_HOMES = {
    "Encoding": "program",
    "Learner": "learner",
    "Network": "network",
    "Program": "program",
    "load": "codec",
    "lower": "lowering",
    "rule_named": "rules",
    "save": "codec",
}
__all__ = ["Encoding", "Learner", "Network", "Program", "load", "lower", "rule_named", "save"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ska_edge' has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value
