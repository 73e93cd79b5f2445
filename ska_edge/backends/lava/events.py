"""Events of a Lava run, gathered by layer: what a simulator of neurocores counts for itself can be held against it."""

from __future__ import annotations

from typing import Any

from ...operations import op_to_json
from .cut import Cut

_SUMS = ("inputs", "synaptic_ops", "synapse_updates", "moved", "neuron_steps")


def by_layer(cut: Cut, found: dict[str, Any], samples: int) -> dict[str, Any]:
    """`found`: what each part counted, by its name.  JSON-ready; DESIGN and docs/lava.md say what the words mean."""
    layers: dict[str, Any] = {}
    operations = []
    for part in cut.parts:
        counted = found[part.name]
        sums = dict.fromkeys(_SUMS, 0)
        for entry in counted["operations"]:
            op = cut.program.sections[entry["section"]][entry["position"]]
            wanted = {"op", "out", "w", "p", "factor", "a", "b", "x", "layer", "site"}
            operations.append({**entry, **{k: v for k, v in op_to_json(op).items() if k in wanted}})
            if op.layer is not None:
                for name in _SUMS:
                    sums[name] += entry[name]
        kind = "connection" if part.name.startswith("connection") else "soma"
        layers.setdefault(str(part.layer), {})[kind] = {**sums, "messages": counted["messages"]}
    return {"samples": samples, "layers": layers, "operations": operations}
