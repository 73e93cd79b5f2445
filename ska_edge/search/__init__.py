"""The best network for a board and a data set: asked for in batches, learnt in parallel, verified in the simulator."""

from .budget import Limits, Needs
from .hunt import Search, Trial, search
from .space import Candidate

__all__ = ["Candidate", "Limits", "Needs", "Search", "Trial", "search"]
