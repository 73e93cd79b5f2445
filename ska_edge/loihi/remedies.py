"""What would have to shrink for a network to fit: every remedy is tried by mapping the changed circuit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from firmware_sim.neurocore.hardware import Hardware, hardware_names

from .circuit import Circuit
from .mapping import Map, least, map_circuit, open_hardware

_NARROWER = (8, 4)


def remedies(found: Map) -> list[str]:
    """Changes each of which suffices on its own, nearest first; none for a map that fits."""
    return list(_remedies(found)) if found.violations else []


def _remedies(found: Map) -> Iterator[str]:
    circuit, hardware = found.circuit, found.hardware
    widest = max(each.weight_bits for each in circuit.connections.values())
    for bits in (bits for bits in _NARROWER if bits < widest):
        if _fits(_narrowed(circuit, bits), hardware):
            yield f"weights of {bits} bits"
            break
    steps, allowed = max(each.forward_steps for each in circuit.on_chip), hardware.limit("epoch_steps")
    if allowed is not None and steps > allowed and _fits(_hastened(circuit, allowed), hardware):
        yield f"at most {allowed} forward steps"
    if all(each.index is None for each in circuit.connections.values()):
        inputs = [each.name for each in circuit.populations.values() if not each.on_chip]
        hidden = [each.name for each in circuit.on_chip if each.forward_steps > 1 and circuit.out_of(each.name)]
        for names, words in ((inputs, "inputs"), (hidden, "neurons in the hidden layers")):
            sizes = _largest(found, names)
            if sizes:
                yield f"about {', '.join(f'{size:,}' for size in sizes.values())} {words}"
    for name in hardware_names():
        if name != hardware.name and _fits(circuit, open_hardware(name)):
            yield f"other hardware: {name} holds it"


def _fits(circuit: Circuit, hardware: Hardware) -> bool:
    return not map_circuit(circuit, hardware).violations


def _narrowed(circuit: Circuit, bits: int) -> Circuit:
    """No weight wider than so many bits."""
    narrow = {
        name: replace(each, weight_bits=min(bits, each.weight_bits)) for name, each in circuit.connections.items()
    }
    return replace(circuit, connections=narrow)


def _hastened(circuit: Circuit, steps: int) -> Circuit:
    """No flow longer than so many forward steps."""
    short = {
        name: replace(each, forward_steps=min(steps, each.forward_steps)) for name, each in circuit.populations.items()
    }
    return replace(circuit, populations=short)


def _largest(found: Map, names: list[str]) -> dict[str, int]:
    """Sizes of some populations, all at the same share in whole percent, with which it just fits; empty if none do."""

    def sizes(cut: int) -> dict[str, int]:
        return {name: max(1, found.circuit.populations[name].neurons * (100 - cut) // 100) for name in names}

    def fits(cut: int) -> bool:
        return _fits(resized(found.circuit, sizes(cut)), found.hardware)

    cut = least(fits, 99)
    return sizes(cut) if names and fits(cut) else {}


def resized(circuit: Circuit, sizes: Mapping[str, int]) -> Circuit:
    """The circuit with other numbers of neurons in some populations; dense connections only."""
    populations = {
        name: replace(each, neurons=sizes.get(name, each.neurons)) for name, each in circuit.populations.items()
    }
    connections = {
        name: replace(each, sources=populations[each.source].neurons, targets=populations[each.target].neurons)
        for name, each in circuit.connections.items()
    }
    return replace(circuit, populations=populations, connections=connections)
