"""Our rules beside backprop on a chip: a page of Markdown with pictures, and a table on a terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from ..footprint import METHODS, Row, Sweep
from .style import BLUE, GREEN, GREY, ORANGE, PURPLE, Picture, picture

OURS = "SKA, guided, w8d8"
_COLOURS = (ORANGE, PURPLE, GREEN, GREY)
_MEASURES: dict[str, Callable[[Row], float | None]] = {
    "RAM": lambda row: row.ram_bytes if row.stack_bytes is not None else None,
    "cycles a sample": lambda row: row.cycles_per_sample.nominal if row.cycles_per_sample else None,
}
_INTRODUCTION = """\
# Memory and cycles: SKA against backprop

For: knowing what learning costs on a chip, and where backprop costs less. This page is written by the command itself:

```sh
{command}
```

Both sides learn the same network, get the same start-up, compiler and flags, and run alone in
[the simulator](simulator.md), without a serial line: the very image, on {dataset}. **Nothing ran on silicon.**

- *Flash* holds code and start weights; *static* is RAM of variables, weights among them; *stack* the deepest seen.
- *State*: bytes of static RAM that learning needs beyond weights, biases and the sample.
- *Cycles* of one learnt sample, nominal, the mean of the first samples of the stream (whole batches where there are
  batches). They teach most: what is known already costs our rule less.
- *Energy*: charge a cycle from the chip's data sheet times cycles, at the board's clock; unknown where no document
  gives a current.
- *Accuracy* on {tested} test rows after {passes} passes, one split: less than two points apart is noise. It is that of
  the same integers or the same C on a computer; {equal} of {checked} simulated runs left the computer's bits.
- Ours keeps the rule's defaults. Backprop's rate is the best of four on rows kept from those to learn, for every shape
  anew.
- Backprop is C99 in `ska_edge/baselines/csrc`: ReLU, softmax, weights by input so that zeros are skipped, errors in the
  place of units, the rate multiplied in once, momentum's velocity in the place of the gradient. *Centred* inputs learn
  better and leave few zeros. It has no intrinsics; our kernels have SMLAD on the M4. int16 rounds by the same lattice
  as ours. *M4F* uses the core's unit for floats; other float32 is the compiler's own library.
