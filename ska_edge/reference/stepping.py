"""The papers' rule as a flow in time, and solvers that choose their own steps.

Read as time t = eta k, the published rule (papers.py) is explicit Euler, with a delay of one step, for

    dW/dt = (1/ln 2) mean(z D' x^T);  db/dt = (1/ln 2) mean(z D')        x: the batch, else D of the layer below

The term dD of the published g is one step's change, of the order of eta, and vanishes with it; so does the delay of
x_prev.  Entropy a unit of time, H_k / eta, tends to -(1/ln 2) sum z dD/dt, knowledge flow to the norm of dz/dt.

An embedded pair of Runge-Kutta formulas advances W with one and estimates the error with the other.  2(1) is Heun's
and Euler's, 3(2) Bogacki and Shampine's, 5(4) Dormand and Prince's; the last two are SciPy's
(scikit-learn needs SciPy, so it is there).

    python -m ska_edge.reference.stepping           what a given error costs, fixed steps against chosen ones
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..errors import DataError, NetworkError, SkaError
from ..fixed import FloatArray
from ..progress import bar
from .papers import LN2, paper_weights, sigmoid, trajectory

_ORDER = {"heun": 2, "bogacki": 3, "dormand": 5}
PAIRS = tuple(_ORDER)


@dataclass(frozen=True)
class Curves:
    """`times` [n]; `entropy_rate` [layers, n], bits a unit of time; `flow` [layers, n], knowledge a unit of time."""

    times: FloatArray
    entropy_rate: FloatArray
    flow: FloatArray


@dataclass(frozen=True)
class Step:
    """An accepted step from time `begin` to `end`: by layer z and dz/dt at both ends, [samples, units] each."""

    begin: float
    end: float
    left: tuple[list[FloatArray], list[FloatArray]]
    right: tuple[list[FloatArray], list[FloatArray]]

    def curves(self, times: FloatArray) -> Curves:
        """The curves at `times` within the step, from the cubic through both ends of z and dz/dt.

        >>> z = [np.full((1, 1), 2.0)]
        >>> still = [np.zeros((1, 1))]
        >>> Step(0.0, 1.0, (z, still), (z, still)).curves(np.array([0.5])).flow
        array([[0.]])
        """
        entropy = np.zeros((len(self.left[0]), len(times)))
        flow = np.zeros_like(entropy)
        h = self.end - self.begin
        for column, time in enumerate(times):
            s = (time - self.begin) / h
            for layer, (z0, v0, z1, v1) in enumerate(zip(*self.left, *self.right, strict=True)):
                moved = z1 - z0
                z = z0 + s * s * (3 - 2 * s) * moved + h * s * (1 - s) * ((1 - s) * v0 - s * v1)
                v = 6 * s * (1 - s) / h * moved + (1 - s) * (1 - 3 * s) * v0 + s * (3 * s - 2) * v1
                d = sigmoid(z)
                entropy[layer, column] = -float(np.sum(z * d * (1.0 - d) * v)) / LN2
                flow[layer, column] = float(np.linalg.norm(v))
        return Curves(np.asarray(times, np.float64), entropy, flow)


@dataclass
class Run:
    """Where a solver arrived, and what it cost.

    `weights` [inputs, outputs] and `biases` [outputs] by layer; `evaluations` of dW/dt, those of rejected steps
    included; `tangents`, forward passes of dz/dt, which only the curves need; `steps` accepted.
    """

    weights: list[FloatArray]
    biases: list[FloatArray]
    curves: Curves
    evaluations: int
    tangents: int
    steps: int


class _Flow:
    """The right-hand side on one vector: W1, b1, W2, b2, ...  Remembers its last forward pass for the tangent."""

    def __init__(self, batch: FloatArray, weights: Sequence[FloatArray]) -> None:
        if batch.ndim != 2 or not batch.size or not np.isfinite(batch).all():
            raise DataError(f"batch: shape {batch.shape}; wanted finite [samples, inputs]")
        widths = [batch.shape[1], *(matrix.shape[-1] for matrix in weights)]
        wanted = list(zip(widths[:-1], widths[1:], strict=True))
        if not wanted or [matrix.shape for matrix in weights] != wanted:
            raise NetworkError(f"weights {[m.shape for m in weights]}: after {widths[0]} inputs they do not chain")
        self.batch, self.shapes = batch, wanted
        self.start = np.concatenate([np.append(matrix.ravel(), np.zeros(matrix.shape[1])) for matrix in weights])
        self.evaluations = self.tangents = 0
        self._inputs: list[FloatArray] = []
        self._z: list[FloatArray] = []

    def parts(self, y: FloatArray) -> Iterator[tuple[FloatArray, FloatArray]]:
        """Views of W and b, layer by layer."""
        at = 0
        for a, b in self.shapes:
            yield y[at : at + a * b].reshape(a, b), y[at + a * b : at + a * b + b]
            at += a * b + b

    def scales(self) -> FloatArray:
        """What an error of 1 means, entry by entry: the root mean square over all is then that of the layers.

        Each layer counts the same, by the size of its start weights: left alone, the first with its many weights
        would drown the small, fast ones above it.
        """
        out: FloatArray = np.empty_like(self.start)
        for (a, b), (w, _), (w_out, b_out) in zip(self.shapes, self.parts(self.start), self.parts(out), strict=True):
            size = math.sqrt(float(np.mean(w * w))) or 1.0
            w_out[:] = b_out[:] = size * math.sqrt((a * b + b) * len(self.shapes) / len(out))
        return out

    def __call__(self, _time: float, y: FloatArray) -> FloatArray:
        """dy/dt; the flow does not depend on the time itself."""
        self.evaluations += 1
        self._inputs, self._z = [], []
        out: FloatArray = np.empty_like(y)
        x = self.batch
        for (w, b), (dw, db) in zip(self.parts(y), self.parts(out), strict=True):
            z: FloatArray = x @ w + b
            d = sigmoid(z)
            drive = z * d * (1.0 - d) / (LN2 * len(x))
            np.matmul(x.T, drive, out=dw)
            drive.sum(axis=0, out=db)
            self._inputs.append(x)
            self._z.append(z)
            x = d
        return out

    def knowledge(self, y: FloatArray, rate: FloatArray) -> tuple[list[FloatArray], list[FloatArray]]:
        """Z and dz/dt where the right-hand side was last asked, at y, having answered `rate`."""
        self.tangents += 1
        speeds: list[FloatArray] = []
        dx: FloatArray | None = None
        for x, z, (w, _), (dw, db) in zip(self._inputs, self._z, self.parts(y), self.parts(rate), strict=True):
            dz = x @ dw + db
            if dx is not None:
                dz += dx @ w
            d = sigmoid(z)
            dx = d * (1.0 - d) * dz
            speeds.append(dz)
        return self._z, speeds


class _Heun:
    """Heun and Euler, 2(1), with the attributes of SciPy's solvers that `Solver` uses."""

    def __init__(self, flow: _Flow, y0: FloatArray, horizon: float, first_step: float, atol: FloatArray) -> None:
        self.t, self.y, self.status = 0.0, y0, "running"
        self._flow, self._horizon, self._h, self._atol = flow, horizon, first_step, atol
        self.f = flow(0.0, y0)

    def step(self) -> None:
        """One accepted step; a rejected one is tried again, shorter."""
        while True:
            h = min(self._h, self._horizon - self.t)
            end = self._flow(self.t + h, self.y + h * self.f)
            error = _rms(0.5 * h * (end - self.f) / self._atol)
            self._h = h * min(5.0, max(0.2, 0.9 / math.sqrt(error) if error else 5.0))
            if error <= 1.0:
                break
        self.y = self.y + 0.5 * h * (self.f + end)
        self.t += h
        self.status = "finished" if self.t >= self._horizon else "running"
        self.f = self._flow(self.t, self.y)


