"""Colours, matplotlib settings, and figures as bytes.  Matplotlib is imported only when something is drawn."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .. import __version__
from .tables import percent

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#AA4499", "#6B7280"  # told apart by everyone
INK, RULE = "#1F2937", "#9CA3AF"
_DOTS_PER_INCH = 150
_STYLE: dict[str, Any] = {
    "font.size": 10.5,
    "axes.edgecolor": RULE,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "grid.color": "#E5E7EB",
    "legend.frameon": False,
    "svg.hashsalt": "ska_edge",  # the same picture is the same file
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


@dataclass(frozen=True)
class Picture:
    """A figure as SVG and PNG, with the words that replace it for those who cannot see it."""

    svg: bytes
    png: bytes
    alt: str

    @property
    def uri(self) -> str:
        """The SVG as a data URI."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg).decode()


def picture(draw: Callable[[Any], None], width: float, height: float, alt: str) -> Picture:
    """Let `draw` fill a figure of so many inches."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        draw(figure)
        svg, png = io.BytesIO(), io.BytesIO()
        figure.savefig(svg, format="svg", metadata={"Date": None})
        figure.set_layout_engine("none")  # places are found: finding them again takes as long as drawing
        figure.savefig(png, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return Picture(svg.getvalue(), png.getvalue(), alt)


def render(template: str, **context: Any) -> bytes:
    """A page from one of the package's templates: strict about names, everything escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("ska_edge"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda row: percent(row.mean, row.ci95).replace(" ", "\u00a0")
    return str(environment.get_template(template).render(version=__version__, **context)).encode()
