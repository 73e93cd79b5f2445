"""The papers' figures, curves and page."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..fixed import FloatArray
from ..reference.two_layer import METHODS
from .style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RULE, Picture, picture, render
from .tables import csv_bytes

if TYPE_CHECKING:
    from rich.console import Console

    from ..paper import PaperResult
    from ..reference.published import History
    from ..schedule import IntegerRun

LAYER_COLOURS = (BLUE, ORANGE, GREEN, PURPLE)
TABLE_WIDTH = 120
PROFILE_COLOURS = {"w16d15": BLUE, "w16d8": PURPLE, "w8d8": ORANGE, "w4d8": GREEN}
METHOD_COLOURS = {"untrained": GREY, "published rule": PURPLE, "backprop": ORANGE}
ROUNDING_WORDS = {"lattice": "lattice (shipped)", "random": "random draws", "half": "half up"}
TITLES = {
    "entropy": "entropy (bits)",
    "cosine": "cosine of Z and ΔD",
    "knowledge_norm": "norm of Z",
    "weight_norm": "norm of W",
    "tensor_net": "tensor net",
}
_THIN = {"color": "black", "lw": 0.9, "ls": (0, (4, 3))}
_DOTS = {"color": "black", "ls": "none", "marker": "o", "ms": 4, "mfc": "none"}
_SHADES = ("#B2182B", "#EF8A62", "#E7B800", "#67A9CF", "#2166AC", "#08306B")  # coarse to fine
_MARKS = ("o", "s", "^", "D")


def _published(axis: Any, history: History, row: int) -> None:
    """The author's curve over ours: thin dashes, or rings where only some steps are known."""
    axis.plot(history.steps, history.values[row], **(_THIN if history.complete else _DOTS))


def _axes(figure: Any, rows: int, columns: int, **options: Any) -> Any:
    axes = figure.subplots(rows, columns, **options)
    for axis in np.ravel(axes):
        axis.grid(axis="both")
        axis.set_axisbelow(True)
        axis.ticklabel_format(style="plain", useOffset=False)
        axis.tick_params(labelsize=9)
    return axes


def _thousands(axis: Any) -> None:
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if abs(value) >= 10 or value == 0 else f"{value:g}")


def histories_picture(result: PaperResult) -> Picture:
    """Five histories by four layers, ours coloured, the author's in thin dashes over it."""
    run, published = result.run, result.published

    def draw(figure: Any) -> None:
        axes = _axes(figure, len(TITLES), 4, sharex=True)
        for axes_row, (name, title) in zip(axes, TITLES.items(), strict=True):
            for layer, axis in enumerate(axes_row):
                ours = getattr(run, name)[layer]
                steps = np.arange(50 - len(ours), 50)
                axis.plot(steps, ours, color=LAYER_COLOURS[layer], lw=3, alpha=0.75)
                _published(axis, published[name], layer)
                _thousands(axis)
                if name == "cosine":
                    axis.set_ylim(-0.05, 1.08)
            axes_row[0].set_ylabel(title)
        for layer, axis in enumerate(axes[0]):
            axis.set_title(f"layer {layer + 1}", color=LAYER_COLOURS[layer], fontweight="bold")
        for axis in axes[-1]:
            axis.set(xlabel="forward step", xticks=range(0, 51, 10))
        figure.align_ylabels()

    worst = max(max(errors) for errors in result.max_rel_error.values())
    alt = (
        f"Twenty panels: entropy, cosine, norm of Z, norm of W and tensor net of four layers over fifty forward "
        f"steps. Published and reproduced curves coincide; largest difference {worst:.1e} of the maximum."
    )
    return picture(draw, 11.0, 10.5, alt)


