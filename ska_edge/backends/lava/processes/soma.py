"""A layer's neurons: knowledge, the flow of K steps, decisions, and the third factor that goes back to the synapses."""

from __future__ import annotations

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from ska_edge.backends.lava.cut import Cut, Message, Part
from ska_edge.backends.lava.processes.base import PartModel, PartProcess, wire_shape
from ska_edge.operations import Site


class SkaSoma(PartProcess):
    """Neurons of one layer.

    `a_in`: what the synapses sum up.  `third_out`: back to them, one graded third factor a sample among it.
    `s_out`: decisions, to the connection above.
    """

    def __init__(self, cut: Cut, part: Part, section: str, counting: bool = False) -> None:
        super().__init__(cut, part, section, counting)
        connection, above = Part(part.layer, Site.SYNAPSE), Part(part.layer + 1, Site.SYNAPSE)
        self.a_in = InPort(shape=wire_shape(cut, connection, part))
        self.third_out = OutPort(shape=wire_shape(cut, part, connection))
        self.s_out = OutPort(shape=wire_shape(cut, part, above))


@implements(proc=SkaSoma, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_accurate_loihi")
class PySkaSomaModel(PartModel):
    """Bit-accurate: the Program's own integers."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int64)
    third_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int64)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int64)

    def port_of(self, message: Message) -> str:
        """One way in, two ways out."""
        if message.target == self._part:
            return "a_in"
        return "third_out" if message.target.layer == self._part.layer else "s_out"
