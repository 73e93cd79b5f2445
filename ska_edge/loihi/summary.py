"""Maps and estimates as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from firmware_sim.neurocore.hardware import COSTS, Hardware

from .compare import Row
from .estimate import Estimate
from .mapping import Map

Span = Mapping[str, float | None]


def print_map(model: str, found: Map, ways: Sequence[str], files: Sequence[Path]) -> None:
    """Cores, how full they are, and what would fit."""
    headings = ("core", "layer", "neurons", "synaptic bytes", "axons in", "axons out", "tile")
    rows = []
    for number, core in enumerate(found.cores):
        tile = found.tile(core)
        needs = (core.neurons, core.synaptic_bytes, core.in_axons, core.out_axons)
        place = "" if tile is None else f"{tile[0]}, {tile[1]}"
        rows.append([str(number), str(core.layer), *(f"{need:,}" for need in needs), place])
    print_table(f"{model} on {found.hardware.title}", headings, rows)
    shares = ", ".join(f"{_words(name)} {share:.1%}" for name, share in found.utilisation().items())
    print(f"Fullest core, or chip, of what is allowed: {shares}.")
    placement = found.placement
    if placement and placement.distance is not None:
        print(f"Axons times hops: {placement.distance:,g}; placed one after the other: {placement.in_order:,g}.")
    for way in ways:
        print(f"would fit with: {way}")
    if found.violations and not ways:
        print("No single change of weights, inputs, layers or hardware would make it fit.")
    _warn_of_fixed_soma(found.hardware)
    for path in files:
        print(path)


def print_estimate(title: str, found: Estimate) -> None:
    """Events, time and energy of learning and inference side by side; layers; what limits; what zeros would save."""
    sections = found.sections
    rows = [["timesteps", *(f"{each['timesteps']:,}" for each in sections.values())]]
    for kind in COSTS:
        means = [each["events"][kind] for each in sections.values()]
        if any(mean is None or mean for mean in means):
            rows.append([_words(kind), *("unknown" if mean is None else f"{mean:,.1f}" for mean in means)])
    for name, words in (("time_s", "time"), ("energy_j", "energy"), ("static_energy_j", "energy of leakage")):
        rows.append([words, *(_amount(each, name) for each in sections.values())])
    rows.append(["bottleneck", *(_bottleneck(each["bottleneck"]) for each in sections.values())])
    print_table(title, ("a sample", *({"infer": "inference", "learn": "learning"}[name] for name in sections)), rows)
    section = "learn" if "learn" in sections else "infer"
    headings = ("layer", "synaptic operations", "weight updates", "neuron updates", "messages", "energy")
    names = ("synaptic_ops", "synapse_updates", "neuron_updates", "messages")
    layers = [
        [str(each["layer"]), *(f"{each[name]:,.1f}" for name in names), _span(each["energy_j"], "J")]
        for each in sections[section]["layers"]
    ]
    print_table(f"by layer, {'learning' if section == 'learn' else 'inference'}", headings, layers)
    unpriced = sections[section]["unpriced"]
    for what, kinds in (("energy", unpriced["energy_pj"]), ("time", unpriced["time_ns"])):
        if kinds:
            print(f"No published {what}, left out of its sum: {', '.join(map(_words, kinds))}.")
    density = found.input_density
    print(f"Nonzero inputs: {density['encoded']:.0%} as encoded", end="")
    if found.uncentred:
        plain = found.uncentred[section]
        print(
            f", {density['uncentred']:.0%} if the centre were in the biases; then {_span(plain['time_s'], 's')}", end=""
        )
        print(f", {_amount(plain | {'unpriced': unpriced}, 'energy_j')} a sample", end="")
    print(".")
    _warn_of_fixed_soma(found.map.hardware)


def _warn_of_fixed_soma(hardware: Hardware) -> None:
    if hardware.soma == "fixed":
        print(
            "Its neurons are fixed and cannot run this rule: read this as cores of that size and cost, were they free."
        )


def print_boards(rows: Sequence[Row]) -> None:
    """One learning sample, everywhere."""
    headings = ("hardware", "kind", "time", "energy", "leakage", "note")
    cells = []
    for row in rows:
        data = row.to_json()
        least = "" if row.complete or row.energy_j is None else ">= "
        leakage = _span(data["static_energy_j"], "J") if row.kind == "neurocore" else "included"
        cells.append(
            [row.name, row.kind, _span(data["time_s"], "s"), least + _span(data["energy_j"], "J"), leakage, row.note]
        )
    print_table("one learning sample", headings, cells)


def print_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table as wide as it needs to be."""
    from rich.console import Console
    from rich.table import Table

    from ..listing import TABLE_WIDTH

    table = Table(*headings, title=title)
    for row in rows:
        table.add_row(*row)
    console = Console()
    Console(width=max(console.width, TABLE_WIDTH)).print(table)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _amount(found: Mapping[str, Any], name: str) -> str:
    """A span with its unit, marked where it leaves something out."""
    key = {"time_s": "time_ns", "energy_j": "energy_pj"}.get(name)
    text = _span(found[name], "s" if name == "time_s" else "J")
    return f">= {text}" if key and found["unpriced"][key] and text != "unknown" else text


def _span(span: Span, unit: str) -> str:
    """An interval in engineers' units.

    >>> _span({"low": 9.1e-08, "high": 1.13e-07}, "J")
    '91 to 113 nJ'
    >>> _span({"low": None, "high": None}, "J")
    'unknown'
    """
    low, high = span["low"], span["high"]
    if low is None or high is None:
        return "unknown"
    power, prefix = next(
        ((p, n) for p, n in ((1, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n")) if high >= p), (1e-12, "p")
    )
    ends = [f"{end / power:.3g}" for end in (low, high)]
    return f"{' to '.join(dict.fromkeys(ends))} {prefix}{unit}"


def _bottleneck(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "unknown"
    place = "" if found["core"] is None else f", core {found['core']} (layer {found['layer']})"
    return f"{_words(found['event'])}{place}, {found['share']:.0%} of the time"
