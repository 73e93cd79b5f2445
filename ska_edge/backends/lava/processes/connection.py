"""A layer's synapses: weights times graded spikes, and the local update in the learning phase."""

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


class SkaConnection(PartProcess):
    """Synapses of one layer.

    `s_in`: decisions of the layer below.  `third_in`: from the layer's own soma, among it the graded third factor.
    `a_out`: to the soma, what the synapses sum up.
    """

    def __init__(self, cut: Cut, part: Part, section: str, counting: bool = False) -> None:
        super().__init__(cut, part, section, counting)
        soma, below = Part(part.layer, Site.SOMA), Part(part.layer - 1, Site.SOMA)
        self.s_in = InPort(shape=wire_shape(cut, below, part))
        self.third_in = InPort(shape=wire_shape(cut, soma, part))
        self.a_out = OutPort(shape=wire_shape(cut, part, soma))


@implements(proc=SkaConnection, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_accurate_loihi")
class PySkaConnectionModel(PartModel):
    """Bit-accurate: the Program's own integers."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int64)
    third_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int64)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int64)

    def port_of(self, message: Message) -> str:
        """One way out, two ways in."""
        if message.source == self._part:
            return "a_out"
        return "third_in" if message.source.layer == self._part.layer else "s_in"
