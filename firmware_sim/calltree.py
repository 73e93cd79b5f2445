"""Who called whom: the places at which a core can be, told by the edges it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .decode import BRANCH, CALL, INDIRECT, INDIRECT_CALL, JUMP, RETURN, Instruction
from .image import Image

DEEPEST = 100
"""Recursion beyond this many calls is counted at its hundredth."""


@dataclass(frozen=True)
class Place:
    """A function on the way it was called: from `site` in the place `parent`, to return to `back`."""

    parent: int
    function: int
    site: int
    back: int
    depth: int


@dataclass(frozen=True)
class History:
    """When a core was where: cycles and place at every change, and of each place its parent and function.

    `complete`: whether all changes found room.
    """

    moments: Sequence[tuple[float, int]]
    places: Mapping[int, tuple[int, int]]
    complete: bool

    def path(self, place: int) -> list[int]:
        """Places from the outermost call to this one, the beginning left out."""
        found = []
        while place > 0:
            found.append(place)
            place = self.places[place][0]
        return found[::-1]


class CallTree:
    """Places by number; 0 is where the run began."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self.places = [Place(-1, 0, -1, -1, 0)]
        self._children: dict[tuple[int, int, int], int] = {}

    def child(self, parent: int, function: int, site: int, back: int) -> int:
        """The place of a function called from there."""
        key = (parent, function, site)
        if key not in self._children:
            self._children[key] = len(self.places)
            self.places.append(Place(parent, function, site, back, self.places[parent].depth + 1))
        return self._children[key]

    def after(self, place: int, last: Instruction, target: int) -> int:
        """Where the core is after the last instruction of a block has led to `target`."""
        ends, on = last.ends, target == last.next_address
        if ends in (CALL, INDIRECT_CALL):
            if self.places[place].depth >= DEEPEST or (on and last.predicated):
                return place
            return self.child(place, target, last.address, last.next_address)
        if ends in (RETURN, INDIRECT) and not on:
            up = place
            while up > 0:
                if self.places[up].back == target:
                    return self.places[up].parent
                up = self.places[up].parent
        if ends in (RETURN, INDIRECT, JUMP, BRANCH) and not on and self._image.starts_function(target):
            here = self.places[place]
            if target != here.function and self._image.function_at(last.address) != self._image.function_at(target):
                if place == 0:
                    return self.child(0, target, last.address, -1)
                return self.child(
                    here.parent, target, here.site, here.back
                )  # a tail call: its caller's return is its own
        return place
