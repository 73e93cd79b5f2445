"""`infer` in float32: what the integers stand for, without their rounding and saturation (docs/onnx.md).

It takes features as the user has them.  A table that is the sigmoid becomes Sigmoid; any other is interpolated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...errors import ProgramError
from ...fixed import FloatArray
from ...operations import Arg, Contract, Gather, Kind, Lut, Op, Pool, Scale, Select, Tensor
from ...program import Program
from .graph import INT64, Graph, Value, stored_dtype
from .sums import product
from .translate import Translation

FLOAT = np.dtype(np.float32)
SIGMOID_TOLERANCE = 2.0**-12


class _Real:
    """The section in real numbers."""

    def __init__(self, program: Program, graph: Graph) -> None:
        self.program, self.graph = program, graph
        self.values: dict[str, Value] = {}

    def tensor(self, name: str) -> Tensor:
        return self.program.by_name[name]

    def known(self, name: str) -> FloatArray:
        """A constant's or a state's real values."""
        return np.ldexp(self.program.values[name].astype(np.float64), self.tensor(name).format.exponent)

    def get(self, name: str) -> Value:
        if name not in self.values:
            self.values[name] = self.graph.constant(self.known(name), FLOAT, name)
        return self.values[name]

    def put(self, name: str, value: Value) -> None:
        self.values[name] = self.graph.renamed(self.graph.expand(value, self.tensor(name).shape), name)

    def times(self, value: Value, factor: float) -> Value:
        return value if factor == 1.0 else self.graph.mul(value, self.graph.constant(factor, FLOAT))

    def finish(self, op: Contract | Scale, value: Value) -> None:
        """Gain * value + c in units of the output: powers of two that are 1 where exponents match."""
        read = sum(self.tensor(name).format.exponent for name in (op.a, op.b) if name is not None)
        unit = self.tensor(op.out).format.exponent - op.shift
        value = self.times(value, op.gain * 2.0 ** (unit - read))
        if op.c is not None:
            carried = 2.0 ** (unit + op.c_shift - self.tensor(op.c).format.exponent)
            value = self.graph.add(value, self.times(self.get(op.c), carried))
        self.put(op.out, value)

    def contract(self, op: Contract) -> None:
        self.finish(op, product(self.graph, self.get(op.a), self.get(op.b), op.axes))

    def scale(self, op: Scale) -> None:
        value = self.get(op.a)
        self.finish(op, self.graph.mul(value, self.get(op.b)) if op.b is not None else value)

    def lut(self, op: Lut) -> None:
        g, x, table = self.graph, self.get(op.x), self.tensor(op.table)
        unit = self.tensor(op.out).format.exponent - op.shift - table.format.exponent
        knots = self.known(op.table) * 2.0**unit
        at = (op.lo + (np.arange(len(knots)) << op.width)) * self.tensor(op.x).format.lsb
        if np.abs(knots - 1.0 / (1.0 + np.exp(-at))).max() < SIGMOID_TOLERANCE:
            self.put(op.out, g.emit("Sigmoid", [x], FLOAT, x.shape))
            return
        step = at[1] - at[0]
        d = self.times(g.sub(x, g.constant(at[0], FLOAT)), 1.0 / step)
        ends = [g.constant(0.0, FLOAT), g.constant(float(len(knots) - 1), FLOAT)]
        d = g.emit("Clip", [d, *ends], FLOAT, x.shape)
        low = g.emit("Floor", [d], FLOAT, x.shape)
        low = g.emit("Min", [low, g.constant(float(len(knots) - 2), FLOAT)], FLOAT, x.shape)
        index = g.cast(low, INT64)
        base, slope = (g.take(v, index, FLOAT, op.table) for v in (knots[:-1], np.diff(knots)))
        self.put(op.out, g.add(base, g.mul(slope, g.sub(d, low))))

    def gather(self, op: Gather) -> None:
        self.put(op.out, self._picked(op.a, self.program.values[op.index]))

    def pool(self, op: Pool) -> None:
        windows = self._picked(op.a, self.program.values[op.windows])
        axis = self.graph.constant([-1], INT64, "last_axis")
        self.put(op.out, self.graph.emit("ReduceMax", [windows, axis], FLOAT, windows.shape[:-1], keepdims=0))

    def select(self, op: Select) -> None:
        g, p, q = self.graph, self.get(op.p), self.get(op.q)
        condition = g.equal(p, q) if op.relation == "eq" else g.less(p, q)
        self.put(op.out, g.where(condition, self.get(op.a), self.get(op.b), FLOAT))

    def arg(self, op: Arg) -> None:
        a = self.get(op.a)
        self.put(
            op.out, self.graph.emit("ArgMax" if op.largest else "ArgMin", [a], INT64, a.shape[:-1], axis=-1, keepdims=0)
        )

    def _picked(self, source: str, index: Any) -> Value:
        flat = self.graph.reshape(self.get(source), (self.tensor(source).size,))
        places = self.graph.constant(index, INT64, "index")
        return self.graph.emit("Gather", [flat, places], FLOAT, index.shape, axis=1 if flat.batched else 0)


_RULES: dict[type[Op], Callable[[_Real, Any], None]] = {
    Contract: _Real.contract,
    Scale: _Real.scale,
    Lut: _Real.lut,
    Gather: _Real.gather,
    Pool: _Real.pool,
    Select: _Real.select,
    Arg: _Real.arg,
}


def translate_real(program: Program, collect: Sequence[str]) -> Translation:
    """Section `infer` in float32, batched, from features to the tensors of `collect`."""
    graph = Graph()
    real = _Real(program, graph)
    done = Translation(program, graph)
    sample = next(program.of_kind(Kind.SAMPLE))
    graph.scope = "encode"
    done.inputs[sample.name] = features = Value(graph.unique(sample.name), FLOAT, sample.shape, batched=True)
    names = {name: graph.unique(name) for name in collect}
    encoding = program.encoding
    unit = real.times(
        graph.sub(features, graph.constant(encoding.low, FLOAT)) if encoding.low else features,
        1.0 / (encoding.high - encoding.low),
    )
    ends = [graph.constant(0.0, FLOAT), graph.constant(1.0, FLOAT)]
    unit = graph.emit("Clip", [unit, *ends], FLOAT, sample.shape)
    if any(encoding.centre):
        centre = encoding.centre[0] if len(encoding.centre) == 1 else np.array(encoding.centre)
        unit = graph.sub(unit, graph.constant(centre, FLOAT, "centre"))
    real.values[sample.name] = unit
    for position, op in enumerate(program.sections["infer"]):
        if type(op) not in _RULES:
            raise ProgramError(f"infer[{position}] {op.verb}: has no counterpart in real numbers; use infer_exact")
        graph.scope = f"infer_{position}_{op.verb}"
        graph.remark = f"infer[{position}] {op.verb} -> {', '.join(op.outputs().values())}"
        _RULES[type(op)](real, op)
    graph.scope, graph.remark = "out", ""
    for name in collect:
        tensor = program.by_name[name]
        dtype = stored_dtype(tensor.format) if tensor.kind is Kind.CHOICE else FLOAT
        done.outputs[name] = graph.cast(real.values[name], dtype, names[name])
    graph.prune(value.name for value in done.outputs.values())
    return done
