"""Events of a Lava run by section and layer, in the form of `ska-edge loihi simulate`: each judges the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...operations import op_to_json
from .cut import Cut

LAYER_COUNTS = ("synaptic_ops", "synapse_updates", "neuron_updates", "messages")
_NAMES = ("op", "out", "w", "p", "factor", "a", "b", "x", "layer", "site")


def by_section(cut: Cut, found: Mapping[str, Any], samples: Mapping[str, int]) -> dict[str, Any]:
    """Sums by section.  `found`: what each part counted, by its name.  JSON-ready; docs/loihi.md says what is counted.

    `layers` hold sums over the samples, `operations` the same one by one, `wires` what went from part to part.
    """
    sections: dict[str, Any] = {}
    for section, count in samples.items():
        layers = {part.layer: dict.fromkeys(LAYER_COUNTS, 0) for part in cut.parts}
        operations, wires = [], []
        for part in cut.parts:
            for entry in found[part.name]["operations"]:
                if entry["section"] != section:
                    continue
                op = cut.program.sections[section][entry["position"]]
                named = {name: value for name, value in op_to_json(op).items() if name in _NAMES}
                operations.append({**{key: value for key, value in entry.items() if key != "section"}, **named})
                if op.layer is not None:
                    for name in LAYER_COUNTS:
                        layers[op.layer][name] += entry[name]
            for wire in found[part.name]["wires"]:
                if wire["section"] == section:
                    wires.append({"from": part.name, **{key: wire[key] for key in wire if key != "section"}})
        sections[section] = {
            "samples": count,
            "layers": [{"layer": layer, **sums} for layer, sums in layers.items()],
            "operations": operations,
            "wires": wires,
        }
    return sections
