"""`export c`: a plain folder of C99 with Makefile, CMakeLists.txt and an example that proves itself."""

from __future__ import annotations

from collections.abc import Mapping

from .package import Package


def files(package: Package) -> Mapping[str, str]:
    """The folder's files by path."""
    return {
        **package.placed("src"),
        "example/main.c": package.render("main.c.j2", includes=("crc.h", "model.h")),
        "example/samples.h": package.render("samples.h.j2"),
        "Makefile": package.render("Makefile.j2"),
        "CMakeLists.txt": package.render("CMakeLists.txt.j2"),
        "README.md": package.render("README.md.j2", format="c"),
        "LICENSE": package.license(),
    }