def times_picture(result: PaperResult) -> Picture:
    """Entropy over rate against rate times step: one panel a layer, one line a rate; and the deviation by rate."""
    rates = sorted(result.rates, reverse=True)
    finest = rates[-1]
    shades = [*_SHADES[: len(rates) - 1], _SHADES[-1]]

    def draw(figure: Any) -> None:
        grid = figure.add_gridspec(2, 3, width_ratios=[1, 1, 1.05])
        panels = [figure.add_subplot(grid[row, column]) for row in (0, 1) for column in (0, 1)]
        for layer, axis in enumerate(panels):
            for rate, shade in zip(rates, shades, strict=True):
                entropy = result.rates[rate][layer] / rate / 1000
                axis.plot(rate * np.arange(1, len(entropy) + 1), entropy, color=shade, lw=1.6, label=f"η = {rate:.3g}")
            axis.set_title(f"layer {layer + 1}", color=LAYER_COLOURS[layer], fontweight="bold")
            axis.grid()
            _thousands(axis)
            if layer % 2 == 0:
                axis.set_ylabel("entropy / η (1,000 bits)")
            if layer > 1:
                axis.set_xlabel("time, η k (rate times step)")
        panels[0].legend(fontsize=9, handlelength=1.4, labelspacing=0.3, loc="lower left")
        axis = figure.add_subplot(grid[:, 2])
        found = result.time_invariance
        distance = np.array([rate - finest for rate in found])
        axis.set(xscale="log", yscale="log", xlabel=f"η - {finest:g} (log scale)")
        for layer in range(4):
            errors = 100 * np.array([deviation[layer] for deviation in found.values()])
            axis.plot(
                distance,
                errors,
                color=LAYER_COLOURS[layer],
                marker=_MARKS[layer],
                lw=1.6,
                label=f"layer {layer + 1}: order {result.order[layer]:.2f}",
            )
        top = 100 * max(max(deviation) for deviation in found.values())
        guide = 1.6 * top * distance / distance.max()
        axis.plot(distance, guide, color=GREY, lw=1, ls=(0, (4, 3)), label="in proportion to η")
        axis.set_title("largest deviation from the finest run (%)")
        _log_ticks(axis.yaxis, (1, 2, 5, 10, 20, 50, 100))
        _log_ticks(axis.xaxis, (0.001, 0.002, 0.005, 0.01, 0.02))
        axis.grid(which="major")
        axis.legend(fontsize=9, loc="lower right")

    coarsest = rates[0]
    alt = (
        f"Entropy over rate against rate times step for {len(rates)} rates: the curves are alike, not the same. At "
        f"rate {coarsest:g} they deviate by "
        + ", ".join(f"{100 * share:.0f} % in layer {i + 1}" for i, share in enumerate(result.time_invariance[coarsest]))
        + "; the deviation falls in proportion to the rate."
    )
    return picture(draw, 11.0, 6.0, alt)


def _path(axis: Any, x: Sequence[float], y: Sequence[float], layer: int, marked: int, label: str) -> None:
    """A path through steps 1 to K - 1, every tenth step a dot, one step a star."""
    axis.plot(x, y, color=LAYER_COLOURS[layer], lw=2)
    tens = [step - 1 for step in (10, 20, 30, 40)]
    axis.plot(np.array(x)[tens], np.array(y)[tens], ls="none", marker="o", ms=4.5, color=LAYER_COLOURS[layer])
    place = marked - 1
    axis.plot([x[place]], [y[place]], ls="none", marker="*", ms=15, mfc="white", mec=INK, mew=1.3, label=label)
    axis.set_title(f"layer {layer + 1}", color=LAYER_COLOURS[layer], fontweight="bold")
    axis.margins(0.08)
    _thousands(axis)
    axis.legend(fontsize=9.5, handletextpad=0.2, borderaxespad=0.2)


def _four_paths(
    result: PaperResult, values: Callable[[int], Sequence[float]], title: str, alt: str, of_entropy: bool = True
) -> Picture:
    run, minima = result.run, result.entropy_minimum_step

    def draw(figure: Any) -> None:
        axes = np.ravel(_axes(figure, 1, 4))
        for layer, axis in enumerate(axes):
            label = f"{'minimum, ' if of_entropy else 'entropy minimum, '}step {minima[layer]}"
            _path(axis, run.knowledge_norm[layer][1:], values(layer), layer, minima[layer], label)
            axis.set_xlabel("norm of Z")
        axes[0].set_ylabel(title)

    return picture(draw, 12.0, 3.3, alt)


def flow_picture(result: PaperResult) -> Picture:
    """Knowledge flow over the norm of Z, the step of lowest entropy a star."""
    alt = "Knowledge flow against the norm of Z, a panel a layer; the step of lowest entropy lies at the peak: " + (
        ", ".join(
            f"layer {layer + 1} minimum {low}, peak {high}"
            for layer, (low, high) in enumerate(zip(result.entropy_minimum_step, result.flow_maximum_step, strict=True))
        )
    )
    return _four_paths(result, lambda layer: result.run.flow[layer], "knowledge flow Φ", alt, of_entropy=False)


