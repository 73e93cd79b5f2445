"""Is the papers' characteristic time, T = eta K = 0.5, a property of learning?  An estimator, and what it depends on.

Time is t = eta k; the curves are a layer's entropy rate H_k / eta and knowledge flow Phi_k (papers.py).  Each layer
has four times, none of which needs a K chosen beforehand:

    entropy_minimum   the entropy rate is at its minimum
    flow_peak         the flow is at its maximum
    entropy_settled   from here on the entropy rate stays within a share of its minimum from 0, where it ends
    flow_settled      from here on the flow stays below a share of its peak

A run shows an extremum only if it goes past it, and a settled curve only if it lasts twice as long as the settling
took; otherwise the answer is None.  The network's time is its slowest layer's.

What to expect.  With M = (X X^T + 1 1^T) / n, the Gram matrix of a layer's n inputs, each with a 1 for the bias,

    dz/dt = (1/ln 2) M (z D')                              z of a layer while its inputs hold still

so along an eigenvector of M z grows as exp(mu t / (4 ln 2)) while it is small, mu being the eigenvalue; then it
saturates, z as log t, dz/dt as 1 / t.  `predicted_time` follows one such direction from the start weights' spread to
the turning point.

    python -m ska_edge.reference.characteristic            the whole table; --json, --figure PATH
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np

from ..compare import half_width
from ..errors import DataError, NetworkError, SkaError
from ..fixed import FloatArray
from .papers import LN2, PAPER_STD, Trajectory, paper_weights, sigmoid
from .stepping import Curves, Solver, joined

SHARE = 0.1
PAPER_TIME = 0.5
LONGEST = 1e4
MOST_EVALUATIONS = 4_000
TOLERANCE = 3e-3
_POINTS_A_STEP = 8
_CANDIDATES = 5


@dataclass(frozen=True)
class LayerTimes:
    """The four times of one layer, in units of eta k; None: the run does not show it."""

    entropy_minimum: float | None
    flow_peak: float | None
    entropy_settled: float | None
    flow_settled: float | None


TIMES = tuple(field.name for field in fields(LayerTimes))


def settle(trajectory: Trajectory | Curves, share: float = SHARE) -> tuple[LayerTimes, ...]:
    """When each layer turns and settles; `share` is what is left of a curve that has settled, 0 to 1.

    Raises NetworkError for another share, DataError for curves that are empty or not finite.

    >>> times = np.arange(0.0, 40.0, 0.5)
    >>> hump = times * np.exp(1.0 - times)
    >>> settle(Curves(times, -hump[np.newaxis], hump[np.newaxis]), share=0.1)[0].flow_peak
    1.0
    """
    if not 0.0 < share < 1.0:
        raise NetworkError(f"share {share}: wanted a number between 0 and 1")
    curves = _curves(trajectory)
    if not curves.times.size or not all(np.isfinite(c).all() for c in (curves.entropy_rate, curves.flow)):
        raise DataError("curves: empty or not finite")
    return tuple(
        LayerTimes(
            _turn(curves.times, -entropy),
            _turn(curves.times, flow),
            _settled(curves.times, np.abs(entropy), share),
            _settled(curves.times, flow, share),
        )
        for entropy, flow in zip(curves.entropy_rate, curves.flow, strict=True)
    )


def _curves(trajectory: Trajectory | Curves) -> Curves:
    if isinstance(trajectory, Curves):
        return trajectory
    entropy, flow = np.array(trajectory.entropy), np.array(trajectory.flow)
    return Curves(trajectory.rate * np.arange(1, entropy.shape[1] + 1), entropy / trajectory.rate, flow)


def _turn(times: FloatArray, curve: FloatArray) -> float | None:
    """Where the curve is largest, if it falls afterwards."""
    at = int(np.argmax(curve))
    return float(times[at]) if curve[at] > 0.0 and curve[-1] < curve[at] else None


def _settled(times: FloatArray, curve: FloatArray, share: float) -> float | None:
    """Where the curve last comes down to the share of its peak, if the run goes on for as long again."""
    level = share * float(curve.max())
    above = np.flatnonzero(curve > level)
    if not above.size or above[-1] == len(curve) - 1:
        return None
    last = int(above[-1])
    part = (curve[last] - level) / (curve[last] - curve[last + 1])
    time = float(times[last] + part * (times[last + 1] - times[last]))
    return time if times[-1] >= 2.0 * time else None


def follow(
    batch: FloatArray,
    weights: Sequence[FloatArray],
    share: float = SHARE,
    tolerance: float = TOLERANCE,
    longest: float = LONGEST,
) -> Curves:
    """The curves of the flow (stepping.py) until every layer has turned and settled, or `longest` has passed.

    Steps are chosen; `tolerance` as `stepping.Solver`'s.
    """
    solver = Solver(batch, weights, longest, "bogacki", tolerance)
    parts: list[Curves] = []
    inside = np.arange(1, _POINTS_A_STEP + 1) / _POINTS_A_STEP
    look_again = 0.0
    for step in solver.steps():
        parts.append(step.curves(step.begin + (step.end - step.begin) * inside))
        if step.end >= look_again:
            found = [getattr(layer, name) for layer in settle(joined(parts), share) for name in TIMES]
            if None not in found or solver.flow.evaluations > MOST_EVALUATIONS:
                break
            look_again = 1.2 * step.end
    return joined(parts)


@dataclass(frozen=True)
class Estimate:
    """One time over the seeds: `values` a seed; `mean` and `ci95`, half of Student's 95 % interval.

    Both are None if any seed's value is: a mean of those that settled would be too short.  ci95 also for one seed.
    """

    values: tuple[float | None, ...]
    mean: float | None
    ci95: float | None


def estimate(values: Sequence[float | None]) -> Estimate:
    """Mean and interval.

    >>> estimate([1.0, 2.0, 3.0]).mean, estimate([1.0, None]).mean
    (2.0, None)
    """
    known = [value for value in values if value is not None]
    whole = bool(known) and len(known) == len(values)
    mean = float(np.mean(known)) if whole else None
    return Estimate(tuple(values), mean, half_width(known) if whole else None)


@dataclass(frozen=True)
class CharacteristicTime:
    """The times of a network shape on a batch, over seeds of start weights.

    `network`: by name of the time (`TIMES`), the slowest layer's; `layers`: the same for every layer.  `growth`:
    mu of each layer (see `growth`), mean over the seeds; `predicted`: its entropy minimum by `predicted_time`.
    """

    shape: tuple[int, ...]
    seeds: tuple[int, ...]
    share: float
    network: dict[str, Estimate]
    layers: tuple[dict[str, Estimate], ...]
    growth: tuple[float, ...]
    predicted: tuple[float, ...]


def characteristic_time(
    batch: FloatArray,
    shape: Sequence[int],
    seeds: Sequence[int] = range(5),
    *,
    std: float = PAPER_STD,
    share: float = SHARE,
    tolerance: float = TOLERANCE,
    longest: float = LONGEST,
) -> CharacteristicTime:
    """Find the characteristic times of a shape on a batch [samples, inputs].

    `seeds` of the start weights, of spread `std`, as the papers draw them; `share`, see `settle`; `tolerance` and
    `longest`, see `follow`.  Raises DataError or NetworkError.
    """
    if len(shape) < 2 or min(shape) < 1 or batch.ndim != 2 or shape[0] != batch.shape[1]:
        raise NetworkError(f"shape {tuple(shape)} for a batch {batch.shape}; wanted two widths or more, inputs first")
    if not len(seeds) or not 0.0 < std < math.inf:
        raise NetworkError(f"{len(seeds)} seeds, spread {std}; wanted at least one seed and a positive spread")
    found: list[tuple[LayerTimes, ...]] = []
    growths: list[list[tuple[float, float]]] = []
    for seed in seeds:
        weights = paper_weights(shape, seed, std)
        found.append(settle(follow(batch, weights, share, tolerance, longest), share))
        growths.append(growth(batch, weights))
    by_layer = list(zip(*found, strict=True))
    mu = np.array(growths)
    return CharacteristicTime(
        tuple(shape),
        tuple(seeds),
        share,
        {name: estimate([_slowest(layers, name) for layers in found]) for name in TIMES},
        tuple({name: estimate([getattr(one, name) for one in seen]) for name in TIMES} for seen in by_layer),
        tuple(float(value) for value in mu[:, :, 0].mean(axis=0)),
        tuple(float(np.mean([predicted_time(*pair) for pair in layer])) for layer in zip(*growths, strict=True)),
    )


def _slowest(layers: Sequence[LayerTimes], name: str) -> float | None:
    times = [getattr(layer, name) for layer in layers]
    return None if None in times else max(times)


# -- what it should be ------------------------------------------------------------------------------------------


def growth(batch: FloatArray, weights: Sequence[FloatArray]) -> list[tuple[float, float]]:
    """By layer, at the start: mu of M's fastest direction, and the spread of z along it.

    The start weights give an eigenvector's direction of z the spread std sqrt(mu (1 - q^2)), q being the bias's share
    of it; biases start at 0.  So the largest eigenvalue need not be the first to get anywhere: with centred inputs it
    can be the bias's own, 1, with no spread at all.  The fastest is the one of the earliest `predicted_time`.
    """
    found: list[tuple[float, float]] = []
    x = batch
    for w in weights:
        augmented = np.column_stack([x, np.ones(len(x))])
        values, vectors = np.linalg.eigh(augmented.T @ augmented / len(x))
        std = float(np.sqrt(np.mean(w * w)))
        candidates = [
            (float(mu), std * math.sqrt(float(mu) * float(q @ q)))
            for mu, q in zip(values[-_CANDIDATES:], vectors[:-1, -_CANDIDATES:].T, strict=True)
            if mu > 1e-9 and q @ q > 1e-12
        ]
        found.append(min(candidates, key=lambda pair: predicted_time(*pair)))
        x = sigmoid(x @ w)
    return found


def predicted_time(mu: float, spread: float) -> float:
    """When dz/dt = (mu / ln 2) z D' has the lowest entropy rate, z starting normal with `spread`; nothing is fitted.

    The same moment is the flow's peak: both follow the mean of (z D')^2.

    >>> round(predicted_time(38.3, 0.06), 2)  # layer 1 of the papers' network
    0.29
    """
    if not (mu > 0.0 and spread > 0.0):
        raise NetworkError(f"mu {mu}, spread {spread}: wanted positive numbers")
    log_z = np.linspace(math.log(1e-6 * min(spread, 1.0)), math.log(20.0 + 5.0 * spread), 4001)
    z = np.exp(log_z)
    slope = sigmoid(z) * sigmoid(-z)
    inverse = 1.0 / slope
    age = np.concatenate([[0.0], np.cumsum(0.5 * (inverse[1:] + inverse[:-1]) * np.diff(log_z))])
    quantiles = spread * _half_normal(200)
    born = np.interp(np.log(quantiles), log_z, age)
    later = np.linspace(0.0, 8.0 + 4.0 * max(0.0, math.log(2.0 / spread)), 2001)
    power = np.interp(born[:, np.newaxis] + later, age, (z * slope) ** 2).mean(axis=0)
    return float(later[int(np.argmax(power))]) * LN2 / mu


def _half_normal(count: int) -> FloatArray:
    """Medians of `count` equal parts of the distribution of |n|, n standard normal."""
    from statistics import NormalDist

    standard = NormalDist()
    return np.array([standard.inv_cdf(0.5 + (k + 0.5) / (2 * count)) for k in range(count)])


# -- the study --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A shape on a data set; `scale` multiplies the inputs (0 to 1), after their means are taken off if `centred`."""

    dataset: str
    shape: tuple[int, ...]
    scale: float = 1.0
    std: float = PAPER_STD
    centred: bool = False

    @property
    def name(self) -> str:
        """What a table calls it."""
        return ", ".join(
            [f"{self.dataset} {'-'.join(map(str, self.shape))}"]
            + (["centred"] if self.centred else [])
            + ([f"inputs x {self.scale:g}"] if self.scale != 1.0 else [])
            + ([f"start x {self.std / PAPER_STD:g}"] if self.std != PAPER_STD else [])
        )


