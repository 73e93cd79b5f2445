"""The parts of a Program run without Lava, one thread, in the order that their instructions share: fast enough for
thousands of random Programs.  The wires check that every message that is received is the one that was sent."""

from __future__ import annotations

from collections import deque
from typing import Any, ClassVar

import numpy as np

from ska_edge.backends.lava.cut import Message, Part, Send, cut, position_of
from ska_edge.backends.lava.events import by_section
from ska_edge.backends.lava.part import Worker
from ska_edge.executor import Executor
from ska_edge.fixed import IntArray
from ska_edge.operations import Role
from ska_edge.program import Program


class LocalParts(Executor):
    """Every part takes a turn for as long as it does not have to wait."""

    name: ClassVar[str] = "lava parts, without Lava"

    def __init__(self, program: Program, counting: bool = False) -> None:
        super().__init__(program)
        self.cut = cut(program)
        self.wires: dict[tuple[Part, Part], deque[tuple[Message, IntArray]]] = {}
        self.workers = {part: Worker(self.cut, part, self._send, self._receive, counting) for part in self.cut.parts}
        self.holder: dict[str, Part] = {}

    def _send(self, message: Message, vector: IntArray) -> None:
        self.wires.setdefault((message.source, message.target), deque()).append((message, vector.copy()))

    def _receive(self, message: Message) -> IntArray:
        sent, vector = self.wires[message.source, message.target].popleft()
        assert sent == message
        return vector

    def write(self, tensor: str, values: IntArray) -> None:
        vector = self.check_write(tensor, values).reshape(-1)
        for worker in self.workers.values():
            if worker.holds(tensor):
                worker.write([tensor], vector)

    def read(self, tensor: str) -> IntArray:
        home = self.holder.get(tensor, self.cut.homes[tensor])
        return self.workers[home].read([tensor]).reshape(self.program.by_name[tensor].shape)

    def run(self, section: str, first: int = 0, last: int | None = None) -> None:
        end = len(self.program.sections[section]) if last is None else last
        queues = {
            part: deque(
                (each, action)
                for each, (_, learns, action) in zip(
                    self.cut.instructions[section][part], worker._actions[section], strict=True
                )
                if first <= position_of(each) < end
            )
            for part, worker in self.workers.items()
        }
        while any(queues.values()):
            moved = False
            for part, queue in queues.items():
                while queue:
                    each, action = queue[0]
                    if type(each).__name__ == "Receive" and not self.wires.get((each.message.source, part)):
                        break
                    queue.popleft()
                    action()
                    moved = True
            assert moved, f"{section}: all parts wait for each other"
        assert not any(self.wires.values()), "messages left on the wires"
        for position in range(first, end):
            for name in self.program.sections[section][position].outputs().values():
                self.holder[name] = self.cut.writers[section][position]
                if self.program.by_name[name].role is Role.STATE and not (first or last):
                    self.holder.pop(name)

    def events(self, samples: dict[str, int]) -> dict[str, Any]:
        """What the parts have counted, as the executor tells it."""
        told = {part.name: worker.told() for part, worker in self.workers.items()}
        return by_section(self.cut, told, samples)

    def sent(self, section: str) -> list[Message]:
        return [e.message for es in self.cut.instructions[section].values() for e in es if isinstance(e, Send)]


__all__ = ["LocalParts", "np"]
