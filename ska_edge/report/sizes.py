"""Where the bytes of a firmware image go: a treemap of its flash and one of its RAM."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import MissingError
from .style import BLUE, GREEN, GREY, ORANGE, PURPLE, Picture, picture

if TYPE_CHECKING:
    from ..firmware import Image

_COLOURS = {  # what is learnt, what it is learnt by, what holds it together
    "weights": BLUE,
    "heads": BLUE,
    "biases": BLUE,
    "start state": BLUE,
    "kernels": GREEN,
    "scratch": GREEN,
    "constants": PURPLE,
    "protocol": ORANGE,
    "frame buffer": ORANGE,
    "left for the stack": "#E5E7EB",
}
_LEGIBLE_SHARE = 0.012  # smaller tiles carry no words


def sizes_picture(image: Image) -> Picture:
    """Two treemaps, areas in proportion to bytes.  Raises MissingError without squarify."""
    memories = {"Flash": image.flash_bytes, "RAM": image.ram_bytes}

    def draw(figure: Any) -> None:
        for axis, (title, parts) in zip(figure.subplots(1, 2), memories.items(), strict=True):
            _treemap(axis, parts)
            axis.set_title(f"{title}: {sum(parts.values()):,} bytes")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)

    words = "; ".join(
        f"{title}: " + ", ".join(f"{part} {size:,}" for part, size in parts.items())
        for title, parts in memories.items()
    )
    return picture(draw, 10.5, 4.6, f"Treemaps of {image.board.title}, bytes by part. {words}.")


def _treemap(axis: Any, parts: Mapping[str, int]) -> None:
    try:
        import squarify
    except ImportError:
        raise MissingError("sizes: squarify is not installed; pip install squarify") from None
    shown = sorted(((size, part) for part, size in parts.items() if size > 0), reverse=True)
    total = sum(size for size, _ in shown)
    tiles = squarify.squarify(squarify.normalize_sizes([size for size, _ in shown], 100, 60), 0, 0, 100, 60)
    axis.set(xlim=(0, 100), ylim=(0, 60))
    for (size, part), tile in zip(shown, tiles, strict=True):
        colour = _COLOURS.get(part, GREY)
        axis.add_patch(_rectangle(tile, colour))
        if size >= _LEGIBLE_SHARE * total:
            middle = (tile["x"] + tile["dx"] / 2, tile["y"] + tile["dy"] / 2)
            upright = tile["dy"] > 1.6 * tile["dx"]
            letters = max(6, int(0.55 * (tile["dy"] if upright else tile["dx"])))
            axis.annotate(
                f"{textwrap.fill(part, letters)}\n{size:,}",
                middle,
                ha="center",
                va="center",
                fontsize=8.5 if size > 0.04 * total else 6.5,
                rotation=90 if upright else 0,
                color="#1F2937" if colour == "#E5E7EB" else "white",
            )


def _rectangle(tile: Mapping[str, float], colour: str) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((tile["x"], tile["y"]), tile["dx"], tile["dy"], facecolor=colour, edgecolor="white", lw=1.2)