PAPER_CASE = Case("mnist", (784, 256, 128, 64, 10))
CASES = (
    PAPER_CASE,
    Case("mnist", (784, 512, 256, 128, 10)),
    Case("mnist", (784, 128, 64, 10)),
    Case("mnist", (784, 64, 10)),
    Case("mnist", (784, 10)),
    Case("mnist", (784, 64, 64, 64, 64, 10)),
    Case("mnist", (784, 256, 128, 64, 10), scale=0.5),
    Case("mnist", (784, 256, 128, 64, 10), scale=2.0),
    Case("mnist", (784, 256, 128, 64, 10), centred=True),
    Case("mnist", (784, 256, 128, 64, 10), std=0.001),
    Case("mnist", (784, 256, 128, 64, 10), std=0.1),
    Case("digits", (64, 16, 10)),
    Case("digits", (64, 32, 16, 10)),
    Case("digits", (64, 256, 128, 64, 10)),
    Case("digits", (64, 10)),
    Case("digits", (64, 32, 16, 10), scale=0.5),
    Case("digits", (64, 32, 16, 10), scale=2.0),
    Case("digits", (64, 32, 16, 10), centred=True),
    Case("digits", (64, 32, 16, 10), std=0.001),
    Case("digits", (64, 32, 16, 10), std=0.1),
)


