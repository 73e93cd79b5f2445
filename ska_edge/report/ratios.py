"""Backprop over ours: ratios along sweeps, where they cross 1, and in plain words who wins where."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..footprint import DEEP_OURS, METHODS, OURS, RANDOM, Ours, RandomFeatures, Row, Sweep
from .style import BLUE, GREEN, GREY, ORANGE, PURPLE, Picture, picture

_COLOURS = (ORANGE, PURPLE, GREEN, GREY)
MEASURES: dict[str, Callable[[Row], float | None]] = {
    "RAM": lambda row: row.ram_bytes if row.was_run else None,
    "cycles a sample": lambda row: row.cycles_per_sample.nominal if row.cycles_per_sample else None,
}


def _is(row: Row, contestant: Ours | RandomFeatures) -> bool:
    return row.name == f"{contestant.method}, {contestant.profile}"


def _shown(sweeps: Sequence[Sweep]) -> list[Sweep]:
    return [sweep for sweep in sweeps if not sweep.batches]


# -- who wins where, in words -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Duel:
    """Ours and whoever it is measured against, on one network."""

    ours: Row
    rivals: tuple[Row, ...]

    def least(self, measure: str) -> float:
        """The least that a rival takes, over ours."""
        take = MEASURES[measure]
        return min(take(row) or math.inf for row in self.rivals) / (take(self.ours) or math.inf)

    def points(self) -> tuple[float, ...]:
        """Accuracy of ours less that of the most accurate rival, in points, one a split."""
        known = [row for row in self.rivals if row.accuracies]
        if not self.ours.accuracies or not known:
            return ()
        best = max(known, key=lambda row: row.accuracy or 0.0)
        return tuple(100 * (a - b) for a, b in zip(self.ours.accuracies, best.accuracies, strict=True))


def _duels(rows: Sequence[Row], ours: Ours, rival: Callable[[Row], bool]) -> list[Duel]:
    mine = [row for row in rows if _is(row, ours)]
    found = [Duel(one, tuple(row for row in rows if row.shape == one.shape and rival(row))) for one in mine]
    return [duel for duel in found if duel.rivals]


def _int16(row: Row) -> bool:
    return row.method.startswith("backprop") and row.profile == "int16"


def statement(rows: Sequence[Row], sweeps: Sequence[Sweep]) -> str:
    """Ours, default and deep, against the backprop that hurts most: int16 in place, plain or centred."""
    parts = []
    for name, here in [*_methods(rows), *_along(rows, sweeps)]:
        lines = [f"- {words}" for ours in (OURS, DEEP_OURS) if (words := _sentences(here, ours))]
        if lines:
            parts += [f"**{name}**\n", *lines, ""]
    return "\n".join(parts)


def _methods(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.sweep == METHODS and row.compiler:
            found.setdefault(f"{row.shape} on {row.board}, {row.compiler.split()[0]}", []).append(row)
    return list(found.items())


def _along(rows: Sequence[Row], sweeps: Sequence[Sweep]) -> list[tuple[str, list[Row]]]:
    return [
        (f"{sweep.name.capitalize()}, {sweep.shapes[0]} to {sweep.shapes[-1]}", found)
        for sweep in _shown(sweeps)
        if (found := [row for row in rows if row.sweep == sweep.name])
    ]


def _sentences(rows: Sequence[Row], ours: Ours) -> str:
    duels = _duels(rows, ours, _int16)
    if not duels:
        return ""
    sentences = [f"{ours.method}, {ours.profile}."]
    for measure in MEASURES:
        over = [duel.least(measure) for duel in duels]
        takes = f"backprop takes {_between(over, '.2f')} times ours; {_winner(duels, over)}"
        sentences.append(f"{measure[0].upper()}{measure[1:]}: {takes}.")
    if points := [_mean(duel.points()) for duel in duels if duel.points()]:
        sentences.append(f"Accuracy: ours is {in_points(points)} than backprop.")
    controls = _duels(rows, ours, lambda row: _is(row, RANDOM))
    if points := [_mean(duel.points()) for duel in controls if duel.points()]:
        ram, cycles = (_between([duel.least(measure) for duel in controls], ".2f") for measure in MEASURES)
        takes = f"{ram} times our RAM and {cycles} times our cycles"
        sentences.append(f"With random hidden layers it would take {takes}; ours is {in_points(points)} than that.")
    return " ".join(sentences)


def _winner(duels: Sequence[Duel], over: Sequence[float]) -> str:
    """Who wins, and on which networks, where it is not the same one on all."""
    won = [duel.ours.shape for duel, ratio in zip(duels, over, strict=True) if ratio >= 1]
    lost = [duel.ours.shape for duel, ratio in zip(duels, over, strict=True) if ratio < 1]
    if not lost:
        return "ours wins"
    return f"ours wins on {_listed(won)} and **loses** on {_listed(lost)}" if won else "ours **loses**"


def _listed(shapes: Sequence[str]) -> str:
    return " and ".join([", ".join(shapes[:-1]), shapes[-1]] if len(shapes) > 1 else shapes)


def _between(values: Sequence[float], form: str) -> str:
    low, high = f"{min(values):{form}}", f"{max(values):{form}}"
    return low if low == high else f"{low} to {high}"


def in_points(points: Sequence[float]) -> str:
    """Differences of accuracy in words.

    >>> in_points([-4.2, 0.3]), in_points([0.5, 2]), in_points([-1.1])
    ('4.2 points less to 0.3 points more accurate', '0.5 to 2.0 points more accurate', '1.1 points less accurate')
    """
    low, high = min(points), max(points)
    if low < 0 < high:
        return f"{-low:.1f} points less to {high:.1f} points more accurate"
    sizes = sorted(map(abs, (low, high)))
    return f"{_between(sizes, '.1f')} points {'less' if low < 0 else 'more'} accurate"


def standard_error(rows: Sequence[Row], sweeps: Sequence[Sweep]) -> float | None:
    """Of a mean difference between ours and int16 backprop, in points, from how single splits differ; None for one."""
    squares = [
        sum((each - _mean(points)) ** 2 for each in points) / (len(points) - 1) / len(points)
        for _, here in _along(rows, sweeps)
        for ours in (OURS, DEEP_OURS)
        for duel in _duels(here, ours, _int16)
        if len(points := duel.points()) > 1
    ]
    return math.sqrt(_mean(squares)) if squares else None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def batches(rows: Sequence[Row], sweep: Sweep) -> str:
    """What a batch costs in RAM, in words."""
    here = [row for row in rows if row.sweep == sweep.name]
    adam = [row.static_ram_bytes for row in here if "Adam" in row.method]
    papers = [row.static_ram_bytes for row in here if row.schedule == "paper"]
    mine = [row.static_ram_bytes for row in here if _is(row, OURS)]
    if not (adam and papers and mine):
        return ""
    sizes = f"batches of {sweep.batches[0]} to {sweep.batches[-1]}"
    return (
        f"Static RAM, {sizes}: {_between(adam, ',d')} bytes with Adam, whose batch is summed sample by sample; "
        f"{_between(papers, ',d')} with the papers' schedule, which holds its batch; ours learns single samples, in "
        f"{mine[0]:,}.\n"
    )


# -- along a sweep ----------------------------------------------------------------------------------------------------


def _curves(rows: Sequence[Row], sweep: Sweep, measure: str) -> dict[str, list[tuple[float, float]]]:
    """Rival -> (place on the axis, rival's value over ours), where both are known."""
    take, found = MEASURES[measure], dict[str, list[tuple[float, float]]]()
    place = dict(zip(sweep.shapes, sweep.values, strict=True))
    mine = {row.shape: take(row) for row in rows if row.sweep == sweep.name and _is(row, sweep.ours)}
    for row in rows:
        own, theirs = mine.get(row.shape), take(row)
        if row.sweep == sweep.name and row.method.startswith("backprop") and own and theirs:
            found.setdefault(row.name.removeprefix("backprop, "), []).append((place[row.shape], theirs / own))
    return found


def ratio_table(rows: Sequence[Row], sweeps: Sequence[Sweep]) -> str:
    """Every rival along every sweep, and where it breaks even."""
    lines = ["| networks | backprop | " + " | ".join(f"{each}, over ours | break-even" for each in MEASURES) + " |"]
    lines.append("|---" * 6 + "|")
    for sweep in _shown(sweeps):
        curves = {measure: _curves(rows, sweep, measure) for measure in MEASURES}
        for rival in curves["RAM"]:
            cells = [f"{sweep.name}: {sweep.shapes[0]} to {sweep.shapes[-1]}", rival]
            for measure in MEASURES:
                points = curves[measure].get(rival, [])
                cells += [" ".join(f"{ratio:.2f}" for _, ratio in points), break_even(points, sweep.axis)]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def break_even(points: Sequence[tuple[float, float]], axis: str) -> str:
    """Where the ratio crosses 1, between which two points measured.

    >>> break_even([(4, 0.5), (16, 2.0)], "neurons"), break_even([(4, 1.5), (16, 2.0)], "neurons")
    ('at about 8 neurons', 'ours wins all along')
    """
    crossings = []
    for (left, before), (right, after) in zip(points, points[1:], strict=False):
        if (before - 1) * (after - 1) < 0:
            share = math.log(before) / (math.log(before) - math.log(after))
            crossings.append(f"{left * (right / left) ** share:.2g}")
    if crossings:
        return f"at about {' and '.join(crossings)} {axis}"
    return "ours wins all along" if all(ratio > 1 for _, ratio in points) else "**backprop wins all along**"


def ratios(rows: Sequence[Row], sweeps: Sequence[Sweep]) -> Picture | None:
    """Backprop over ours along every sweep: RAM above, cycles below; the line at 1 is the break-even."""
    shown = [sweep for sweep in _shown(sweeps) if _curves(rows, sweep, "RAM")]
    if not shown:
        return None

    def draw(figure: Any) -> None:
        axes = figure.subplots(len(MEASURES), len(shown), squeeze=False, sharey="row")
        for line, measure in zip(axes, MEASURES, strict=True):
            for axis, sweep in zip(line, shown, strict=True):
                for colour, (rival, points) in zip(_COLOURS, _curves(rows, sweep, measure).items(), strict=False):
                    axis.plot(*zip(*points, strict=True), marker="o", ms=4, color=colour, label=rival)
                axis.axhline(1, color=BLUE, lw=2)
                axis.set(xscale="log", yscale="log")
                axis.set_xticks(sweep.values, [f"{value:g}" for value in sweep.values])
                axis.set_yticks([0.5, 1, 2, 4, 8, 16], ["½", "1", "2", "4", "8", "16"])
                axis.minorticks_off()
                axis.grid(axis="y")
                if measure == "RAM":
                    axis.set_title(sweep.name)
                else:
                    axis.set_xlabel(sweep.axis, fontsize=8)
            line[0].set_ylabel(f"{measure}, over ours")
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))

    words = "; ".join(
        f"{sweep.name}, {measure}, {rival}: {' '.join(f'{ratio:.2f}' for _, ratio in points)}"
        for sweep in shown
        for measure in MEASURES
        for rival, points in _curves(rows, sweep, measure).items()
    )
    return picture(draw, 2.9 * len(shown) + 0.6, 5.6, f"Backprop over SKA, w8d8. {words}.")


def settings_in_words(sweeps: Iterable[Sweep]) -> str:
    """Which settings of ours the ratios are taken to."""
    deep = [sweep.name for sweep in sweeps if sweep.ours is DEEP_OURS]
    return "Ours has its defaults" + (f", in {' and '.join(deep)} the settings for depth." if deep else ".")