- A minibatch is summed one sample at a time, so its size costs no RAM; the papers' schedule holds the batch.
"""


def files(
    rows: Sequence[Row], sweeps: Sequence[Sweep], page: PurePath, command: str, told: Mapping[str, Any]
) -> dict[str, bytes]:
    """The page and its pictures, by name; the page comes last.  `told`: data set, passes, test rows."""
    contents, pictures = {}, {}
    for name, drawn in (("parts", parts(rows)), ("ratios", ratios(rows, sweeps))):
        if drawn is not None:
            pictures[name] = f"{page.stem}-{name}.svg"
            contents[pictures[name]] = drawn.svg
            pictures[name] = f"![{drawn.alt}]({pictures[name]})\n"
    contents[page.name] = _markdown(rows, sweeps, command, told, pictures).encode()
    return contents


def _markdown(
    rows: Sequence[Row], sweeps: Sequence[Sweep], command: str, told: Mapping[str, Any], pictures: Mapping[str, str]
) -> str:
    checked = [row for row in rows if row.equal is not None]
    equal = sum(bool(row.equal) for row in checked)
    page = [_INTRODUCTION.format(command=command, equal=equal, checked=len(checked), **told)]
    if any(row.sweep != METHODS for row in rows):
        page += ["## Where it wins, where it does not\n", _statement(rows, sweeps), pictures.get("ratios", "")]
        page += [
            "Backprop's bytes or cycles over ours. Above the line ours wins, below it backprop does; "
            "a curve that crosses it is a break-even.\n",
            _ratio_table(rows, sweeps),
        ]
    page += [pictures.get("parts", "")]
    for group in _groups(rows):
        first = group[0]
        if first.sweep == METHODS:
            built = next((row.compiler for row in group if row.compiler), "")
            page += [f"## {first.shape} on {first.board}\n", f"Built by {built}.\n", _table(group, shape=False)]
        else:
            page += [f"## {first.sweep.capitalize()}, on {first.board}\n", _table(group, shape=True)]
    return "\n".join(part for part in page if part)


def _groups(rows: Sequence[Row]) -> list[list[Row]]:
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        built = row.compiler.split(" ")[0]
        key = (row.sweep, row.shape, row.board, built) if row.sweep == METHODS else (row.sweep, row.board)
        if row.compiler or row.sweep != METHODS:
            found.setdefault(key, []).append(row)
        else:  # never built: it stands with whatever its board's rows were built by
            first = next((each for each in found if each[:3] == key[:3]), key)
            found.setdefault(first, []).append(row)
    return list(found.values())


def _table(rows: Sequence[Row], shape: bool) -> str:
    heads = [
        *(["shape"] if shape else []),
        "method",
        "numbers",
        "flash",
        "static",
        "stack",
        "weights",
        "state",
        "cycles",
    ]
    heads += ["energy, uJ", "accuracy, %"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in rows:
        cells = [*([row.shape] if shape else []), row.method, row.profile]
        numbers = (row.flash_bytes, row.static_ram_bytes, row.stack_bytes, row.weight_bytes, row.learning_state_bytes)
        cells += [_count(number) for number in numbers]
        cells += [_count(row.cycles_per_sample and round(row.cycles_per_sample.nominal))]
        cells += [f"{1e6 * row.joules_per_sample.nominal:.2f}" if row.joules_per_sample else "unknown"]
        cells += ["" if row.accuracy is None else f"{100 * row.accuracy:.1f}"]
        if row.method.startswith("SKA"):
            cells[-len(heads) + int(shape)] = f"**{row.method}**"
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


# -- ratios -----------------------------------------------------------------------------------------------------------


def _curves(rows: Sequence[Row], sweep: Sweep, measure: str) -> dict[str, list[tuple[float, float]]]:
    """Rival -> (place on the axis, rival's value over ours), where both are known."""
    take, found = _MEASURES[measure], dict[str, list[tuple[float, float]]]()
    place = dict(zip(sweep.shapes, sweep.values, strict=True))
    mine = {row.shape: take(row) for row in rows if row.sweep == sweep.name and row.name == OURS}
    for row in rows:
        own, theirs = mine.get(row.shape), take(row)
        if row.sweep == sweep.name and row.method.startswith("backprop") and own and theirs:
            found.setdefault(_short(row.name), []).append((place[row.shape], theirs / own))
    return found


def _short(name: str) -> str:
    return name.removeprefix("backprop, ")


def _shown(sweeps: Sequence[Sweep]) -> list[Sweep]:
    return [sweep for sweep in sweeps if not sweep.batches]


def _ratio_table(rows: Sequence[Row], sweeps: Sequence[Sweep]) -> str:
    lines = ["| networks | backprop | " + " | ".join(f"{each}, over ours | break-even" for each in _MEASURES) + " |"]
    lines.append("|---" * 6 + "|")
    for sweep in _shown(sweeps):
        curves = {measure: _curves(rows, sweep, measure) for measure in _MEASURES}
        for rival in curves["RAM"]:
            cells = [f"{sweep.name}: {sweep.shapes[0]} to {sweep.shapes[-1]}", rival]
            for measure in _MEASURES:
                points = curves[measure].get(rival, [])
                cells += [" ".join(f"{ratio:.2f}" for _, ratio in points), _break_even(points, sweep.axis)]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _break_even(points: Sequence[tuple[float, float]], axis: str) -> str:
    """Where the ratio crosses 1, between which two points measured.

    >>> _break_even([(4, 0.5), (16, 2.0)], "neurons"), _break_even([(4, 1.5), (16, 2.0)], "neurons")
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


def _statement(rows: Sequence[Row], sweeps: Sequence[Sweep]) -> str:
    """The ratio for every kind of network, against the backprop that hurts most: the better int16 in place."""
    lines = []
    for sweep in _shown(sweeps):
        here = [row for row in rows if row.sweep == sweep.name]
        pairs = [
            (mine, [row for row in here if row.shape == mine.shape and row.profile == "int16"])
            for mine in here
            if mine.name == OURS
        ]
        pairs = [(mine, rivals) for mine, rivals in pairs if rivals]
        if not pairs:
            continue
        words = []
        for measure, take in _MEASURES.items():
            over = [min(take(row) or math.inf for row in rivals) / (take(mine) or math.inf) for mine, rivals in pairs]
            kind = "wins" if min(over) >= 1 else "**loses**" if max(over) < 1 else "wins and **loses**"
            words.append(f"{measure} {min(over):.2f} to {max(over):.2f} times ours (ours {kind})")
        points = [
            100 * (mine.accuracy - max(row.accuracy or 0 for row in rivals))
            for mine, rivals in pairs
            if mine.accuracy is not None
        ]
        if points:
            words.append(
                f"ours is {min(points):+.1f} to {max(points):+.1f} points as accurate as the better of the two"
            )
        named = f"**{sweep.name.capitalize()}** ({sweep.shapes[0]} to {sweep.shapes[-1]})"
        lines.append(
            f"- {named}: int16 backprop in place, plain or centred, whichever is less, takes {'; '.join(words)}."
        )
    return "\n".join(lines) + "\n"


def ratios(rows: Sequence[Row], sweeps: Sequence[Sweep]) -> Picture | None:
    """Backprop over ours along every sweep: RAM above, cycles below; the line at 1 is the break-even."""
    shown = [sweep for sweep in _shown(sweeps) if _curves(rows, sweep, "RAM")]
    if not shown:
        return None

    def draw(figure: Any) -> None:
        axes = figure.subplots(len(_MEASURES), len(shown), squeeze=False, sharey="row")
        for line, measure in zip(axes, _MEASURES, strict=True):
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
        axes[0][0].legend(fontsize=7)

    words = "; ".join(
        f"{sweep.name}, {measure}, {rival}: {' '.join(f'{ratio:.2f}' for _, ratio in points)}"
        for sweep in shown
        for measure in _MEASURES
        for rival, points in _curves(rows, sweep, measure).items()
    )
    return picture(draw, 2.9 * len(shown) + 0.6, 5.6, f"Backprop over SKA, guided, w8d8. {words}.")


def parts(rows: Sequence[Row]) -> Picture | None:
    """RAM of every method on the first board and shape: weights, learning state, the rest, stack."""
    first = next((row for row in rows if row.sweep == METHODS), None)
    if first is None:
        return None
    key = first.shape, first.board, first.compiler
    shown = [row for row in rows if (row.shape, row.board, row.compiler) == key and row.sweep == METHODS][::-1]

    def pieces(row: Row) -> tuple[int, ...]:
        rest = row.static_ram_bytes - row.weight_bytes - row.learning_state_bytes
        return row.weight_bytes, row.learning_state_bytes, rest, row.stack_bytes or 0

    def draw(figure: Any) -> None:
        axis = figure.subplots()
        start = [0] * len(shown)
        named = zip(("weights", "learning state", "other variables", "stack"), (BLUE, ORANGE, GREY, GREEN), strict=True)
        for number, (label, colour) in enumerate(named):
            lengths = [pieces(row)[number] for row in shown]
            axis.barh(range(len(shown)), lengths, left=start, color=colour, label=label)
            start = [a + b for a, b in zip(start, lengths, strict=True)]
        axis.set_yticks(range(len(shown)), [row.name for row in shown])
        axis.set(xlabel="bytes of RAM", title=f"{first.shape} on {first.board}")
        axis.legend()

    words = "; ".join(f"{row.name}: {', '.join(map(str, pieces(row)))}" for row in reversed(shown))
    height = 0.34 * len(shown) + 1.2
    return picture(draw, 9.5, height, f"RAM in bytes: weights, learning state, other variables, stack. {words}.")


def print_rows(rows: Sequence[Row]) -> None:
    """Every row, for people."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold underline")
    for name in ("shape", "board", "method", "numbers"):
        table.add_column(name, no_wrap=True)
    for name in ("flash", "static", "stack", "state", "cycles", "accuracy"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        numbers = (row.flash_bytes, row.static_ram_bytes, row.stack_bytes, row.learning_state_bytes)
        cycles = row.cycles_per_sample and round(row.cycles_per_sample.nominal)
        accuracy = "" if row.accuracy is None else f"{100 * row.accuracy:.1f}"
        cells = [row.shape, row.board, row.method, row.profile, *map(_count, (*numbers, cycles)), accuracy]
        table.add_row(*cells, style="bold" if row.name == OURS else None)
    console = Console()
    console.print(table, width=max(console.width, 140))
