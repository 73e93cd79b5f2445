"""A model as a library for people who never install ska_edge: C, Arduino, PlatformIO, Zephyr."""

from .library import FORMATS, Exported, export

__all__ = ["FORMATS", "Exported", "export"]