def valley_picture(result: PaperResult) -> Picture:
    """Entropy over the norm of Z: the U."""
    minima = ", ".join(map(str, result.entropy_minimum_step))
    alt = f"Entropy against the norm of Z, a panel a layer: it falls, turns at steps {minima} and rises again."
    return _four_paths(result, lambda layer: result.run.entropy[layer], "entropy (bits)", alt)


def net_picture(result: PaperResult) -> Picture:
    """Tensor net over the steps, with its sign changes."""
    run, crossings = result.run, result.zero_crossing_step

    def draw(figure: Any) -> None:
        axes = np.ravel(_axes(figure, 1, 4))
        for layer, axis in enumerate(axes):
            net = np.array(run.tensor_net[layer])
            steps = np.arange(1, len(net) + 1)
            axis.axhline(0, color=INK, lw=0.8)
            axis.fill_between(steps, net, 0, where=net < 0, color=LAYER_COLOURS[layer], alpha=0.28, lw=0)
            axis.plot(steps, net, color=LAYER_COLOURS[layer], lw=2)
            _published(axis, result.published["tensor_net"], layer)
            crossing = crossings[layer]
            words = "no change of sign" if crossing is None else f"negative up to step {crossing}"
            if crossing is not None:
                axis.axvline(crossing + 0.5, color=INK, lw=1, ls=":")
            axis.set_title(f"layer {layer + 1}: {words}", color=LAYER_COLOURS[layer], fontsize=10)
            axis.set(xlabel="forward step", xticks=range(0, 51, 10))
            _thousands(axis)
        axes[0].set_ylabel("tensor net")

    words = ", ".join(
        f"layer {i + 1} " + ("does not change sign" if step is None else f"changes sign after step {step}")
        for i, step in enumerate(crossings)
    )
    return picture(draw, 12.0, 3.2, f"Tensor net over the steps: {words}.")


def lagrangian_picture(result: PaperResult) -> Picture:
    """The Lagrangian over the norm of Z and the flow, in three dimensions, with its shadow on the floor."""
    run = result.run

    def draw(figure: Any) -> None:
        for layer in range(4):
            axis = figure.add_subplot(2, 2, layer + 1, projection="3d")
            x, y = np.array(run.knowledge_norm[layer][1:]) / 1000, np.array(run.flow[layer]) / 1000
            z = np.array(run.lagrangian[layer]) / 1000
            floor = min(0.0, float(z.min())) - 0.06 * float(np.ptp(z))
            axis.plot(x, y, np.full_like(z, floor), color=RULE, lw=1.2)
            for step in range(9, len(z), 10):
                axis.plot([x[step]] * 2, [y[step]] * 2, [floor, z[step]], color=RULE, lw=0.7)
            axis.plot(x, y, z, color=LAYER_COLOURS[layer], lw=2.4)
            tens = list(range(9, len(z), 10))
            axis.scatter(x[tens], y[tens], z[tens], color=LAYER_COLOURS[layer], s=22, depthshade=False)
            axis.set_title(f"layer {layer + 1}", color=LAYER_COLOURS[layer], fontweight="bold", y=0.97)
            axis.set_xlabel("norm of Z (1,000)", labelpad=3, fontsize=9)
            axis.set_ylabel("flow Φ (1,000)", labelpad=4, fontsize=9)
            axis.set_zlabel("Lagrangian (1,000)", labelpad=4, fontsize=9)
            axis.tick_params(labelsize=8, pad=1)
            for each in (axis.xaxis, axis.yaxis, axis.zaxis):
                each.set_pane_color((0.97, 0.97, 0.98, 1.0))
                each.set_major_locator(_few_ticks())
            axis.view_init(elev=20, azim=-58)
            axis.set_box_aspect((1.25, 1.1, 0.85), zoom=0.95)

    alt = "The Lagrangian as a path over the norm of Z and the knowledge flow, a panel a layer: it falls to " + (
        ", ".join(f"{min(values):,.0f} in layer {i + 1}" for i, values in enumerate(run.lagrangian))
    )
    return picture(draw, 9.6, 8.0, alt)


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(4)


