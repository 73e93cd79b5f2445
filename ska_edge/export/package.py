"""What every library has: names, sources, example; each format lays them out its own way."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from .. import __version__
from ..backends.c.generate import c_type, generate
from ..operations import Kind, Role
from ..plan import memory
from ..program import Program
from ..toolchain import INCLUDE
from .encoding import integer_encoding
from .example import MADE_UP, Example

DEVICE = ("snapshot.h", "snapshot.c", "crc.h")
_INCLUDE = re.compile(r'#include "([^"]+)"')
_NUMBERS_A_LINE = 16
_LONGEST_NAME = 40


@dataclass(frozen=True)
class Package:
    """A library before it has a layout.

    `name` is its name in CamelCase, as in SkaDigits; `sources` are C files by path, which find each other where the
    paths are kept.
    """

    name: str
    program: Program
    example: Example
    sources: Mapping[str, str]

    @property
    def identifier(self) -> str:
        """The name as C, CMake and Kconfig like it: ska_digits."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", self.name).lower()

    @cached_property
    def c_files(self) -> tuple[str, ...]:
        """The sources that are compiled."""
        return tuple(path for path in self.sources if path.endswith(".c"))

    @cached_property
    def context(self) -> dict[str, Any]:
        """What templates may use."""
        program = self.program
        entropies = [t for t in program.of_kind(Kind.ENTROPY) if t.role is Role.OUTPUT]
        sample = next(program.of_kind(Kind.SAMPLE))
        return {
            "package": self,
            "program": program,
            "example": self.example,
            "made_up": self.example.source.startswith(MADE_UP),
            "sample": sample,
            "feature_type": c_type(sample),
            "classes": program.by_name["decision"].size,
            "entropies": entropies,
            "memory": memory(program),
            "encoding": integer_encoding(program),
            "version": __version__,
        }

    def render(self, template: str, **more: Any) -> str:
        """A template of this package, filled in."""
        return _environment().get_template(template).render({**self.context, **more})

    def placed(self, folder: str) -> dict[str, str]:
        """All sources below a folder."""
        return {f"{folder}/{path}": text for path, text in self.sources.items()}

    def license(self) -> str:
        """The licence of the kernels."""
        return self.render("LICENSE.j2")


def make_package(program: Program, name: str, example: Example) -> Package:
    """Collect a Program's C files: the model, the kernels it includes, snapshots, the encoding."""
    package = Package(camel_case(name), program, example, {})
    sources = dict(generate(program))
    sources |= {file: package.render(f"{file}.j2") for file in ("encode.h", "encode.c")}
    sources |= {file: (INCLUDE / "device" / file).read_text(encoding="utf-8") for file in DEVICE}
    waiting = list(sources)
    while waiting:
        path = waiting.pop()
        for included in _INCLUDE.findall(sources[path]):
            beside = str(Path(path).parent / included)
            found = beside if beside in sources or (INCLUDE / beside).exists() else included
            if found not in sources:
                sources[found] = (INCLUDE / found).read_text(encoding="utf-8")
                waiting.append(found)
    return Package(package.name, program, example, dict(sorted(sources.items())))


def camel_case(name: str) -> str:
    """A library's name from words or a file's stem: letters and digits, beginning with Ska.

    >>> camel_case("digits"), camel_case("my-model_v2"), camel_case("§")
    ('SkaDigits', 'SkaMyModelV2', 'SkaModel')
    """
    words = re.findall(r"[A-Za-z0-9]+", name)
    return ("Ska" + "".join(word[0].upper() + word[1:] for word in words))[:_LONGEST_NAME] if words else "SkaModel"


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("ska_edge.export", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["rows"] = lambda values: [
        values[start : start + _NUMBERS_A_LINE] for start in range(0, len(values), _NUMBERS_A_LINE)
    ]
    return environment