def _rms(values: FloatArray) -> float:
    return float(np.linalg.norm(values)) / math.sqrt(values.size)


class Solver:
    """One integration from time 0: `steps()` yields it step by step, `run` sums it up.  `flow` counts the cost.

    `batch` [samples, inputs]; `weights` one [inputs, outputs] matrix a layer, not changed (biases start at 0).
    `tolerance`: error a step may make, in units of the root mean square of a layer's start weights, root mean square
    over the layers.  Raises DataError or NetworkError.
    """

    def __init__(
        self, batch: FloatArray, weights: Sequence[FloatArray], horizon: float, pair: str, tolerance: float
    ) -> None:
        if pair not in PAIRS:
            raise NetworkError(f"pair {pair!r}: allowed are {', '.join(PAIRS)}")
        if not 1e-11 <= tolerance <= 10.0 or not 0 < horizon < math.inf:
            raise NetworkError(f"tolerance {tolerance}, horizon {horizon}; wanted 1e-11 to 10, and a positive horizon")
        self.flow = _Flow(batch, weights)
        self.accepted = 0
        unit, start = self.flow.scales(), self.flow.start
        pace = _rms(self.flow(0.0, start) / unit)  # counted, though it is asked again: so does SciPy
        first = min(horizon, tolerance ** (1.0 / _ORDER[pair]) / pace) if pace else horizon
        if pair == "heun":
            self._solver: Any = _Heun(self.flow, start, horizon, first, tolerance * unit)
        else:
            from scipy.integrate import RK23, RK45

            method = RK23 if pair == "bogacki" else RK45
            limits = {"rtol": 1e-12, "atol": tolerance * unit, "first_step": first}  # absolute errors only
            self._solver = method(self.flow, 0.0, start, horizon, **limits)

    def steps(self) -> Iterator[Step]:
        """Accepted steps to the horizon.  Each pair's last evaluation of a step stands at its accepted end."""
        solver = self._solver
        left, begin = self.flow.knowledge(solver.y, solver.f), 0.0
        while solver.status == "running":
            solver.step()
            if solver.status == "failed" or not np.isfinite(solver.y).all():
                raise NetworkError(f"time {solver.t:g}: no step is short enough; wanted a larger tolerance")
            self.accepted += 1
            right = self.flow.knowledge(solver.y, solver.f)
            yield Step(begin, float(solver.t), left, right)
            left, begin = right, float(solver.t)

    def run(self, curves: Curves) -> Run:
        """Where it stands now."""
        return _run(self.flow, self._solver.y, curves, self.accepted)