@dataclass(frozen=True)
class Finding:
    """A case's times, and the mean of |x|^2 over its batch."""

    case: Case
    times: CharacteristicTime
    square: float


@dataclass(frozen=True)
class Fit:
    """ln(measured) = a + slope ln(predictor) by least squares; `ratio`: measured over predictor, lowest and highest."""

    what: str
    predictor: str
    points: int
    slope: float
    r2: float
    ratio: tuple[float, float]


def fit(what: str, predictor: str, pairs: Sequence[tuple[float, float]]) -> Fit:
    """Fit (predictor, measured) pairs.

    >>> found = fit("T", "x", [(1.0, 2.0), (2.0, 4.0), (4.0, 8.0)])
    >>> round(found.slope, 6), round(found.r2, 6), round(found.ratio[0], 6)
    (1.0, 1.0, 2.0)
    """
    x, y = np.log(np.array(pairs, np.float64)).T
    slope, level = np.polyfit(x, y, 1)
    left = y - level - slope * x
    ratios = np.exp(y - x)
    r2 = 1.0 - float(left @ left) / float(np.sum((y - y.mean()) ** 2))
    return Fit(what, predictor, len(pairs), float(slope), r2, (float(ratios.min()), float(ratios.max())))


def study(
    cases: Sequence[Case], seeds: Sequence[int], samples: int, share: float = SHARE, progress: bool = False
) -> list[Finding]:
    """Every case on the same random `samples` rows of its data set.  Raises DataError where the data is missing."""
    from ..progress import bar

    found: list[Finding] = []
    with bar("characteristic", len(cases), progress) as advance:
        for case in cases:
            batch = case_batch(case, samples)
            times = characteristic_time(batch, case.shape, seeds, std=case.std, share=share)
            found.append(Finding(case, times, float(np.mean(np.sum(batch * batch, axis=1)))))
            advance(1)
    return found


