"""A run as pictures and as a trace: flame graph, timeline of RAM, and what Perfetto opens."""

from __future__ import annotations

import html
import json
import zlib
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from .activity import Activity, Operation
from .avr import AvrMachine
from .errors import SimError
from .machine import Machine
from .profile import Profile, profile
from .report import Report

WIDTH, ROW, LEAST = 1200, 18, 0.3
COLOURS = ("#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377", "#bbbbbb")


@dataclass
class _Node:
    own: float = 0.0
    children: dict[str, _Node] = field(default_factory=dict)

    @property
    def total(self) -> float:
        return self.own + sum(child.total for child in self.children.values())


def flame_graph(report: Report) -> str:
    """Call stacks as SVG: width is nominal cycles, inlined functions among the called ones; hover for numbers."""
    root = _Node()
    for stack, cycles in report.stacks.items():
        node = root
        for name in stack:
            node = node.children.setdefault(name, _Node())
        node.own += cycles
    whole = root.total or 1.0
    rows: list[str] = []

    def draw(name: str, node: _Node, left: float, depth: int) -> int:
        width = node.total / whole * WIDTH
        if width < LEAST:
            return depth
        colour = COLOURS[zlib.crc32(name.encode()) % len(COLOURS)]
        words = html.escape(f"{name}: {node.total:,.0f} cycles, {node.total / whole:.1%}")
        fits = int(width / 6.2)
        label = html.escape(name if len(name) <= fits else name[: max(fits - 1, 0)] + "…") if fits > 3 else ""
        rows.append(
            f'<g><title>{words}</title><rect x="{left:.1f}" y="{depth * ROW}" width="{width:.1f}" height="{ROW - 1}" '
            f'fill="{colour}" fill-opacity="0.75"/><text x="{left + 3:.1f}" y="{depth * ROW + 13}">{label}</text></g>'
        )
        deepest, at = depth + 1, left
        for child, below in sorted(node.children.items(), key=lambda item: -item[1].total):
            deepest = max(deepest, draw(child, below, at, depth + 1))
            at += below.total / whole * WIDTH
        return deepest

    title = f"{report.board}, {report.core}: {whole:,.0f} nominal cycles"
    deepest = draw(title, root, 0.0, 0)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{deepest * ROW}" '
        f'font-family="sans-serif" font-size="11">{"".join(rows)}</svg>\n'
    )


def trace(machine: Machine | AvrMachine) -> str:
    """Functions over time in the Trace Event Format, which Perfetto and chrome://tracing open.

    Times are microseconds at the machine's clock, or cycles where it has none.  What no longer fitted the record is
    left out, and said so in `otherData`.
    """
    history = machine.history()
    unit = 1e6 / machine.clock_hz if machine.clock_hz else 1.0
    events: list[dict[str, Any]] = []
    open_places: list[int] = []
    now = 0.0
    for cycles, place in history.moments:
        now = cycles * unit
        path = history.path(place)
        shared = 0
        while shared < min(len(path), len(open_places)) and path[shared] == open_places[shared]:
            shared += 1
        for _ in open_places[shared:]:
            events.append({"ph": "E", "ts": now, "pid": 1, "tid": 1})
        for entered in path[shared:]:
            function = machine.image.function_at(history.places[entered][1])
            events.append({"ph": "B", "ts": now, "pid": 1, "tid": 1, "name": function.name if function else "?"})
        open_places = path
    events += [{"ph": "E", "ts": now, "pid": 1, "tid": 1} for _ in open_places]
    other = {
        "image": machine.image.path.name,
        "board": machine.board.name,
        "core": machine.core_title,
        "unit": "us" if machine.clock_hz else "cycles",
        "complete": history.complete,
    }
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms", "otherData": other})


@dataclass(frozen=True)
class Moment:
    """One operation of a section on the time axis, in nominal cycles, and the bytes that are held meanwhile."""

    name: str
    start: float
    end: float
    held: dict[str, int]
    stack: int


def residency(report: Report, activity: Activity, section: str, times: int) -> list[Moment]:
    """What the arena holds while a section runs once, operation by operation; `times`: how often it ran."""
    moments, now = [], 0.0
    for one in activity.operations:
        if one.section != section:
            continue
        share = report.operations.get(one)
        taken = share.cycles.nominal / times if share else 0.0
        held = _held(one, activity)
        moments.append(Moment(one.name, now, now + taken, held, report.stack_bytes))
        now += taken
    return moments


def _held(one: Operation, activity: Activity) -> dict[str, int]:
    """Bytes by tensor; where one takes over another's place, its bytes are the later one's."""
    taken: set[int] = set()
    held = {}
    for name, offset in reversed(one.alive):
        places = set(range(offset, offset + activity.tensors[name].bytes)) - taken
        taken |= places
        held[name] = len(places)
    return dict(reversed(held.items()))


def timeline(moments: list[Moment], other_bytes: int, ram_bytes: int, title: str, suffix: str) -> bytes:
    """RAM over the time of one section: variables, tensors as they come and go, stack at its deepest.

    `suffix`: png or svg.  Raises SimError for another, and where nothing ran.
    """
    if suffix not in ("png", "svg"):
        raise SimError(f"timeline: {suffix or 'no suffix'!r}; allowed are png and svg")
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    if not moments:
        raise SimError("timeline: nothing ran in that section, or the image has no description beside it")
    kept = set.intersection(*(set(moment.held) for moment in moments))
    passing = [name for name in dict.fromkeys(n for m in moments for n in m.held) if name not in kept]
    edges = [x for moment in moments for x in (moment.start, moment.end)]
    rows = [("device and port", [other_bytes] * len(edges))]
    rows.append(("kept: weights, inputs, outputs", [sum(moments[0].held[n] for n in kept)] * len(edges)))
    for name in passing:
        rows.append((name, [moment.held.get(name, 0) for moment in moments for _ in (0, 1)]))
    rows.append(("stack, deepest seen", [moment.stack for moment in moments for _ in (0, 1)]))
    figure, axes = pyplot.subplots(figsize=(10, 5))
    colours = ["#888888", "#4477aa", *(pyplot.get_cmap("tab20")(i % 20) for i in range(len(passing))), "#222222"]
    axes.stackplot(edges, [values for _, values in rows], labels=[label for label, _ in rows], colors=colours, lw=0)
    peak = max(sum(column) for column in zip(*(values for _, values in rows), strict=True))
    axes.axhline(peak, color="#aa3377", lw=1, ls=":")
    axes.text(edges[-1], peak, f"peak {peak:,.0f} of {ram_bytes:,} bytes", ha="right", va="bottom", color="#aa3377")
    axes.set(xlabel="nominal cycles", ylabel="bytes of RAM", title=title, xlim=(0, edges[-1]), ylim=(0, peak * 1.12))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7)
    content = BytesIO()
    figure.savefig(content, format=suffix, bbox_inches="tight", dpi=120)
    pyplot.close(figure)
    return content.getvalue()


__all__ = ["Moment", "Profile", "flame_graph", "profile", "residency", "timeline", "trace"]
