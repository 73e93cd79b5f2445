"""`export platformio`: a library for PlatformIO, for any framework or none."""

from __future__ import annotations

import json
from collections.abc import Mapping

from .. import __version__
from .package import Package


def files(package: Package) -> Mapping[str, str]:
    """The folder's files by path: the Arduino layout, with an example for a PC (`native`) and one for a board."""
    header = f"{package.name}.h"
    return {
        **package.placed("src/ska"),
        f"src/{header}": package.render("umbrella.h.j2", folder="ska"),
        "examples/native/main.c": package.render("main.c.j2", includes=("ska/crc.h", header)),
        "examples/native/samples.h": package.render("samples.h.j2"),
        "examples/arduino/arduino.ino": package.render("sketch.ino.j2"),
        "examples/arduino/samples.h": package.render("samples.h.j2"),
        "library.json": json.dumps(_library(package, header), indent=2) + "\n",
        "README.md": package.render("README.md.j2", format="platformio"),
        "LICENSE": package.license(),
    }


def _library(package: Package, header: str) -> dict[str, object]:
    digest = package.program.program_digest
    return {
        "name": package.name,
        "version": __version__,
        "description": f"A neural network that learns on the chip, in integers; program {digest}",
        "keywords": ["neural network", "on-device learning", "fixed point"],
        "license": "MIT",
        "authors": [{"name": "The ska_edge authors", "maintainer": True}],
        "headers": [header],
        "frameworks": "*",
        "platforms": "*",
        "examples": [
            {"name": "native", "base": "examples/native", "files": ["main.c", "samples.h"]},
            {"name": "arduino", "base": "examples/arduino", "files": ["arduino.ino", "samples.h"]},
        ],
    }