def _log_ticks(axis: Any, ticks: Sequence[float]) -> None:
    """Plain numbers on a logarithmic axis."""
    low, high = axis.get_view_interval()
    shown = [tick for tick in ticks if low <= tick <= high]
    axis.set_ticks(shown, [f"{tick:g}" for tick in shown])
    axis.set_ticks([], minor=True)


def _spread(falling: FloatArray, room: float) -> FloatArray:
    """Places for labels, near their values and at least `room` apart."""
    places = np.array(falling, np.float64)
    for _ in range(500):
        for i in range(len(places) - 1):
            lacking = room - (places[i] - places[i + 1])
            if lacking > 0:
                places[i] += lacking / 2
                places[i + 1] -= lacking / 2
    return places


def output_picture(result: PaperResult) -> Picture:
    """Mean decision of each output neuron over the steps, and how one of them differs from another."""
    output, history = np.array(result.run.output), result.published["output"]

    def draw(figure: Any) -> None:
        from matplotlib import colormaps

        axis = _axes(figure, 1, 1)
        ends = np.argsort(-output[-1])
        for neuron in range(output.shape[1]):
            colour = colormaps["viridis"](0.05 + 0.85 * neuron / 9)
            axis.plot(output[:, neuron], color=colour, lw=2.6, alpha=0.85)
            _published(axis, history, neuron)
        for neuron, place in zip(ends, _spread(output[-1, ends], float(np.ptp(output)) / 16), strict=True):
            colour = colormaps["viridis"](0.05 + 0.85 * neuron / 9)
            axis.annotate(
                f"neuron {neuron}",
                (49, output[-1, neuron]),
                (51, place),
                color=colour,
                fontsize=9,
                va="center",
                arrowprops={
                    "arrowstyle": "-",
                    "color": colour,
                    "lw": 0.6,
                    "shrinkA": 0,
                    "shrinkB": 0,
                    "relpos": (0, 0.5),
                },
            )
        axis.set(xlabel="forward step", ylabel="mean decision over 1,000 images", xlim=(0, 49), xticks=range(0, 50, 10))

    low, high = output[-1].min(), output[-1].max()
    alt = f"Mean decision of ten output neurons over fifty steps: from one half to between {low:.2f} and {high:.2f}."
    return picture(draw, 8.0, 4.2, alt)


def readout_picture(result: PaperResult) -> Picture:
    """Accuracy of a linear readout of each layer before and after."""
    words = {
        "as they are": "decisions as they are",
        "standardised": "every neuron standardised (double precision)",
    }

    def draw(figure: Any) -> None:
        axes = _axes(figure, 1, len(result.readout), sharey=True)
        for axis, (kind, (before, after)) in zip(np.ravel(axes), result.readout.items(), strict=True):
            places = np.arange(4)
            for shift, shares, colour, label in ((-0.2, before, RULE, "untrained"), (0.2, after, PURPLE, "learnt")):
                bars = axis.bar(places + shift, 100 * np.array(shares), 0.38, color=colour, label=label)
                axis.bar_label(bars, fmt="%.0f", fontsize=9, padding=1)
            axis.axhline(10, color=INK, lw=0.9, ls=(0, (4, 3)))
            axis.set(xticks=places, xticklabels=[f"layer {i + 1}" for i in places], ylim=(0, 100))
            axis.set_title(words[kind])
            axis.grid(visible=False, axis="x")
        axes[0].set_ylabel("accuracy of a linear readout (%)")
        axes[0].legend(loc="upper right", ncols=2)
        axes[-1].set_xlim(-0.5, 4.1)
        axes[-1].annotate("chance", (4.08, 11), fontsize=9, ha="right", va="bottom")

    before, after = result.readout["as they are"]
    alt = "Accuracy of a linear readout before and after learning: " + ", ".join(
        f"layer {layer + 1} {b:.2f} to {a:.2f}" for layer, (b, a) in enumerate(zip(before, after, strict=True))
    )
    return picture(draw, 9.0, 3.5, alt)


