"""Methods compared on equal terms: same data, same care, several seeds, and results paired by seed."""

from .rows import Comparison, Difference, Method, Result, Row, difference, half_width, seeds_of

__all__ = ["Comparison", "Difference", "Method", "Result", "Row", "difference", "half_width", "seeds_of"]
