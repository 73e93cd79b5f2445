"""The picture of `ska-edge probe`: entropy, alignment and knowledge of every sigmoid layer, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .style import BLUE, GREEN, GREY, ORANGE, PURPLE, Picture, picture

if TYPE_CHECKING:
    from ..backends.onnx.probe import LayerSignal

_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, GREY)
_PANELS = (("entropy", "local entropy, bits"), ("cosine", "alignment of z and dD"), ("knowledge_norm", "norm of z"))


def draw(layers: Sequence[LayerSignal]) -> Picture:
    """One panel a signal, one line a layer: single steps faint, the running mean strong."""

    def fill(figure: Any) -> None:
        for axes, (name, title) in zip(figure.subplots(1, len(_PANELS)), _PANELS, strict=True):
            for number, layer in enumerate(layers):
                values, colour = getattr(layer, name), _COLOURS[number % len(_COLOURS)]
                steps = np.arange(1, len(values) + 1)
                axes.plot(steps, values, color=colour, alpha=0.25, linewidth=0.7)
                axes.plot(steps, np.cumsum(values) / steps, color=colour, linewidth=1.8, label=layer.name)
            axes.set_title(title)
            axes.set_xlabel("sample")
            axes.grid(axis="y")
        figure.axes[0].legend(fontsize=8, title="mean so far", title_fontsize=8)

    means = ", ".join(f"{layer.name}: {layer.entropy.mean():.3g} bits" for layer in layers)
    return picture(fill, 10.5, 3.2, f"Local entropy, cosine alignment and knowledge norm a step; mean entropy {means}")