def functions_picture(result: PaperResult) -> Picture:
    """H_SKA of four decision functions beside the change of Shannon's entropy."""
    found = result.functions
    colours = {"sigmoid": BLUE, "tanh": ORANGE, "probit": GREEN, "arctangent": PURPLE}

    def draw(figure: Any) -> None:
        axis = _axes(figure, 1, 1)
        for name, bits in found.ska.items():
            axis.plot(found.path, bits, color=colours[name], lw=3.2 if name == "sigmoid" else 1.8, alpha=0.85)
        axis.plot(found.path, found.shannon, **{**_THIN, "lw": 1.2})
        for name, at, dy in (
            ("sigmoid", 0.99, 0.05),
            ("tanh", 0.99, 0.0),
            ("probit", 0.99, -0.02),
            ("arctangent", 0.99, 0.0),
        ):
            place = int(np.argmin(np.abs(found.path - at)))
            words = "sigmoid = Shannon (dashes)" if name == "sigmoid" else name
            axis.annotate(words, (1.0, found.ska[name][place] + dy), color=colours[name], fontsize=10, va="center")
        axis.set(xlabel="decision D", ylabel="entropy from D = 1/2 on (bits)", xlim=(0, 1))
        axis.spines["bottom"].set_position(("outward", 4))

    alt = "Entropy accumulated from an undecided D to any other: the sigmoid's curve is Shannon's; " + ", ".join(
        f"{name} is off by {bits:.2f} bits" for name, bits in found.deviation.items() if name != "sigmoid"
    )
    return picture(draw, 7.6, 3.8, alt)


def two_layer_picture(result: PaperResult) -> Picture:
    """Test accuracy of the two-layer network by data and method, a dot a seed."""

    def draw(figure: Any) -> None:
        axes = _axes(figure, 1, len(result.two_layer), sharey=True)
        for axis, (kind, runs) in zip(np.ravel(axes), result.two_layer.items(), strict=True):
            for place, method in enumerate(METHODS):
                shares = 100 * np.array([run.accuracy[method] for run in runs])
                spread = np.linspace(-0.16, 0.16, len(shares))
                axis.plot(place + spread, shares, ls="none", marker="o", ms=4, color=METHOD_COLOURS[method], alpha=0.45)
                axis.plot([place - 0.26, place + 0.26], [shares.mean()] * 2, color=METHOD_COLOURS[method], lw=2.6)
                axis.annotate(
                    f"{shares.mean():.0f}",
                    (place + 0.3, shares.mean()),
                    color=METHOD_COLOURS[method],
                    fontsize=10,
                    fontweight="bold",
                    va="center",
                )
            axis.axhline(50, color=INK, lw=0.9, ls=(0, (4, 3)))
            axis.set(xticks=range(3), xticklabels=["untrained", "published\nrule", "backprop"], ylim=(42, 103))
            axis.set(title=kind, xlim=(-0.5, 2.7))
            axis.grid(visible=False, axis="x")
        axes[0].set_ylabel("test accuracy (%)")
        axes[0].annotate("chance", (2.65, 50.5), fontsize=9, ha="right", va="bottom")

    alt = "Two-layer network on synthetic data, mean test accuracy: " + "; ".join(
        f"{kind}: " + ", ".join(f"{m} {np.mean([run.accuracy[m] for run in runs]):.2f}" for m in METHODS)
        for kind, runs in result.two_layer.items()
    )
    return picture(draw, 9.4, 3.6, alt)


def integers_picture(result: PaperResult) -> Picture:
    """Entropy of every profile over float64, a panel a layer."""

    def draw(figure: Any) -> None:
        axes = np.ravel(_axes(figure, 2, 2, sharex=True))
        for layer, axis in enumerate(axes):
            exact = np.array(result.run.entropy[layer])
            steps = np.arange(1, len(exact) + 1)
            for profile, run in result.profiles.items():
                colour = PROFILE_COLOURS.get(profile, GREY)
                axis.plot(steps, run.entropy[layer], color=colour, lw=2.2, alpha=0.8, label=profile)
            axis.plot(steps, exact, **{**_THIN, "lw": 1.1}, label="float64")
            axis.set_title(f"layer {layer + 1}", fontweight="bold")
            _thousands(axis)
            if layer % 2 == 0:
                axis.set_ylabel("entropy (bits)")
            if layer > 1:
                axis.set(xlabel="forward step", xticks=range(0, 51, 10))
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))

    errors = {name: result.integer_error(run) for name, run in result.profiles.items()}
    alt = "Entropy in integers over float64, a panel a layer. Largest error: " + "; ".join(
        f"{name} {100 * max(error.entropy_max_rel_error):.1f} %" for name, error in errors.items()
    )
    return picture(draw, 9.0, 6.0, alt)


