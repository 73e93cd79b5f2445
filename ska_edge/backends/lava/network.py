"""A Program as Lava processes: a connection and a soma a layer, wired by ports.

Importing this module needs Lava (`compat.prepare`).
"""

from __future__ import annotations

from .compat import prepare

prepare()

from typing import Any  # noqa: E402

from lava.magma.core.run_configs import Loihi2SimCfg  # noqa: E402

from ...errors import SkaError  # noqa: E402
from ...operations import Site  # noqa: E402
from ...program import Program  # noqa: E402
from .cut import Part, cut  # noqa: E402
from .processes.base import PartProcess  # noqa: E402
from .processes.connection import SkaConnection  # noqa: E402
from .processes.soma import SkaSoma  # noqa: E402


def _backbone(parts: tuple[Part, ...]) -> list[tuple[Part, Part]]:
    """Wires from every part to the next: Lava runs only what is connected, and a wire may lie idle."""
    ordered = sorted(parts, key=lambda part: (part.layer, part.site is Site.SOMA))
    return [(a, b) for a, b in zip(ordered, ordered[1:], strict=False) if b.layer - a.layer <= 1]


class SkaNetwork:
    """The processes of a Program, wired to each other, to be wired to yours.

    A time step runs `section` once: one sample is learnt (or decided, with "infer").  Any Lava process may send
    samples to `feed("x", port)`, labels to `feed("label", port)`, and receive what `probe` connects.  Run and stop it
    as any Lava process: `network.connections[0].run(...)`.  `counting` makes the parts count events.
    Raises SkaError for an unknown section, FitError for a Program that layers alone cannot hold.
    """

    def __init__(self, program: Program, section: str = "learn", counting: bool = False) -> None:
        if section not in program.sections:
            raise SkaError(f"section {section!r}: this Program has {', '.join(program.sections)}")
        self.program = program
        self.cut = cut(program)
        self.parts: list[PartProcess] = [
            (SkaConnection if part.site is Site.SYNAPSE else SkaSoma)(self.cut, part, section, counting)
            for part in self.cut.parts
        ]
        by_part = dict(zip(self.cut.parts, self.parts, strict=True))
        for source, target in dict.fromkeys([*self.cut.wires, *_backbone(self.cut.parts)]):
            sender, receiver = by_part[source], by_part[target]
            if isinstance(sender, SkaConnection):
                sender.a_out.connect(receiver.a_in)
            elif source.layer == target.layer:
                sender.third_out.connect(receiver.third_in)
            else:
                sender.s_out.connect(receiver.s_in)

    @property
    def connections(self) -> list[PartProcess]:
        """The processes with the synapses, from the first layer up."""
        return [part for part in self.parts if isinstance(part, SkaConnection)]

    @property
    def somas(self) -> list[PartProcess]:
        """The processes with the neurons, from the first layer up."""
        return [part for part in self.parts if isinstance(part, SkaSoma)]

    def feed(self, name: str, port: Any) -> None:
        """Connect an OutPort of int64 [elements of the input] to every part that reads an input of the Program."""
        fed = False
        for part in self.parts:
            for names, target in ((part.samples, part.x_in), (part.labels, part.label_in)):
                if names == [name]:
                    port.connect(target)
                    fed = True
        if not fed:
            inputs = sorted({n for part in self.parts for n in (*part.samples, *part.labels)})
            raise SkaError(f"input {name!r}: this Program reads {', '.join(inputs)}")

    def probe(self, name: str, port: Any) -> slice:
        """Connect the part that has an output or a state tensor to an InPort of yours; where in the vector it lies.

        The port gets all outputs (or all state) of that part every time step, flat: int64, as long as
        `probe_size(name)` says.
        """
        source, names = self._source(name)
        source.connect(port)
        start = sum(self.program.by_name[other].size for other in names[: names.index(name)])
        return slice(start, start + self.program.by_name[name].size)

    def probe_size(self, name: str) -> int:
        """Elements of the vector that `probe` sends."""
        return sum(self.program.by_name[other].size for other in self._source(name)[1])

    def choose(self, section: str) -> None:
        """Between runs: from the next time step on, run another section."""
        for part in self.parts:
            part.section.set([part.sections.index(section)])

    @staticmethod
    def run_config() -> Loihi2SimCfg:
        """A run configuration that takes the bit-accurate models."""
        return Loihi2SimCfg(select_tag="fixed_pt")

    def _source(self, name: str) -> tuple[Any, list[str]]:
        for part in self.parts:
            for names, port in ((part.outputs, part.out), (part.states, part.state_out)):
                if name in names:
                    return port, names
        known = [n for part in self.parts for n in (*part.outputs, *part.states)]
        raise SkaError(f"probe {name!r}: outputs and state of this Program are {', '.join(known)}")
