"""Our rules beside backprop on a chip: a page of Markdown with pictures, and a table on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from ..footprint import METHODS, Row, Sweep
from .ratios import batches, ratio_table, ratios, settings_in_words, standard_error, statement
from .style import BLUE, GREEN, GREY, ORANGE, Picture, picture

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
- *Accuracy* on {tested} test rows, passes over the others: {passes}; {averaged}. It is
  that of the same integers or the same C on a computer; {equal} of {checked} simulated runs left the computer's bits.
  What learns no classes has none.
- Ours keeps the rule's defaults; *deep* has what [rules.md](rules.md#depth) sets for several hidden layers. Nothing of
  ours is tuned here. Backprop's rate is the best of four on rows kept from those to learn, for every shape and split
  anew.
- *Random hidden layers*: the same network, whose hidden weights are random constants, so that they can stay in flash;
  only the class layer learns, as in ours. What learning hidden layers is worth is the difference to it.
- Backprop is C99 in `ska_edge/baselines/csrc`: ReLU, softmax, weights by input so that zeros are skipped, errors in the
  place of units, the rate multiplied in once, momentum's velocity in the place of the gradient. *Centred* inputs learn
  better and leave few zeros. It is plain C, as a compiler makes it; the inner loops of our kernels are assembly on both
  boards, and part of their lead in cycles. int16 rounds by the same lattice as ours. *M4F* uses the core's unit for
  floats; other float32 is the compiler's own library.
- A minibatch is summed one sample at a time, so its size costs no RAM; the papers' schedule holds the batch.
"""


_AGAINST = """\
Against the backprop that hurts most: int16 in place, plain or centred; for RAM and cycles whichever takes less, for
accuracy whichever is more accurate.
"""


def files(
    rows: Sequence[Row],
    sweeps: Sequence[Sweep],
    page: PurePath,
    command: str,
    told: Mapping[str, Any],
    refused: Mapping[str, str],
) -> dict[str, bytes]:
    """The page and its pictures, by name; the page comes last.

    `told`: data set, passes, splits, test rows.  `refused`: what could not be measured, and why.
    """
    contents, pictures = {}, {}
    for name, drawn in (("parts", parts(rows)), ("ratios", ratios(rows, sweeps))):
        if drawn is not None:
            pictures[name] = f"{page.stem}-{name}.svg"
            contents[pictures[name]] = drawn.svg
            pictures[name] = f"![{drawn.alt}]({pictures[name]})\n"
    contents[page.name] = _markdown(rows, sweeps, command, told, pictures, refused).encode()
    return contents


def _markdown(
    rows: Sequence[Row],
    sweeps: Sequence[Sweep],
    command: str,
    told: Mapping[str, Any],
    pictures: Mapping[str, str],
    refused: Mapping[str, str],
) -> str:
    checked = [row for row in rows if row.equal is not None]
    equal = sum(bool(row.equal) for row in checked)
    averaged = _averaged(told["splits"], standard_error(rows, sweeps))
    page = [_INTRODUCTION.format(command=command, equal=equal, checked=len(checked), averaged=averaged, **told)]
    page += ["## Where it wins, where it does not\n", _AGAINST, statement(rows, sweeps)]
    if any(row.sweep != METHODS for row in rows):
        page += [
            pictures.get("ratios", ""),
            "Backprop's bytes or cycles over ours. Above the line ours wins, below it backprop does; "
            f"a curve that crosses it is a break-even. {settings_in_words(sweeps)}\n",
            ratio_table(rows, sweeps),
        ]
    page += [pictures.get("parts", "")]
    for group in _groups(rows):
        first = group[0]
        if first.sweep == METHODS:
            built = next((row.compiler for row in group if row.compiler), "")
            page += [f"## {first.shape} on {first.board}\n", f"Built by {built}.\n", _table(group, shape=False)]
        else:
            words = next((batches(rows, each) for each in sweeps if each.batches and each.name == first.sweep), "")
            page += [f"## {first.sweep.capitalize()}, on {first.board}\n", words, _table(group, shape=True)]
    if refused:
        page += ["## Not measured\n", *(f"- {name}: {reason}" for name, reason in refused.items()), ""]
    return "\n".join(part for part in page if part)


def _averaged(splits: int, error: float | None) -> str:
    if splits == 1:
        return "one split: less than two points apart is noise"
    averaged = f"mean of {splits} splits, each with other start weights, least and most in brackets"
    return averaged + (
        "" if error is None else f"; a difference of two means has a standard error of {error:.1f} points"
    )


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
    heads = [*(["shape"] if shape else []), "method", "numbers", "flash", "static", "stack", "weights", "state"]
    heads += ["cycles", "energy, uJ", "accuracy, %"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in rows:
        method = f"**{row.method}**" if row.method.startswith("SKA") else row.method
        cells = [*([row.shape] if shape else []), method, row.profile]
        run = (row.flash_bytes, row.static_ram_bytes, row.stack_bytes)
        cells += [*map(_count, run), *map(_count, (row.weight_bytes, row.learning_state_bytes))]
        cells += [_count(row.cycles_per_sample and round(row.cycles_per_sample.nominal)), _energy(row), _accuracy(row)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _count(number: int | None) -> str:
    return "not run" if number is None else f"{number:,}"


def _energy(row: Row) -> str:
    if row.joules_per_sample:
        return f"{1e6 * row.joules_per_sample.nominal:.2f}"
    return "unknown" if row.was_run else "not run"


def _accuracy(row: Row) -> str:
    if row.accuracy is None:
        return "no classes"
    least, most = min(row.accuracies), max(row.accuracies)
    spread = f" ({100 * least:.1f}-{100 * most:.1f})" if len(row.accuracies) > 1 else ""
    return f"{100 * row.accuracy:.1f}{spread}"


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
        cells = [row.shape, row.board, row.method, row.profile, *map(_count, (*numbers, cycles)), _accuracy(row)]
        table.add_row(*cells, style="bold" if row.method.startswith("SKA") else None)
    console = Console()
    console.print(table, width=max(console.width, 140))