def rounding_picture(result: PaperResult) -> Picture:
    """Largest entropy error of every profile and layer by rounding."""
    colours = {"lattice": BLUE, "random": GREY, "half": ORANGE}

    def draw(figure: Any) -> None:
        axes = np.ravel(_axes(figure, 1, len(result.roundings), sharey=True, squeeze=False))
        for axis, (profile, runs) in zip(axes, result.roundings.items(), strict=True):
            width = 0.8 / len(runs)
            for number, (rounding, run) in enumerate(runs.items()):
                shares = 100 * np.array(result.integer_error(run).entropy_max_rel_error)
                places = np.arange(4) - 0.4 + width * (number + 0.5)
                bars = axis.bar(places, shares, 0.92 * width, color=colours[rounding], label=ROUNDING_WORDS[rounding])
                axis.bar_label(bars, [_short(share) for share in shares], fontsize=7.5, padding=1, rotation=90)
            axis.set(yscale="log", xticks=range(4), xticklabels=[f"layer {i + 1}" for i in range(4)], title=profile)
            axis.set_ylim(0.01, 400)
            axis.set_yticks([], minor=True)
            axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axis.grid(visible=False, axis="x")
        axes[0].set_ylabel("largest error of entropy\n(% of its maximum, log scale)")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))

    alt = "Largest entropy error against float64 by rounding: " + "; ".join(
        f"{profile} {ROUNDING_WORDS[rounding]} {_short(100 * max(result.integer_error(run).entropy_max_rel_error))} %"
        for profile, runs in result.roundings.items()
        for rounding, run in runs.items()
    )
    return picture(draw, 10.5, 4.0, alt)


def _short(percent: float) -> str:
    return f"{percent:.2f}" if percent < 1 else f"{percent:.1f}" if percent < 10 else f"{percent:.0f}"


# -- curves -----------------------------------------------------------------------------------------------------


def curves(result: PaperResult) -> dict[str, bytes]:
    """Every curve as CSV, by file name."""
    tables = {
        "layers.csv": _layers_csv(result),
        "output.csv": csv_bytes(
            ["step", *(f"neuron{n}" for n in range(len(result.run.output[0])))],
            [[step, *map(float, row)] for step, row in enumerate(result.run.output)],
        ),
        "time_invariance.csv": csv_bytes(
            ["rate", "layer", "step", "time", "entropy_over_rate_bits"],
            [
                (rate, layer + 1, step, rate * step, float(bits) / rate)
                for rate, entropy in result.rates.items()
                for layer, row in enumerate(entropy)
                for step, bits in enumerate(row, start=1)
            ],
        ),
        "functions.csv": csv_bytes(
            ["decision", "shannon_bits", *(f"{name}_bits" for name in result.functions.ska)],
            np.column_stack([result.functions.path, result.functions.shannon, *result.functions.ska.values()]).tolist(),
        ),
        "readout.csv": csv_bytes(
            ["readout", "layer", "before", "after"],
            [
                (kind, layer + 1, b, a)
                for kind, (before, after) in result.readout.items()
                for layer, (b, a) in enumerate(zip(before, after, strict=True))
            ],
        ),
        "two_layer.csv": csv_bytes(
            ["data", "seed", "method", "accuracy", "accuracy_at_one_half", "entropy1_bits", "entropy2_bits"],
            [
                (
                    kind,
                    run.seed,
                    method,
                    run.accuracy[method],
                    run.plain_accuracy[method],
                    *(sum(layer) for layer in run.entropy.get(method, [[], []])),
                )
                for kind, runs in result.two_layer.items()
                for run in runs
                for method in METHODS
            ],
        ),
        "claims.csv": csv_bytes(
            ["claim", "source", "found", "verdict"],
            [(each.claim, each.source, each.found, each.verdict) for each in result.claims],
        ),
    }
    if result.roundings:
        tables["integers.csv"] = _integers_csv([run for runs in result.roundings.values() for run in runs.values()])
    return tables


