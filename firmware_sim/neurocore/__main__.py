"""`python -m firmware_sim.neurocore MAP ACTIVITY --hardware NAME`: prints time, energy and events as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ..errors import SimError
from .files import load_activity, load_map
from .hardware import load_hardware
from .machine import simulate


def main() -> int:
    """Exit code 0, or 2 for bad input."""
    parser = argparse.ArgumentParser(prog="python -m firmware_sim.neurocore", description=__doc__)
    parser.add_argument("map", type=Path, help="map.json, as `ska-edge loihi map` writes it")
    parser.add_argument("activity", type=Path, help="activity.npz, as `ska-edge loihi simulate` writes it")
    parser.add_argument("--hardware", default="loihi1", help="a profile by name, or a TOML file")
    words = parser.parse_args()
    try:
        hardware = load_hardware(words.hardware)
        found = load_map(words.map)
        activity = load_activity(words.activity, found)
        print(json.dumps({section: simulate(found, activity, hardware, section) for section in found.timetables}))
    except SimError as error:
        print(f"neurocore: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
