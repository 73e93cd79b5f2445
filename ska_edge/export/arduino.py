"""`export arduino`: a library for the Arduino IDE and arduino-cli."""

from __future__ import annotations

from collections.abc import Mapping

from .package import Package


def files(package: Package) -> Mapping[str, str]:
    """The folder's files by path.  Sources lie below src/ska, so that no file of theirs is in everybody's way."""
    sketch = f"Learn{package.name.removeprefix('Ska')}"
    return {
        **package.placed("src/ska"),
        f"src/{package.name}.h": package.render("umbrella.h.j2", folder="ska"),
        f"examples/{sketch}/{sketch}.ino": package.render("sketch.ino.j2"),
        f"examples/{sketch}/samples.h": package.render("samples.h.j2"),
        "library.properties": package.render("library.properties.j2"),
        "keywords.txt": package.render("keywords.txt.j2"),
        "README.md": package.render("README.md.j2", format="arduino"),
        "LICENSE": package.license(),
    }