def case_batch(case: Case, samples: int) -> FloatArray:
    """The case's batch [samples, inputs]: rows drawn once and for all with seed 0."""
    from ..data import load_dataset

    dataset = load_dataset(case.dataset)
    rows = np.random.default_rng(0).permutation(len(dataset.samples))[:samples]
    unit = dataset.encoding(centred=False).unit(dataset.samples[rows])
    return np.asarray(case.scale * (unit - unit.mean(axis=0) if case.centred else unit), np.float64)


def fits(findings: Sequence[Finding]) -> list[Fit]:
    """How well the entropy minimum follows from what is known at the start, for first layers and for those above."""
    first: dict[str, list[tuple[float, float]]] = {}
    above: dict[str, list[tuple[float, float]]] = {}
    for finding in findings:
        for layer, times in enumerate(finding.times.layers):
            measured = times["entropy_minimum"].mean
            if measured is None:
                continue
            mu, predicted = finding.times.growth[layer], finding.times.predicted[layer]
            into = above if layer else first
            into.setdefault("predicted_time", []).append((predicted, measured))
            if finding.case.std == PAPER_STD:
                into.setdefault("1 / mu", []).append((1.0 / mu, measured))
                if not layer:
                    into.setdefault("1 / (1 + mean norm^2)", []).append((1.0 / (1.0 + finding.square), measured))
    return [
        fit(what, predictor, pairs)
        for what, group in (("first layers", first), ("layers above", above))
        for predictor, pairs in group.items()
        if len({round(x, 9) for x, _ in pairs}) > 2
    ]