def integrate(
    batch: FloatArray,
    weights: Sequence[FloatArray],
    horizon: float = 0.5,
    pair: str = "bogacki",
    tolerance: float = 1e-2,
    points: int = 100,
) -> Run:
    """Follow the flow to time `horizon`, choosing the steps; parameters and errors as `Solver`'s.

    The curves are given at `points` equal steps of time, the last of them the horizon.

    >>> run = integrate(np.array([[0.0, 1.0], [1.0, 1.0]]), [np.array([[0.1], [0.2]])], horizon=2.0)
    >>> run.steps < run.evaluations < 30
    True
    """
    solver = Solver(batch, weights, horizon, pair, tolerance)
    times = horizon * np.arange(1, points + 1) / points
    found = [step.curves(times[(times > step.begin) & (times <= step.end)]) for step in solver.steps()]
    return solver.run(joined(found))


def joined(parts: Sequence[Curves]) -> Curves:
    """Curves end to end."""
    return Curves(
        np.concatenate([part.times for part in parts]),
        np.concatenate([part.entropy_rate for part in parts], axis=1),
        np.concatenate([part.flow for part in parts], axis=1),
    )


def _run(flow: _Flow, y: FloatArray, curves: Curves, steps: int) -> Run:
    parts = [(w.copy(), b.copy()) for w, b in flow.parts(y)]
    return Run([w for w, _ in parts], [b for _, b in parts], curves, flow.evaluations, flow.tangents, steps)


