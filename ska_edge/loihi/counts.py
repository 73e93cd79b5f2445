"""Event counts that somebody else took of the same samples, in Lava for example, compared with the machine's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from firmware_sim.neurocore.events import LAYER_COUNTS

from ..errors import DataError, FileError


def read_json(path: Path) -> Any:
    """What a JSON file holds.  Raises FileError."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise FileError(f"{path}: no JSON text") from None


def load_counts(path: Path) -> dict[str, Any]:
    """Counts by section, as `counts.json` has them; one object of `samples` and `layers` alone is taken as `learn`.

    Raises FileError or DataError that names what is wrong.
    """
    content = read_json(path)
    sections = {"learn": content} if isinstance(content, dict) and "layers" in content else content
    if not isinstance(sections, dict) or not sections or not all(map(_well_formed, sections.values())):
        names = ", ".join(LAYER_COUNTS)
        raise DataError(f"{path}: wanted samples and layers, each with layer, {names}; or such objects by section")
    return sections


def _well_formed(counts: Any) -> bool:
    if not isinstance(counts, dict) or not isinstance(counts.get("layers"), list):
        return False
    whole = [counts.get("samples")]
    for layer in counts["layers"]:
        whole += [layer.get(name) for name in ("layer", *LAYER_COUNTS)] if isinstance(layer, dict) else [None]
    return all(type(value) is int for value in whole)


def differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """Where two counts by section differ: section, layer, event, both numbers."""
    lines = []
    for section, theirs in expected.items():
        if section not in found:
            lines.append(f"{section}: the machine has no such section")
            continue
        ours, wanted = _flat(found[section]), _flat(theirs)
        for key in sorted({*ours, *wanted}):
            if ours.get(key) != wanted.get(key):
                lines.append(f"{section}, {key}: expected {wanted.get(key)}, counted {ours.get(key)}")
    return lines


def _flat(counts: Mapping[str, Any]) -> dict[str, int]:
    """One number a name."""
    flat = {f"layer {layer['layer']}, {name}": layer[name] for layer in counts["layers"] for name in LAYER_COUNTS}
    return {"samples": counts["samples"], **flat}