def tail(curves: Curves, shares: Sequence[float]) -> list[tuple[float, float | None, float | None]]:
    """(share, entropy_settled, flow_settled) of the slowest layer: without a scale of its own, time goes as a power."""
    found = [(share, settle(curves, share)) for share in shares]
    return [(share, _slowest(seen, "entropy_settled"), _slowest(seen, "flow_settled")) for share, seen in found]


SHARES = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01)


def draw(path: str, findings: Sequence[Finding], curves: Curves, name: str) -> None:
    """Write the figure: the time against mu, and what is left of the flow of one run.  By suffix SVG, PNG or PDF."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.4), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    kinds: dict[str, list[tuple[float, Estimate]]] = {}
    for finding in findings:
        if finding.case.std == PAPER_STD:
            for layer, (mu, times) in enumerate(zip(finding.times.growth, finding.times.layers, strict=True)):
                kind = f"{finding.case.dataset}, {'layers above' if layer else 'layer 1'}"
                kinds.setdefault(kind, []).append((mu, times["entropy_minimum"]))
    looks = {"mnist, layer 1": "C0o", "mnist, layers above": "C0^", "digits, layer 1": "C1o"}
    for kind, points in kinds.items():
        known = [(mu, one) for mu, one in points if one.mean is not None]
        left.errorbar(
            [mu for mu, _ in known],
            [one.mean for _, one in known],
            [one.ci95 or 0.0 for _, one in known],
            fmt=looks.get(kind, "C1^"),
            mfc="none",
            capsize=2,
            lw=0.8,
            ms=6,
            label=kind,
        )
    line = np.geomspace(0.6, 250.0, 40)
    ahead = [predicted_time(mu, PAPER_STD * math.sqrt(mu)) for mu in line]
    left.plot(line, ahead, "k-", lw=1, label="predicted, nothing fitted")
    left.axhline(PAPER_TIME, color="C3", ls="--", lw=1, label="the papers' 0.5")
    left.set(xscale="log", yscale="log", xlabel="mu of the layer's inputs at the start (of one sample: 1 + |x|$^2$)")
    left.set(ylabel="entropy minimum, eta k", title="When a layer's entropy rate turns")
    left.legend(fontsize=8)
    for layer, flow in enumerate(curves.flow):
        right.plot(curves.times, flow / flow.max(), color=f"C{layer}", lw=1.2, label=f"layer {layer + 1}")
    late = curves.times[curves.times > 1.0]
    right.plot(late, 0.4 / late, "k:", lw=1, label="1 / t")
    right.axvline(PAPER_TIME, color="C3", ls="--", lw=1, label="the papers' 0.5")
    right.set(xscale="log", yscale="log", xlabel="time, eta k", ylabel="flow, share of its peak", xlim=(0.01, None))
    right.set(ylim=(0.003, 1.5), title=f"The flow, {name}")
    right.legend(fontsize=8, loc="lower left")
    figure.savefig(path, dpi=110)


def _shown(one: Estimate) -> str:
    if one.mean is None:
        return "not settled"
    return f"{one.mean:.3g}" + ("" if one.ci95 is None else f" ± {one.ci95:.2g}")


def _table(findings: Sequence[Finding]) -> str:
    lines = [
        "| case | layer | mu | predicted | entropy minimum | flow peak | entropy settled | flow settled |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for finding in findings:
        times = finding.times
        rows: list[tuple[str, str, str, dict[str, Estimate]]] = [("all", "", "", times.network)]
        if len(times.layers) > 1:
            rows += [
                (str(layer), f"{mu:.3g}", f"{ahead:.3g}", one)
                for layer, (mu, ahead, one) in enumerate(
                    zip(times.growth, times.predicted, times.layers, strict=True), start=1
                )
            ]
        else:
            rows = [("all", f"{times.growth[0]:.3g}", f"{times.predicted[0]:.3g}", times.network)]
        for layer, mu, ahead, one in rows:
            name = finding.case.name if layer == "all" else ""
            lines.append(f"| {name} | {layer} | {mu} | {ahead} | {' | '.join(_shown(one[t]) for t in TIMES)} |")
    return "\n".join(lines)


def _fit_table(found: Sequence[Fit]) -> str:
    lines = [
        "| entropy minimum of | against | points | slope, log-log | R^2 | measured / predictor |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {f.what} | {f.predictor} | {f.points} | {f.slope:.2f} | {f.r2:.3f} | {f.ratio[0]:.3g} to {f.ratio[1]:.3g} |"
        for f in found
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the study."""
    parser = argparse.ArgumentParser(prog="python -m ska_edge.reference.characteristic", description=main.__doc__)
    parser.add_argument("--dataset", choices=("mnist", "digits"), help="only this data set's cases (all)")
    parser.add_argument("--seeds", type=int, default=10, help="start weights to repeat with (10)")
    parser.add_argument("--samples", type=int, default=300, help="rows of the batch (300)")
    parser.add_argument("--share", type=float, default=SHARE, help="left of a curve that has settled (0.1)")
    parser.add_argument("--figure", metavar="PATH", help="write the figure, SVG or PNG")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    given = parser.parse_args(arguments)
    try:
        cases = [case for case in CASES if given.dataset in (None, case.dataset)]
        if given.seeds < 1 or given.samples < 1:
            raise NetworkError(f"{given.seeds} seeds, {given.samples} samples; wanted at least one of each")
        findings = study(cases, range(given.seeds), given.samples, given.share, not (given.quiet or given.json))
        curves = follow(case_batch(cases[0], given.samples), paper_weights(cases[0].shape), SHARES[-1])
        tails = tail(curves, SHARES)
        if given.figure:
            draw(given.figure, findings, curves, cases[0].name)
    except SkaError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    if given.json:
        result = {
            "findings": [asdict(finding) for finding in findings],
            "fits": [asdict(one) for one in fits(findings)],
            "tail": [dict(zip(("share", "entropy_settled", "flow_settled"), row, strict=True)) for row in tails],
        }
        print(json.dumps(result))
        return
    print(_table(findings), end="\n\n")
    print(_fit_table(fits(findings)), end="\n\n")
    print(f"{cases[0].name}, start weights 42: slowest layer by the share that is left\n")
    print("| share | entropy settled | flow settled |\n|---|---|---|")
    for left, *settled in tails:
        print(f"| {left:g} | {' | '.join(_shown(Estimate((), time, None)) for time in settled)} |")


if __name__ == "__main__":
    main()