def euler(batch: FloatArray, weights: Sequence[FloatArray], horizon: float = 0.5, steps: int = 50) -> Run:
    """The same flow by explicit Euler in `steps` equal steps: the published rule without its delay and without dD.

    The curves stand at the middle of each step: there differences of z are right to second order, and free.
    """
    if steps < 1 or not 0 < horizon < math.inf:
        raise NetworkError(f"{steps} steps to {horizon}; wanted at least one, and a positive horizon")
    flow = _Flow(batch, weights)
    y, h = flow.start.copy(), horizon / steps
    entropy, speed = np.zeros((2, len(weights), steps))
    before: list[FloatArray] = []
    for step in range(steps + 1):
        rate = flow(step * h, y)
        now = flow._z
        for layer, (z0, z1) in enumerate(zip(before, now, strict=False)):
            shift = sigmoid(z1) - sigmoid(z0)
            entropy[layer, step - 1] = -float(np.sum(0.5 * (z0 + z1) * shift)) / (LN2 * h)
            speed[layer, step - 1] = float(np.linalg.norm(z1 - z0)) / h
        before = now
        if step < steps:
            y += h * rate
    return _run(flow, y, Curves(np.asarray(h * np.arange(0.5, steps), np.float64), entropy, speed), steps)


# -- what a given error costs -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """One run against the reference.

    `setting`: K, or the tolerance.  `passes`: evaluations of dW/dt (forward passes); `curve_passes`: with the tangents.
    `weight_error`: of W at the horizon, relative to how far W moved; `curve_error`: largest of the entropy rate,
    relative to its largest value.  Both are the worst layer's.
    """

    method: str
    setting: float
    passes: int
    curve_passes: int
    weight_error: float
    curve_error: float


def errors_of(run: Run, reference: Run, weights: Sequence[FloatArray]) -> tuple[float, float]:
    """Weight and curve errors as `Cost` defines them; the curves are compared at the reference's times."""
    far = [
        float(np.linalg.norm(ours - exact) / np.linalg.norm(exact - begin))
        for ours, exact, begin in zip(run.weights, reference.weights, weights, strict=True)
    ]
    times = reference.curves.times
    off = [
        float(np.abs(np.interp(times, run.curves.times, ours) - exact)[times <= run.curves.times[-1]].max())
        / float(np.abs(exact).max())
        for ours, exact in zip(run.curves.entropy_rate, reference.curves.entropy_rate, strict=True)
    ]
    return max(far), max(off)


def published(batch: FloatArray, weights: Sequence[FloatArray], horizon: float = 0.5, steps: int = 50) -> Run:
    """The published rule with eta = horizon / steps, one pass more than `steps` so that W arrives at the horizon."""
    done = trajectory(batch, weights, horizon / steps, steps + 1)
    times = horizon * np.arange(1, steps + 1) / steps
    curves = Curves(times, np.array(done.entropy) * steps / horizon, np.array(done.flow))
    return Run(done.weights, done.biases, curves, steps + 1, 0, steps)


FIXED = {"published": published, "euler": euler}
GOALS = (0.1, 0.01, 0.001)
COARSEST = 25


def costs(
    batch: FloatArray,
    weights: Sequence[FloatArray],
    horizon: float = 0.5,
    goal: float = GOALS[-1],
    most_steps: int = 1_600,
    progress: bool = False,
) -> list[Cost]:
    """Every method at ever finer settings until both errors are within `goal`, or fixed steps exceed `most_steps`."""
    reference = integrate(batch, weights, horizon, "dormand", 1e-9)
    found: list[Cost] = []

    def measure(method: str, setting: float, run: Run) -> bool:
        far, off = errors_of(run, reference, weights)
        cost = Cost(method, setting, run.evaluations, run.evaluations + run.tangents, far, off)
        found.append(cost)
        return max(far, off) <= goal

    with bar("stepping", len(FIXED) + len(PAIRS), progress) as advance:
        for pair in PAIRS:
            for exponent in range(21):
                tolerance = 10.0 ** (-exponent / 3.0)
                if measure(pair, tolerance, integrate(batch, weights, horizon, pair, tolerance)):
                    break
            advance(1)
        for name, method in FIXED.items():
            steps = COARSEST
            while steps <= most_steps:
                if measure(name, steps, method(batch, weights, horizon, steps)):
                    break
                steps *= 2
            advance(1)
    return found


