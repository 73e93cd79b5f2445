"""The benchmark as a page of Markdown with pictures, and as tables on a terminal."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from ..compare import Comparison, Result, Row
from ..compare.scenario import Contestant
from .demo import FAMILY_COLOURS
from .style import GREY, Picture, picture
from .tables import percent

if TYPE_CHECKING:
    from rich.console import Console

    from ..compare.benchmark import Benchmark, Finding

_TABLE_WIDTH = 120
_STRETCH = 6.0  # of the axis, beyond the third quarter of the methods
_INTRODUCTION = """\
# Benchmark

For: knowing what the rules are worth, against what, and at what price. Wins and losses stand in one order.

This page is written by the command itself:

```sh
{command}
```

{judged} Mean and 95 % interval (Student's t) over seeds. Every method
gets the same rows in the same order; differences are paired by seed.

- *Weights*: bytes of all that is learnt or used to decide. *Memory*: bytes that learning needs beyond them.
- *Products*: multiplications in one learning step.
- *Seconds*: median wall time of one run's learning on the host, compiled code beside NumPy: no measure of a device.
- Baselines are written as good embedded C would do it. Their rates, like ours, were chosen on rows for choices.
- Backprop's best row is picked in hindsight, which favours it.
- Nothing has run on silicon.
"""
_FINAL = "Accuracies are on the test rows, opened for this table."
_CHOICE = "Accuracies are on the rows for choices; the test rows (`--final`) stay closed."


def files(benchmark: Benchmark, page: PurePath, command: str) -> dict[str, bytes]:
    """The page and its pictures, by name; the page comes last."""
    pictures = {_picture_name(page, finding): ranking(finding) for finding in benchmark.findings}
    contents = {name: drawn.svg for name, drawn in pictures.items()}
    alts = {name: drawn.alt for name, drawn in pictures.items()}
    contents[page.name] = markdown(benchmark, page, command, alts).encode()
    return contents


def markdown(benchmark: Benchmark, page: PurePath, command: str, alts: dict[str, str]) -> str:
    """The page."""
    final = any(finding.scenario.final for finding in benchmark.findings)
    parts = [_INTRODUCTION.format(command=command, judged=_FINAL if final else _CHOICE)]
    for finding in benchmark.findings:
        name = _picture_name(page, finding)
        _, _, definition = finding.scenario.definition.partition(":")
        parts += [
            f"## {finding.scenario.name.capitalize()}, {finding.scenario.dataset}\n",
            _paragraphs(definition),
            f"Here: {finding.scenario.passes} pass{'es' if finding.scenario.passes > 1 else ''}.\n",
            f"![{alts[name]}]({name})\n",
            _table(finding.comparison),
        ]
        parts += ["<details><summary>What was chosen</summary>\n", _list(_choices(finding)), "</details>\n"]
        if finding.goals:
            parts.append("What must be shown:\n")
            parts.append(_list([f"{'holds' if goal.holds else '**missed**'}: {goal.words}." for goal in finding.goals]))
        if finding.pairs():
            parts.append(f"Paired with {finding.scenario.rival_words}:\n")
            parts.append(_list([f"{words}." for words in finding.pairs()]))
    return "\n".join(parts)


def shown(metric: str, mean: float, ci95: float | None) -> str:
    """A figure in its own unit: samples as they are, areas with four digits, shares in percent.

    >>> shown("samples to recover", 1234.5, 100.2), shown("AUC", 0.98765, None), shown("accuracy", 0.975, 0.005)
    ('1,234 ± 100', '0.9877', '97.5 ± 0.5')
    """
    if metric.startswith("samples"):
        return f"{mean:,.0f}" + ("" if ci95 is None else f" ± {ci95:,.0f}")
    if metric == "AUC":
        return f"{mean:.4f}" + ("" if ci95 is None else f" ± {ci95:.4f}")
    return percent(mean, ci95)


def heading(metric: str) -> str:
    """A metric's name with its unit."""
    return metric if metric.startswith("samples") or metric == "AUC" else f"{metric}, %"


def print_finding(finding: Finding, console: Console | None = None) -> None:
    """A table on the terminal, best first, ours in bold; below it what must be shown."""
    from rich.console import Console
    from rich.table import Table

    comparison = finding.comparison
    title = f"{comparison.dataset}, {comparison.scenario}: mean and 95 % interval"
    table = Table(box=None, pad_edge=False, header_style="bold underline", title=title)
    table.add_column("method", no_wrap=True)
    table.add_column("numbers", no_wrap=True)
    for name in (*map(heading, comparison.metrics), "seeds", "weights\nbytes", "memory\nbytes", "products", "seconds"):
        table.add_column(name, justify="right")
    for result in _ranked(comparison):
        row = comparison.row(result)
        cells = [row.method, row.profile, *_scores(comparison, result), *_costs(row)]
        table.add_row(*cells, style="bold" if row.family == "ours" else None)
    printer = console or Console()
    printer.width = max(printer.width, _TABLE_WIDTH)
    printer.print(table)
    for goal in finding.goals:
        printer.print(f"{'holds ' if goal.holds else 'MISSED'}  {goal.words}", highlight=False)
    printer.print()


def ranking(finding: Finding) -> Picture:
    """The first metric by method, best on top: every seed a faint dot, mean and 95 % interval over it.

    Methods far below the others are arrows at the edge, lest they squeeze the rest.
    """
    comparison = finding.comparison
    results = _ranked(comparison)
    rows = [comparison.row(result) for result in results]
    unit = 1.0 if comparison.metrics[0] == "AUC" else 100.0
    rival = finding.scenario.rival(comparison)
    means = [unit * row.mean for row in rows]
    lowest = min(unit * score for result in results for score in result.scores())
    left = max(lowest, means[0] - _STRETCH * (means[0] - means[3 * len(means) // 4]))

    def draw(figure: Any) -> None:
        axis = figure.subplots()
        for place, (result, row) in enumerate(zip(results, rows, strict=True)):
            colour = FAMILY_COLOURS[row.family]
            mean, half = means[place], unit * (row.ci95 or 0.0)
            size = 60 if row.family == "ours" else 40
            if mean < left:
                axis.scatter([left], [place], s=size, color=colour, marker="<", zorder=3)
            else:
                values = [max(left, unit * score) for score in result.scores()]
                axis.scatter(values, [place + 0.24] * len(values), s=12, color=colour, alpha=0.35, lw=0)
                axis.plot([max(left, mean - half), mean + half], [place, place], color=colour, lw=2.2)
                axis.scatter([mean], [place], s=size, color=colour, zorder=3)
            words = shown(row.metric, row.mean, row.ci95)
            axis.text(1.02, place, words, transform=axis.get_yaxis_transform(), color=colour, va="center")
        if rival is not None:
            axis.axvline(unit * rival.mean, color=GREY, lw=0.9, ls=(0, (4, 3)), zorder=0)
        axis.set_yticks(range(len(rows)), [result.method.readable for result in results])
        for label, row in zip(axis.get_yticklabels(), rows, strict=True):
            label.set(color=FAMILY_COLOURS[row.family], fontweight="bold" if row.family == "ours" else "normal")
        axis.invert_yaxis()
        axis.set(xlabel=f"{heading(comparison.metrics[0])}; dashed: {finding.scenario.rival_words}")
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
        axis.grid(axis="x")
        axis.set_axisbelow(True)

    alt = f"{comparison.metrics[0]} by method, best first: " + "; ".join(
        f"{result.method.readable} {shown(row.metric, row.mean, row.ci95)}"
        for result, row in zip(results, rows, strict=True)
    )
    return picture(draw, 8.8, 0.3 * len(rows) + 1.1, alt)


def _ranked(comparison: Comparison) -> list[Result]:
    return sorted(comparison.results, key=lambda result: -result.mean)


def _scores(comparison: Comparison, result: Result) -> list[str]:
    rows = [comparison.row(result, metric) for metric in range(len(comparison.metrics))]
    return [shown(row.metric, row.mean, row.ci95) for row in rows]


def _costs(row: Row) -> list[str]:
    numbers = (row.seeds, row.weight_bytes, row.state_bytes, row.macs_per_sample)
    return [*(f"{number:,}" for number in numbers), f"{row.seconds:.2f}"]


def _table(comparison: Comparison) -> str:
    heads = ["method", "numbers", *map(heading, comparison.metrics)]
    heads += ["seeds", "weights", "memory", "products", "seconds"]
    lines = [f"| {' | '.join(heads)} |", "|---|---|" + "---:|" * (len(heads) - 2)]
    for result in _ranked(comparison):
        row = comparison.row(result)
        name = f"**{row.method}** (ours)" if row.family == "ours" else row.method
        cells = [name, f"`{row.profile}`", *_scores(comparison, result), *_costs(row)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _choices(finding: Finding) -> list[str]:
    """Everything free about each method, in words."""
    methods = [result.method for result in finding.comparison.results]
    return [
        f"{method.name}, {method.profile}: {method.parameters}."
        for method in methods
        if isinstance(method, Contestant) and method.parameters
    ]


def _list(items: list[str]) -> str:
    return "\n".join(f"- {item}" for item in items) + "\n"


def _paragraphs(text: str) -> str:
    """A docstring's text, a paragraph a line, its first letter a capital."""
    paragraphs = [re.sub(r"\s+", " ", part).strip() for part in re.split(r"\n\s*\n", text.strip())]
    return "\n\n".join(part[:1].upper() + part[1:] for part in paragraphs) + "\n"


def _picture_name(page: PurePath, finding: Finding) -> str:
    return f"{page.stem}-{finding.scenario.dataset}-{finding.scenario.name}.svg"
