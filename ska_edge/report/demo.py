"""The demo's figures, tables and page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import codec
from ..baselines import FLOAT_BYTES, backprop
from ..compare import Comparison, Result, Row, difference
from ..fixed import IntArray
from ..plan import memory
from ..program import Program
from .style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RULE, Picture, picture, render
from .tables import csv_bytes, percent, ranked, table_csv

if TYPE_CHECKING:
    from ..demo import Decisions, DemoResult, Recording

FAMILY_COLOURS = {"ours": BLUE, "backprop": ORANGE, "control": GREY, "published": PURPLE, "other": GREEN}
FAMILY_WORDS = {"ours": "ours", "backprop": "backprop", "control": "control", "published": "published rule"}
ATMEGA328P_RAM_BYTES = 2048  # ATmega328P datasheet DS40002061B, "Features": 2K bytes internal SRAM


def curves_csv(recording: Recording) -> bytes:
    """A recording as CSV: samples, bits a sample by layer, online and test accuracy."""
    columns = [recording.samples, *recording.entropy.values(), recording.online, recording.test]
    header = ["samples", *(f"{name}_bits" for name in recording.entropy), "online_accuracy", "test_accuracy"]
    return csv_bytes(header, list(zip(*columns, strict=True)))


def learning_picture(recording: Recording, one_pass: int) -> Picture:
    """Entropy by layer, and accuracy online and on test rows, over the samples seen."""
    names = [*sorted(name for name in recording.entropy if name != "entropy_class"), "entropy_class"]

    def draw(figure: Any) -> None:
        *panels, accuracy = figure.subplots(len(names) + 1, 1, sharex=True, height_ratios=[*([1] * len(names)), 1.5])
        for panel, name in zip(panels, names, strict=True):
            panel.plot(recording.samples, recording.entropy[name], color=GREEN, lw=1.8)
            panel.axhline(0, color=RULE, lw=0.8)
            panel.set(title=f"Entropy of {_layer_words(name)}", ylabel="bits a sample")
        accuracy.plot(recording.samples, 100 * np.array(recording.online), color=ORANGE, lw=1.5, label=_ONLINE)
        accuracy.plot(recording.samples, 100 * np.array(recording.test), color=BLUE, lw=2, label=_TEST)
        accuracy.set(title="Accuracy", ylabel="%", xscale="log", xlabel="samples learnt (log scale)", ylim=(0, 103))
        accuracy.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        accuracy.legend(loc="upper left", bbox_to_anchor=(0, 0.98))
        accuracy.set_xlim(recording.samples[0], recording.samples[-1] * 1.05)
        figure.align_ylabels()
        for panel in (*panels, accuracy):
            panel.axvline(one_pass, color=RULE, lw=0.8, ls=(0, (4, 3)))
            panel.grid(axis="y")
        accuracy.annotate("end of pass 1", (one_pass, 5), (6, 0), textcoords="offset points", color=GREY, fontsize=9.5)

    end = {name: bits[-1] for name, bits in recording.entropy.items()}
    alt = (
        f"Line charts over {recording.samples[-1]:,} samples. "
        + " ".join(f"Entropy of {_layer_words(name)} ends at {end[name]:.2f} bits a sample." for name in names)
        + f" Test accuracy rises from {recording.test[0]:.0%} to {recording.test[-1]:.1%}."
    )
    return picture(draw, 8.4, 6.6, alt)


_ONLINE = "online: before each sample is learnt"
_TEST = "test: rows never learnt"


def _layer_words(name: str) -> str:
    return "the class layer" if name == "entropy_class" else f"hidden layer {name.removeprefix('entropy')}"


def weights_picture(recording: Recording, one_pass: int) -> Picture:
    """The first layer's weights at every moment recorded: a tile a neuron, a square a pixel."""
    moments = recording.weights
    neurons, features = next(iter(moments.values())).shape
    side, across = int(np.sqrt(features)), int(np.ceil(np.sqrt(neurons)))
    limit = max(float(np.abs(weights).max()) for weights in moments.values())

    def draw(figure: Any) -> None:
        figure.get_layout_engine().set(wspace=0.08)
        axes = np.atleast_1d(figure.subplots(1, len(moments)))
        for axis, (seen, weights) in zip(axes, moments.items(), strict=True):
            sheet = np.full((across * (side + 1) - 1, across * (side + 1) - 1), np.nan)
            for neuron in range(neurons):
                top, left = (side + 1) * (neuron // across), (side + 1) * (neuron % across)
                sheet[top : top + side, left : left + side] = weights[neuron].reshape(side, side)
            image = axis.imshow(sheet, cmap="PuOr", vmin=-limit, vmax=limit, interpolation="nearest")
            axis.set(title=_moment_words(seen, one_pass), xticks=[], yticks=[])
            axis.title.set_fontsize(10)
            axis.spines[:].set_visible(False)
        scale = figure.colorbar(image, ax=axes, location="bottom", shrink=0.4, aspect=40, label="weight (real value)")
        scale.ax.locator_params(nbins=5)

    alt = f"Weights of {neurons} hidden neurons as {side} by {side} images, " + ", ".join(
        _moment_words(seen, one_pass) for seen in moments
    )
    return picture(draw, 9.2, 3.3, f"{alt}: noise turns into strokes.")


def _moment_words(seen: int, one_pass: int) -> str:
    if seen == 0:
        return "before learning"
    if seen % one_pass:
        return f"after {seen:,} samples"
    return f"after {seen // one_pass} pass{'es' if seen > one_pass else ''} ({seen:,})"


def comparison_picture(comparison: Comparison) -> Picture:
    """Test error by method, best on top: every seed a faint dot, mean and 95 % interval over it."""
    results = sorted(comparison.results, key=lambda result: -result.mean)
    rows = [comparison.row(result) for result in results]
    best = 100 * (1 - comparison.best_backprop().mean)

    def draw(figure: Any) -> None:
        axis = figure.subplots()
        for place, (result, row) in enumerate(zip(results, rows, strict=True)):
            _draw_result(axis, place, result, row)
        axis.axvline(best, color=ORANGE, lw=0.9, ls=(0, (4, 3)), zorder=0)
        axis.set_yticks(range(len(rows)), [result.method.readable for result in results])
        for label, row in zip(axis.get_yticklabels(), rows, strict=True):
            label.set(color=FAMILY_COLOURS[row.family], fontweight="bold" if row.family == "ours" else "normal")
        axis.invert_yaxis()
        axis.set(xscale="log", xlim=(1, 100), xlabel="test error (%, log scale): further left is better")
        axis.set_xticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
        axis.set_xticks([], minor=True)
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
        axis.grid(axis="x")
        axis.set_axisbelow(True)
        axis.text(1.02, 1.01, "accuracy %", transform=axis.transAxes, color=GREY, fontsize=9.5, va="bottom")
        axis.annotate(
            "best backprop", (best, 1.01), xycoords=("data", "axes fraction"), color=ORANGE, fontsize=9.5, ha="center"
        )

    alt = "Test accuracy by method, best first: " + "; ".join(
        f"{result.method.readable} {percent(row.mean, row.ci95)} %" for result, row in zip(results, rows, strict=True)
    )
    return picture(draw, 8.8, 0.42 * len(rows) + 1.1, alt)


def _draw_result(axis: Any, place: int, result: Result, row: Row) -> None:
    colour = FAMILY_COLOURS[row.family]
    errors = 100 * (1 - np.array(result.scores()))
    axis.scatter(errors, np.full(len(errors), place + 0.26), s=13, color=colour, alpha=0.35, lw=0)
    mean, half = 100 * (1 - row.mean), 100 * (row.ci95 or 0.0)
    axis.plot([max(mean - half, 0.01), mean + half], [place, place], color=colour, lw=2.2, solid_capstyle="butt")
    axis.scatter([mean], [place], s=64 if row.family == "ours" else 42, color=colour, zorder=3)
    axis.text(
        1.02,
        place,
        percent(row.mean, row.ci95),
        transform=axis.get_yaxis_transform(),
        color=colour,
        va="center",
        fontweight="bold" if row.family == "ours" else "normal",
    )


PART_COLOURS = {"weights": BLUE, "biases": "#56B4E9", "learning memory": ORANGE, "inputs and outputs": "#D1D5DB"}


def ram_parts(program: Program) -> dict[str, int]:
    """A Program's arena in four parts, in bytes."""
    parts = memory(program)
    return {
        "weights": parts["weights"] + parts["heads"],
        "biases": parts["biases"],
        "learning memory": parts["scratch"] + parts["other_state"] + parts["padding"],
        "inputs and outputs": parts["inputs"] + parts["outputs"] + parts["entropies"],
    }


def backprop_parts(shape: tuple[int, ...], buffers: int) -> dict[str, int]:
    """The same for float32 backprop, given as large an input and output buffer as ours."""
    cost, biases = backprop.cost(shape, "relu"), FLOAT_BYTES * sum(shape[1:])
    return {
        "weights": cost.weight_bytes - biases,
        "biases": biases,
        "learning memory": cost.state_bytes,
        "inputs and outputs": buffers,
    }


def memory_picture(bars: Mapping[str, Mapping[str, int]]) -> Picture:
    """RAM by part, one bar a way to learn, against the RAM of an ATmega328P."""

    def draw(figure: Any) -> None:
        axis = figure.subplots()
        for place, parts in enumerate(bars.values()):
            left = 0
            for part, count in parts.items():
                axis.barh(place, count, left=left, height=0.58, color=PART_COLOURS[part], edgecolor="white", lw=0.8)
                if count >= 400:
                    ink = "white" if part == "weights" else INK
                    axis.text(left + count / 2, place, f"{count:,}", ha="center", va="center", color=ink, fontsize=9.5)
                left += count
            axis.text(
                1.0,
                place,
                f"{left:,} bytes",
                transform=axis.get_yaxis_transform(),
                va="center",
                fontweight="normal" if place else "bold",
            )
        axis.axvline(ATMEGA328P_RAM_BYTES, color=INK, lw=1.2, ls=(0, (4, 3)))
        axis.annotate(
            "ATmega328P: 2,048 bytes of RAM",
            (ATMEGA328P_RAM_BYTES, 1.02),
            xycoords=("data", "axes fraction"),
            ha="center",
            fontsize=9.5,
        )
        axis.set_yticks(range(len(bars)), list(bars))
        axis.get_yticklabels()[0].set(color=BLUE, fontweight="bold")
        axis.invert_yaxis()
        axis.set(xlabel="RAM while learning (bytes, call stack not included)", xlim=(0, 5100))
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
        patches = [axis.barh(0, 0, color=colour, label=part) for part, colour in PART_COLOURS.items()]
        figure.legend(handles=patches, loc="outside lower center", ncols=len(patches))

    totals = "; ".join(f"{name} {sum(parts.values()):,} bytes" for name, parts in bars.items())
    return picture(draw, 8.8, 0.5 * len(bars) + 1.5, f"RAM while learning: {totals}. An ATmega328P has 2,048 bytes.")


def digits_picture(decisions: Decisions) -> Picture:
    """One test digit a class that the model decides rightly, and those it gets wrong, ten at most."""
    right, wrong = decisions.choices == decisions.labels, decisions.choices != decisions.labels
    firsts = [np.flatnonzero(right & (decisions.labels == digit))[:1] for digit in range(10)]
    rows = [("right", np.concatenate(firsts)), ("wrong", np.flatnonzero(wrong)[:10])]

    def draw(figure: Any) -> None:
        axes = figure.subplots(2, 10)
        for strip, (kind, picked) in zip(axes, rows, strict=True):
            for axis in strip:
                axis.set_axis_off()
            for axis, index in zip(strip, picked, strict=False):
                axis.imshow(decisions.samples[index].reshape(8, 8), cmap="Greys", vmin=0, vmax=16)
                choice, label = decisions.choices[index], decisions.labels[index]
                words = str(choice) if kind == "right" else f"{choice}, is {label}"
                axis.set_title(words, color=BLUE if kind == "right" else ORANGE, loc="center", fontsize=10.5)

    counts = f"{int(right.sum())} of {len(right)} test digits right, {int(wrong.sum())} wrong"
    named = ", ".join(f"{decisions.choices[i]} for {decisions.labels[i]}" for i in rows[1][1])
    return picture(draw, 8.4, 2.3, f"{counts}. Wrong ones shown: {named or 'none'}.")


def confusion(decisions: Decisions) -> IntArray:
    """Counts [label, choice]."""
    table = np.zeros((10, 10), np.int64)
    np.add.at(table, (decisions.labels, decisions.choices), 1)
    return table


def mistakes(decisions: Decisions) -> list[tuple[int, int, int]]:
    """(label, choice, how often), the most frequent first."""
    table = confusion(decisions)
    np.fill_diagonal(table, 0)
    found = [(int(label), int(choice), int(table[label, choice])) for label, choice in np.argwhere(table)]
    return sorted(found, key=lambda mistake: (-mistake[2], mistake))


def confusion_picture(decisions: Decisions) -> Picture:
    """Labels by choices: right ones in blue, mistakes in orange."""
    table = confusion(decisions)
    right = np.eye(10, dtype=bool)

    def draw(figure: Any) -> None:
        axis = figure.subplots()
        axis.imshow(np.where(right, table, np.nan), cmap="Blues", vmin=0, vmax=2.6 * table.max())
        axis.imshow(np.where(~right & (table > 0), table, np.nan), cmap="Oranges", vmin=0, vmax=6)
        for label, choice in np.ndindex(*table.shape):
            if table[label, choice]:
                axis.text(choice, label, table[label, choice], ha="center", va="center", fontsize=9.5)
        axis.set(xlabel="decided", ylabel="label", xticks=range(10), yticks=range(10))
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)

    return picture(draw, 4.3, 4.2, f"Confusion matrix: {int(table.trace())} of {int(table.sum())} on the diagonal.")