def passes_for(found: Sequence[Cost], method: str, goal: float, curve: bool) -> float | None:
    """Forward passes a method needs for an error of `goal` in the weights, or in the entropy curve; None: not reached.

    Interpolated, log against log, between the dearest run that misses the goal before the first that meets it, and
    that one: the settings tried lie up to a factor of two apart, which would hide as much of the difference.

    >>> tried = [Cost("euler", k, k, k, 1.0 / k, 2.0 / k) for k in (25, 50, 100, 200)]
    >>> round(passes_for(tried, "euler", 0.015, curve=False), 6)
    66.666667
    """
    points = sorted(
        (c.curve_passes, c.curve_error) if curve else (c.passes, c.weight_error) for c in found if c.method == method
    )
    for number, (passes, error) in enumerate(points):
        if error <= goal:
            if not number:
                return float(passes)
            before, worse = points[number - 1]
            part = math.log(worse / goal) / math.log(worse / error)
            return math.exp(math.log(before) + part * math.log(passes / before))
    return None


def _table(found: Sequence[Cost], finest: float) -> str:
    lines = [
        "| error | method | passes, weights | times fewer | passes, entropy curve | times fewer |",
        "|---|---|---|---|---|---|",
    ]
    for goal in (one for one in GOALS if one >= finest):
        for method in (*FIXED, *PAIRS):
            cells: list[str] = []
            for curve in (False, True):
                passes, fixed = (passes_for(found, name, goal, curve) for name in (method, "published"))
                cells.append(f"> {_most(found, method, curve):,}" if passes is None else f"{passes:,.0f}")
                times = (fixed or _most(found, "published", curve)) / passes if passes else None
                cells.append("" if times is None else f"{'' if fixed else '> '}{times:.2g}")
            lines.append(f"| {100 * goal:g} % | {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _most(found: Sequence[Cost], method: str, curve: bool) -> int:
    return max(c.curve_passes if curve else c.passes for c in found if c.method == method)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print how many forward passes each method needs for a given error: the papers' network, to time 0.5."""
    parser = argparse.ArgumentParser(prog="python -m ska_edge.reference.stepping", description=main.__doc__)
    parser.add_argument("--dataset", choices=("mnist", "digits"), default="mnist", help="mnist, or digits 64-32-16-10")
    parser.add_argument("--samples", type=int, default=300, help="rows of the batch (300)")
    parser.add_argument("--horizon", type=float, default=0.5, help="time eta K to reach (0.5)")
    parser.add_argument("--goal", type=float, default=GOALS[-1], help="refine until errors are below this (0.001)")
    parser.add_argument("--most-steps", type=int, default=1_600, help="largest K tried (1600)")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    given = parser.parse_args(arguments)
    from .characteristic import PAPER_CASE, Case, case_batch

    case = PAPER_CASE if given.dataset == "mnist" else Case("digits", (64, 32, 16, 10))
    try:
        if given.samples < 1 or given.most_steps < COARSEST:
            raise DataError(f"{given.samples} samples, {given.most_steps} steps: wanted at least 1 and {COARSEST}")
        batch, weights = case_batch(case, given.samples), paper_weights(case.shape)
        shown = not (given.quiet or given.json)
        found = costs(batch, weights, given.horizon, given.goal, given.most_steps, progress=shown)
    except SkaError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    if given.json:
        print(json.dumps({"costs": [asdict(cost) for cost in found]}))
    else:
        print(f"{case.name}, {given.samples} samples, to time {given.horizon:g}\n")
        print(_table(found, given.goal))


if __name__ == "__main__":
    main()
