"""A search as a picture (accuracy against RAM), a page of Markdown, and tables on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..profiles import PROFILES
from .style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, Picture, picture

if TYPE_CHECKING:
    from ..search.hunt import Search, Trial
    from ..search.winner import Verified

_COLOURS = dict(zip(PROFILES, (PURPLE, GREEN, BLUE, ORANGE), strict=True))
_TABLE_WIDTH = 120
_HEADINGS = ("trial", "shape", "profile", "accuracy %", "RAM", "flash", "ms a sample (estimate)", "rule")
_VERIFIED = ("trial", "state equal", "RAM", "of it stack", "flash", "cycles a sample", "ms", "keeps limits", "test %")


def pareto(found: Search, winner: Verified | None) -> Picture:
    """Every network learnt, by RAM and accuracy; the front as a line."""
    front = found.front

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        for profile, colour in _COLOURS.items():
            of_it = [trial for trial in found.trials if trial.candidate.profile == profile]
            if of_it:
                x = [trial.needs.ram_bytes for trial in of_it]
                axes.scatter(x, [100 * t.accuracy for t in of_it], s=18, c=colour, label=profile, zorder=2)
        steps = sorted(front, key=lambda trial: trial.needs.ram_bytes)
        x = [trial.needs.ram_bytes for trial in steps]
        axes.step(x, [100 * t.accuracy for t in steps], where="post", c=GREY, lw=1, zorder=1, label="front")
        if winner is not None:
            at = winner.trial
            axes.scatter([at.needs.ram_bytes], [100 * at.accuracy], s=150, marker="*", c=INK, zorder=3, label="best")
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set(xlabel="bytes of RAM, stack included", ylabel="accuracy on judging rows, %")
        axes.set_title(f"{found.board.name}, {found.data.name}: {len(found.trials)} networks learnt")
        axes.grid(visible=True)
        axes.legend(loc="lower right")

    best, least = front[0], front[-1]
    alt = (
        f"Accuracy against RAM of {len(found.trials)} networks for {found.board.name} on {found.data.name}: from "
        f"{100 * least.accuracy:.1f} % in {least.needs.ram_bytes:,} bytes to {100 * best.accuracy:.1f} % in "
        f"{best.needs.ram_bytes:,}."
    )
    return picture(draw, 7.5, 4.2, alt)


def markdown(found: Search, verified: Sequence[Verified], winner: Verified | None, command: str, image: str) -> str:
    """The page that stands beside the model."""
    drawn = pareto(found, winner)
    parts = [
        f"# Search: {found.board.name}, {found.data.name}\n",
        f"```sh\n{command}\n```\n",
        " ".join(summary(found, winner)) + "\n",
        f"![{drawn.alt}]({image})\n",
        "## Front\n",
        _markdown_table(_HEADINGS, [_cells(trial) for trial in found.front]),
        "## Verified in the simulator\n",
        _markdown_table(_VERIFIED, [_verified_cells(each) for each in verified]),
        "Accuracy: mean of the seeds, on judging rows inside the learning rows. Time in the front is an estimate, RAM "
        "and flash rest on one image a profile; what is verified was built and run. The test rows served no choice. "
        "Nothing ran on silicon.\n",
    ]
    return "\n".join(parts)


def summary(found: Search, winner: Verified | None) -> list[str]:
    """What was done, in sentences."""
    limits, plan = found.plan.limits, found.plan
    time = "any time" if limits.milliseconds is None else f"{limits.milliseconds:g} ms a learnt sample"
    lines = [
        f"Limits: {limits.ram_bytes:,} bytes of RAM, {limits.flash_bytes:,} of flash, {time}.",
        f"{len(found.trials)} networks learnt, {plan.seeds} seeds each, {plan.passes} passes; {found.unfit} more broke "
        f"a limit and were not learnt; {found.kept} came from the journal.",
    ]
    if found.exhausted:
        lines.append("The sampler found no more networks that keep the limits.")
    if found.work_seconds:
        lines.append(
            f"{found.work_seconds:.0f} s of learning in {found.wall_seconds:.0f} s ({found.workers}), "
            f"{found.work_seconds / found.wall_seconds:.2f} at a time."
        )
    if winner is None:
        lines.append("No verified network keeps the limits.")
    else:
        best = winner.trial
        lines.append(
            f"Best: {best.candidate.shape} in {best.candidate.profile} (trial {best.number}), "
            f"{100 * best.accuracy:.2f} % on judging rows."
        )
    return lines


def print_search(found: Search, verified: Sequence[Verified], winner: Verified | None) -> None:
    """The front, what was verified, and a summary."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for title, headings, rows in (
        ("front: accuracy against RAM", _HEADINGS, [_cells(trial) for trial in found.front]),
        ("verified: built and run in the simulator", _VERIFIED, [_verified_cells(each) for each in verified]),
    ):
        table = Table(*headings, box=None, pad_edge=False, header_style="bold underline", title=title)
        for row in rows:
            table.add_row(*row)
        console.print(table, width=max(console.width, _TABLE_WIDTH))
    for line in summary(found, winner):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _cells(trial: Trial) -> list[str]:
    needs, candidate = trial.needs, trial.candidate
    time = "unknown" if needs.milliseconds is None else f"{needs.milliseconds:.3g}"
    rule = ", ".join(f"{name} {value}" for name, value in candidate.rule.items()) or "defaults"
    memory = (f"{needs.ram_bytes:,}", f"{needs.flash_bytes:,}")
    return [str(trial.number), candidate.shape, candidate.profile, f"{100 * trial.accuracy:.2f}", *memory, time, rule]


def _verified_cells(each: Verified) -> list[str]:
    needs, cycles = each.needs, each.simulation.per_sample
    counted = f"{cycles.nominal:,.0f}"
    if cycles.low != cycles.high:
        counted += f" ({cycles.low:,.0f} to {cycles.high:,.0f})"
    return [
        str(each.trial.number),
        "yes" if each.simulation.equal else "NO",
        f"{needs.ram_bytes:,}",
        f"{each.stack_bytes:,}",
        f"{needs.flash_bytes:,}",
        counted,
        "unknown" if needs.milliseconds is None else f"{needs.milliseconds:.3g}",
        "yes" if each.keeps else "NO",
        "none" if each.test_accuracy is None else f"{100 * each.test_accuracy:.2f}",
    ]


def _markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