def artefacts(result: DemoResult, programs: Mapping[str, Program]) -> dict[str, bytes]:
    """Every file of the demo by name, the page last; `programs` by profile, for the bytes."""
    recording, decisions = result.recording, result.decisions
    buffers = ram_parts(programs["w8d8"])["inputs and outputs"]
    ram = {f"guided, {profile}": ram_parts(program) for profile, program in programs.items()}
    ram["SGD backprop, float32"] = backprop_parts(result.shape, buffers)
    pictures = {
        "learning": learning_picture(recording, result.one_pass),
        "weights": weights_picture(recording, result.one_pass),
        "comparison": comparison_picture(result.comparison),
        "memory": memory_picture(ram),
        "digits": digits_picture(decisions),
        "confusion": confusion_picture(decisions),
    }
    files = {
        "digits.ska": codec.encode(result.program),
        "comparison.csv": table_csv(result.rows),
        "learning.csv": curves_csv(recording),
    }
    for name, drawn in pictures.items():
        files |= {f"{name}.svg": drawn.svg, f"{name}.png": drawn.png}
    return {**files, "index.html": page(result, pictures, ram)}


def page(result: DemoResult, pictures: Mapping[str, Picture], ram: Mapping[str, Mapping[str, int]]) -> bytes:
    """The demo's page, one file that loads nothing."""
    comparison, recording = result.comparison, result.recording
    rows = ranked(result.rows)
    guided, raw = comparison.of("guided", "w8d8"), comparison.of("raw input + logistic", "float32")
    arena = sum(next(iter(ram.values())).values())
    return render(
        "demo.html.j2",
        result=result,
        rows=rows,
        pictures=pictures,
        ours=comparison.row(guided),
        best=comparison.row(comparison.best_backprop()),
        raw=comparison.row(raw),
        raw_gap=difference(guided, raw),
        untrained_gap=difference(guided, comparison.of("untrained + logistic", "w8d8")),
        fewest=min(row.seeds for row in rows),
        first_pass=recording.test[recording.samples.index(result.one_pass)],
        shape="-".join(map(str, result.shape)),
        neurons=result.shape[1],
        arena=arena,
        ram=ram,
        device_ram=ATMEGA328P_RAM_BYTES,
        spare=ATMEGA328P_RAM_BYTES - arena,
        memory=memory(result.program),
        mistakes=mistakes(result.decisions),
        backprop_state=ram["SGD backprop, float32"]["learning memory"],
        family_words=FAMILY_WORDS,
    )
