"""Lava: a connection process and a soma process a layer, to the same bits (docs/lava.md).

Importing this package does not import Lava; the executor runs it in a process of its own.  For your own Lava programs:
`from ska_edge.backends.lava.network import SkaNetwork`.
"""

from .executor import LavaExecutor

__all__ = ["LavaExecutor"]
