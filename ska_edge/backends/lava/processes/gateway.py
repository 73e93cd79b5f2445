"""Between a program outside Lava and the parts of a network: commands in, answers out."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from ska_edge.backends.lava.commands import HEADER, PAYLOAD, Command, Verb
from ska_edge.fixed import IntArray


class Gateway(AbstractProcess):
    """`parts` processes listen to `command_out` and answer on `answer_in` when they are asked."""

    def __init__(self, parts: int) -> None:
        super().__init__(name="gateway", parts=parts)
        self.host_in = InPort(shape=(HEADER + PAYLOAD,))
        self.host_in.flag_external_pipe(buffer_size=8)
        self.host_out = OutPort(shape=(PAYLOAD,))
        self.host_out.flag_external_pipe(buffer_size=8)
        self.command_out = OutPort(shape=(HEADER + PAYLOAD,))
        self.answer_in = InPort(shape=(PAYLOAD,))

    def tell(self, command: Command) -> None:
        """Send a command from the host's side, for the next time step."""
        self.host_in.external_pipe_csp_send_port.send(command.vector())

    def hear(self) -> IntArray:
        """The answer of the last time step, on the host's side.  int64 [PAYLOAD]."""
        return np.asarray(self.host_out.external_pipe_csp_recv_port.recv(), np.int64)


@implements(proc=Gateway, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_accurate_loihi")
class PyGatewayModel(PyLoihiProcessModel):
    """Passes commands on; while the parts learn the rows of a stream it has nothing to do."""

    host_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int64)
    host_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int64)
    command_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int64)
    answer_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int64)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._rows_left = 0
        self._channel_of: dict[int, Any] = {}

    def run_spk(self) -> None:
        """One command a time step, but for those of a stream."""
        if self._rows_left:
            self._rows_left -= 1
            return
        vector = self.host_in.recv()
        command = Command.of(vector)
        self.command_out.send(vector)
        if command.verb is Verb.HELLO:
            self._channel_of = {int(channel.recv()[0]): channel for channel in self.answer_in.csp_ports}
        elif command.verb is Verb.RUN:
            self._rows_left = max(command.numbers[3] - 1, 0)
        elif command.verb is Verb.READ:
            self.host_out.send(self._channel_of[command.numbers[1]].recv())
