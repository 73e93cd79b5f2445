"""`export zephyr`: a Zephyr module with a sample application."""

from __future__ import annotations

from collections.abc import Mapping

from .package import Package

PUBLIC = ("model.h", "encode.h", "snapshot.h", "crc.h")


def files(package: Package) -> Mapping[str, str]:
    """The module's files by path.  Public headers lie in include/, below the module's own name."""
    own = package.identifier
    return {
        **{
            f"include/{own}/{path}" if path in PUBLIC else f"src/{path}": text for path, text in package.sources.items()
        },
        f"include/{own}.h": package.render("umbrella.h.j2", folder=own),
        "zephyr/module.yml": package.render("module.yml.j2"),
        "CMakeLists.txt": package.render("zephyr_CMakeLists.txt.j2"),
        "Kconfig": package.render("Kconfig.j2"),
        "samples/learn/CMakeLists.txt": package.render("zephyr_sample_CMakeLists.txt.j2"),
        "samples/learn/prj.conf": package.render("prj.conf.j2"),
        "samples/learn/sample.yaml": package.render("sample.yaml.j2"),
        "samples/learn/src/main.c": package.render("main.c.j2", includes=(f"{own}.h", f"{own}/crc.h")),
        "samples/learn/src/samples.h": package.render("samples.h.j2"),
        "README.md": package.render("README.md.j2", format="zephyr"),
        "LICENSE": package.license(),
    }