def _layers_csv(result: PaperResult) -> bytes:
    run = result.run
    names = ("entropy", "cosine", "knowledge_norm", "weight_norm", "tensor_net", "flow", "lagrangian")
    whole = [history for name, history in result.published.items() if history.complete and name != "output"]
    rows = []
    for layer in range(len(run.entropy)):
        for step in range(len(run.knowledge_norm[layer])):
            row: list[Any] = [layer + 1, step]
            for name in names:
                values = getattr(run, name)[layer]
                place = step - (len(run.knowledge_norm[layer]) - len(values))
                row.append(values[place] if place >= 0 else "")
            for history in whole:
                row.append(float(history.values[layer][step - history.steps[0]]) if step >= history.steps[0] else "")
            rows.append(row)
    return csv_bytes(["layer", "step", *names, *(f"published_{history.name}" for history in whole)], rows)


def _integers_csv(runs: Sequence[IntegerRun]) -> bytes:
    rows: list[Sequence[Any]] = []
    for run in runs:
        for layer, (entropy, flow) in enumerate(zip(run.entropy, run.flow, strict=True)):
            for step, (bits, moved) in enumerate(zip(entropy, flow, strict=True), start=1):
                last = layer == len(run.entropy) - 1
                output = _output_at(run.output, step, len(entropy)) if last else []
                rows.append((run.profile, run.rounding, layer + 1, step, bits, moved, *output))
    width = max(len(row) for row in rows)
    header = ["profile", "rounding", "layer", "step", "entropy_bits", "flow", *(f"neuron{n}" for n in range(width - 6))]
    return csv_bytes(header, rows)


def _output_at(output: Sequence[FloatArray], step: int, steps: int) -> list[float]:
    """Mean decisions at a step; `output` may start at step 0 or 1."""
    return [float(value) for value in output[step - 1 + len(output) - steps]]


# -- the page ---------------------------------------------------------------------------------------------------


def artefacts(result: PaperResult) -> dict[str, bytes]:
    """Every file by name, the page last."""
    pictures = {
        "histories": histories_picture(result),
        "times": times_picture(result),
        "flow": flow_picture(result),
        "valley": valley_picture(result),
        "net": net_picture(result),
        "lagrangian": lagrangian_picture(result),
        "output": output_picture(result),
        "readout": readout_picture(result),
        "functions": functions_picture(result),
        "two_layer": two_layer_picture(result),
    }
    if result.profiles:
        pictures["integers"] = integers_picture(result)
    if result.roundings:
        pictures["rounding"] = rounding_picture(result)
    files = curves(result)
    for name, drawn in pictures.items():
        files |= {f"{name}.svg": drawn.svg, f"{name}.png": drawn.png}
    found = {key: value for key, value in result.to_json().items() if key != "files"}
    files["paper.json"] = json.dumps(found, indent=1, allow_nan=False).encode()
    return {**files, "index.html": page(result, pictures)}


def page(result: PaperResult, pictures: dict[str, Picture]) -> bytes:
    """The page, one file that loads nothing."""
    claims = result.claims
    return render(
        "paper.html.j2",
        result=result,
        pictures=pictures,
        titles=TITLES,
        claims=claims,
        counts={
            verdict: sum(each.verdict == verdict for each in claims)
            for verdict in ("holds", "holds in part", "does not hold")
        },
        errors={name: result.integer_error(run) for name, run in result.profiles.items()},
        roundings={
            profile: {rounding: result.integer_error(run) for rounding, run in runs.items()}
            for profile, runs in result.roundings.items()
        },
        rounding_words=ROUNDING_WORDS,
        finest=min(result.rates),
        short=_short,
    )


def print_claims(result: PaperResult, console: Console | None = None) -> None:
    """Print the claims and, below them, the checks that fail."""
    from rich.console import Console
    from rich.table import Table

    table = Table(
        box=None, pad_edge=False, header_style="bold underline", title="What the papers say, and what was found"
    )
    table.add_column("claim", ratio=5)
    table.add_column("source", ratio=2)
    table.add_column("found here", ratio=7)
    table.add_column("verdict", no_wrap=True)
    styles = {"holds": "green", "holds in part": "yellow", "does not hold": "red"}
    for each in result.claims:
        table.add_row(
            each.claim, each.source, each.found, f"[{styles[each.verdict]}]{each.verdict}[/]", end_section=True
        )
        table.add_row("", "", "", "")
    shown = console or Console(width=max(Console().width, TABLE_WIDTH))
    shown.print(table)
    for check in result.checks:
        mark = "[green]ok[/]  " if check.holds else "[red]FAIL[/]"
        shown.print(f"{mark}  {check.name}: {check.found} ({check.allowed})", highlight=False, soft_wrap=True)
