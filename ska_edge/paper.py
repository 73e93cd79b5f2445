"""Both papers reproduced: every published curve in float64 and in integers, and what holds of what they say."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from . import schedule
from .data import Dataset, load_dataset, load_file
from .errors import DataError, MissingError
from .fixed import FloatArray, IntArray
from .progress import bar
from .reference.papers import PAPER_RATE, PAPER_SHAPE, PAPER_STEPS, Trajectory, paper_weights, trajectory
from .reference.published import ENTROPY_MINIMA, LAYERS, SIGN_CHANGES, SOURCE, History, load_published
from .reference.readout import readout_accuracy
from .reference.shannon import Comparison, binary_entropy, compare_functions
from .reference.two_layer import KINDS, METHODS, TwoLayerRun, run_two_layer
from .report.files import claim as claim_folder
from .report.files import write_files
from .report.paper import artefacts
from .schedule import IntegerRun

PAIRS = ((0.02, 25), (0.01, 50), (0.005, 100), (1 / 300, 150), (0.0025, 200), (0.001, 500))  # arXiv 2504.03214
QUICK_PAIRS = PAIRS[:3]
PROFILES = ("w16d15", "w8d8", "w4d8")
ROUNDINGS = ("lattice", "random", "half")
INTEGERS = tuple((profile, rounding) for rounding in ROUNDINGS for profile in PROFILES)
QUICK_INTEGERS = (("w8d8", "lattice"),)
SEEDS, QUICK_SEEDS = 10, 3
HISTORY_BAR = 3e-5
READOUTS = ("as they are", "standardised")
IMAGES = "mnist_train_100_per_class.npz"
HOLDS, IN_PART, FAILS = "holds", "holds in part", "does not hold"


@dataclass(frozen=True)
class IntegerBar:
    """What a profile promises on the papers' run, every layer; None: no promise."""

    max_rel_error: float | None = None
    correlation: float | None = None
    minimum_within: int | None = None


INTEGER_BARS = {
    "w16d15": IntegerBar(max_rel_error=0.01, minimum_within=1),
    "w8d8": IntegerBar(max_rel_error=0.06, correlation=0.998),
    "w4d8": IntegerBar(correlation=0.96),
}


@dataclass(frozen=True)
class Check:
    """Something that must hold, or the command fails."""

    name: str
    found: str
    allowed: str
    holds: bool


@dataclass(frozen=True)
class Claim:
    """Something that a paper says, where, and what was found here."""

    claim: str
    source: str
    found: str
    verdict: str


@dataclass(frozen=True)
class IntegerError:
    """An integer run against float64, a value a layer; errors are shares of the largest float64 entropy."""

    entropy_max_rel_error: list[float]
    entropy_correlation: list[float]
    entropy_minimum_step: list[int]
    weights_changed: float


@dataclass(frozen=True)
class PaperResult:
    """Everything found, and the files written.

    `run`: the published run in float64.  `published`: the author's histories.  `rates`: rate -> entropy [layers, K - 1]
    of the runs with the same product of rate and steps.  `readout`: kind -> (before, after), accuracy a layer.
    `two_layer`: kind of data -> a run a seed.  `roundings`: profile -> rounding -> integer run.
    """

    run: Trajectory
    published: Mapping[str, History]
    rates: Mapping[float, FloatArray]
    readout: Mapping[str, tuple[list[float], list[float]]]
    functions: Comparison
    two_layer: Mapping[str, Sequence[TwoLayerRun]]
    roundings: Mapping[str, Mapping[str, IntegerRun]]
    files: tuple[Path, ...] = ()

    @property
    def profiles(self) -> dict[str, IntegerRun]:
        """The integer runs as shipped: with the lattice."""
        return {name: runs["lattice"] for name, runs in self.roundings.items() if "lattice" in runs}

    @property
    def max_rel_error(self) -> dict[str, list[float]]:
        """Largest difference from each published history by layer (output: over all neurons), of its maximum."""
        return {name: _residual(ours_of(self.run, history), history) for name, history in self.published.items()}

    @property
    def entropy_minimum_step(self) -> list[int]:
        """By layer, in float64."""
        return [_lowest(entropy) for entropy in self.run.entropy]

    @property
    def flow_maximum_step(self) -> list[int]:
        """By layer, in float64."""
        return [int(np.argmax(flow)) + 1 for flow in self.run.flow]

    @property
    def zero_crossing_step(self) -> list[int | None]:
        """Last step with the old sign of the tensor net by layer, None where it never changes."""
        return [_sign_change(net) for net in self.run.tensor_net]

    @property
    def time_invariance(self) -> dict[float, list[float]]:
        """Rate -> by layer, the largest deviation of entropy/rate over rate * step from the finest run."""
        finest = min(self.rates)
        return {
            rate: _deviation(rate, entropy, finest, self.rates[finest])
            for rate, entropy in self.rates.items()
            if rate != finest
        }

    @property
    def order(self) -> list[float]:
        """By layer, the fitted power of (rate - finest rate) that the deviation follows: 1 is first order."""
        found, finest = self.time_invariance, min(self.rates)
        distances = np.log([rate - finest for rate in found])
        deviations = np.log(np.maximum(np.array(list(found.values())), 1e-15))
        return [float(np.polyfit(distances, deviations[:, layer], 1)[0]) for layer in _LAYERS]

    @property
    def shannon_excess(self) -> list[float]:
        """By layer: how far the run's summed entropy exceeds the change of Shannon's entropy, as a share of that."""
        run = self.run
        return [
            sum(bits) / float(np.sum(binary_entropy(last)) - np.sum(binary_entropy(first))) - 1.0
            for bits, first, last in zip(run.entropy, run.first_decisions, run.last_decisions, strict=True)
        ]

    def integer_error(self, integers: IntegerRun) -> IntegerError:
        """An integer run against the float64 run."""
        ours, exact = np.array(integers.entropy), np.array(self.run.entropy)
        return IntegerError(
            [float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(ours, exact, strict=True)],
            [_correlation(a, b) for a, b in zip(ours, exact, strict=True)],
            [_lowest(a) for a in ours],
            integers.weights_changed,
        )

    @property
    def checks(self) -> list[Check]:
        """What must hold."""
        return [*_float_checks(self), *_integer_checks(self)]

    @property
    def claims(self) -> list[Claim]:
        """What the papers say, and what was found."""
        return [judge(self) for judge in _JUDGES]

    def to_json(self) -> dict[str, Any]:
        """The contract's keys and more."""
        errors = {name: self.integer_error(run) for name, run in self.profiles.items()}
        return {
            "max_rel_error": self.max_rel_error,
            "entropy_minimum_step": self.entropy_minimum_step,
            "zero_crossing_step": self.zero_crossing_step,
            "profiles": {name: vars(error) for name, error in errors.items()},
            "time_invariance": {f"{rate:.6g}": deviation for rate, deviation in self.time_invariance.items()},
            "time_invariance_order": self.order,
            "flow_maximum_step": self.flow_maximum_step,
            "published_complete": {name: history.complete for name, history in self.published.items()},
            "roundings": {
                profile: {rounding: vars(self.integer_error(run)) for rounding, run in runs.items()}
                for profile, runs in self.roundings.items()
            },
            "readout": {kind: {"before": b, "after": a} for kind, (b, a) in self.readout.items()},
            "shannon": {"deviation_bits": self.functions.deviation, "run_excess": self.shannon_excess},
            "two_layer": {
                kind: {method: [run.accuracy[method] for run in runs] for method in METHODS}
                for kind, runs in self.two_layer.items()
            },
            "claims": [vars(each) for each in self.claims],
            "checks": [vars(each) for each in self.checks],
            "files": [str(path) for path in self.files],
        }


_LAYERS = range(LAYERS)


def run_paper(
    out: Path,
    data: Path | None = None,
    quick: bool = False,
    integers: Sequence[tuple[str, str]] | None = None,
    progress: bool = False,
) -> PaperResult:
    """Reproduce the papers and write figures, curves, `paper.json` and a page to `out`.

    `data`: folder of the published histories and, if they are there, the images.  `quick`: fewer rates, seeds and
    integer runs.  `integers`: (profile, rounding) of each integer run, None for all.  Nothing is written before
    everything is known, and the page last.  Raises FileError, DataError or MissingError.
    """
    claim_folder(out)
    published = load_published(data)
    images = load_images(data)
    pairs, seeds = (QUICK_PAIRS, QUICK_SEEDS) if quick else (PAIRS, SEEDS)
    chosen = (QUICK_INTEGERS if quick else INTEGERS) if integers is None else tuple(integers)
    work = sum(steps for _, steps in pairs) + len(chosen) * (PAPER_STEPS - 1) + seeds * len(KINDS)
    with bar("reproducing the papers", work, progress) as advance:
        batch, labels = images.samples / 255.0, images.labels
        run, rates = _float_runs(batch, pairs, advance)
        result = PaperResult(
            run=run,
            published=published,
            rates=rates,
            readout=_readouts(run, np.asarray(labels, np.int64)),
            functions=compare_functions(),
            two_layer={kind: _two_layer(kind, seeds, advance) for kind in KINDS},
            roundings=_integer_runs(batch, chosen, advance),
        )
    paths = write_files(out, artefacts(result))
    return replace(result, files=paths)


def load_images(folder: Path | None = None) -> Dataset:
    """The papers' batch: MNIST's first 100 training images of each class, pixels 0 to 255.

    Looked for in `folder` first, then where `load_dataset("mnist")` looks.  Raises MissingError where it is nowhere,
    DataError or FileError where it is something else.
    """
    if folder is not None and (folder / IMAGES).is_file():
        images = load_file(folder / IMAGES)
    else:
        try:
            images = load_dataset("mnist")
        except DataError as error:
            raise MissingError(
                f"{error}; it is the papers' batch, the first 100 training images of each class of MNIST, as arrays "
                f"`images` uint8 [1000, 28, 28] and `labels`"
            ) from None
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise DataError(f"{IMAGES}: cannot be read ({error}); fetch it again") from None
    labels = images.labels if images.labels is not None else np.zeros(0, np.int64)
    if images.samples.shape != (1000, PAPER_SHAPE[0]) or np.bincount(labels, minlength=10).tolist() != [100] * 10:
        raise DataError(
            f"{images.name}: samples {images.samples.shape}; the papers' batch is 1000 images of 784 pixels, "
            f"100 of each of ten classes"
        )
    return images


def ours_of(run: Trajectory, history: History) -> FloatArray:
    """Our values of a published history, at its steps: [layers or neurons, steps]."""
    values = np.array(run.output).T if history.name == "output" else np.array(getattr(run, history.name))
    first = PAPER_STEPS - values.shape[1]  # histories start at step 0 or 1
    return np.asarray(values[:, [step - first for step in history.steps]], np.float64)


def _float_runs(
    batch: FloatArray, pairs: Sequence[tuple[float, int]], advance: Callable[[int], None]
) -> tuple[Trajectory, dict[float, FloatArray]]:
    """The published run, and every pair's entropy."""
    published, rates = None, {}
    for rate, steps in pairs:
        run = trajectory(batch, paper_weights(), rate, steps)
        rates[rate] = np.array(run.entropy)
        if (rate, steps) == (PAPER_RATE, PAPER_STEPS):
            published = run
        advance(steps)
    return published or trajectory(batch, paper_weights()), rates


def _readouts(run: Trajectory, labels: IntArray) -> dict[str, tuple[list[float], list[float]]]:
    def of(decisions: Sequence[FloatArray], standardise: bool) -> list[float]:
        return [readout_accuracy(d, labels, standardise) for d in decisions]

    return {
        kind: (of(run.first_decisions, kind == "standardised"), of(run.last_decisions, kind == "standardised"))
        for kind in READOUTS
    }


def _two_layer(kind: str, seeds: int, advance: Callable[[int], None]) -> list[TwoLayerRun]:
    runs = []
    for seed in range(seeds):
        runs.append(run_two_layer(kind, seed))
        advance(1)
    return runs


def _integer_runs(
    batch: FloatArray, chosen: Sequence[tuple[str, str]], advance: Callable[[int], None]
) -> dict[str, dict[str, IntegerRun]]:
    found: dict[str, dict[str, IntegerRun]] = {}
    for profile, rounding in chosen:
        found.setdefault(profile, {})[rounding] = schedule.run_integers(batch, profile, rounding, advance=advance)
    return found


def _lowest(entropy: Sequence[float] | FloatArray) -> int:
    """Step of the minimum; histories start at step 1."""
    return int(np.argmin(entropy)) + 1


def _sign_change(net: Sequence[float]) -> int | None:
    """Last step with the old sign; step 1 does not count, nothing has moved."""
    changes = np.flatnonzero(np.diff(np.sign(net[1:])))
    return int(changes[0]) + 2 if len(changes) else None


def _residual(ours: FloatArray, history: History) -> list[float]:
    """Largest difference by row, as a share of the row's largest published value (output: of all)."""
    errors, scale = np.abs(ours - history.values).max(axis=1), np.abs(history.values).max(axis=1)
    if history.name == "output":
        return [float(errors.max() / scale.max())]
    return [float(share) for share in errors / scale]


def _correlation(a: FloatArray, b: FloatArray) -> float:
    """Pearson's; 0 where a curve is constant, as one that learns nothing is."""
    if not a.std() or not b.std():
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _deviation(rate: float, entropy: FloatArray, finest: float, reference: FloatArray) -> list[float]:
    """By layer, over the times rate * step of the coarser run."""
    times = rate * np.arange(1, entropy.shape[1] + 1)
    fine_times = finest * np.arange(1, reference.shape[1] + 1)
    found = []
    for coarse, fine in zip(entropy / rate, reference / finest, strict=True):
        found.append(float(np.abs(coarse - np.interp(times, fine_times, fine)).max() / np.abs(fine).max()))
    return found


# -- checks -----------------------------------------------------------------------------------------------------


def _words(values: Sequence[Any]) -> str:
    return ", ".join("none" if value is None else str(value) for value in values)


def _float_checks(result: PaperResult) -> list[Check]:
    checks = [
        Check(
            f"published {name.replace('_', ' ')}",
            f"{max(errors):.1e} of its maximum",
            f"below {HISTORY_BAR:.0e}",
            max(errors) < HISTORY_BAR,  # False for NaN
        )
        for name, errors in result.max_rel_error.items()
    ]
    minima, crossings = result.entropy_minimum_step, result.zero_crossing_step
    checks.append(
        Check("entropy minima", _words(minima), f"steps {_words(ENTROPY_MINIMA)}", tuple(minima) == ENTROPY_MINIMA)
    )
    checks.append(
        Check(
            "tensor net: last steps with the old sign",
            _words(crossings),
            f"steps {_words(SIGN_CHANGES)}",
            tuple(crossings) == SIGN_CHANGES,
        )
    )
    return checks


def _integer_checks(result: PaperResult) -> list[Check]:
    checks = []
    for profile, run in result.profiles.items():
        bars, error = INTEGER_BARS.get(profile, IntegerBar()), result.integer_error(run)
        if bars.max_rel_error is not None:
            worst = max(error.entropy_max_rel_error)
            checks.append(
                Check(
                    f"{profile}: entropy against float64",
                    f"{100 * worst:.2f} %",
                    f"at most {100 * bars.max_rel_error:g} %",
                    worst <= bars.max_rel_error,
                )
            )
        if bars.correlation is not None:
            lowest = min(error.entropy_correlation)
            checks.append(
                Check(
                    f"{profile}: correlation with float64",
                    f"{lowest:.4f}",
                    f"at least {bars.correlation:g}",
                    lowest >= bars.correlation,
                )
            )
        if bars.minimum_within is not None:
            pairs = zip(error.entropy_minimum_step, result.entropy_minimum_step, strict=True)
            furthest = max(abs(a - b) for a, b in pairs)
            checks.append(
                Check(
                    f"{profile}: entropy minima",
                    _words(error.entropy_minimum_step),
                    f"within {bars.minimum_within} of {_words(result.entropy_minimum_step)}",
                    furthest <= bars.minimum_within,
                )
            )
    return checks


# -- claims -----------------------------------------------------------------------------------------------------

FIRST, SECOND = "arXiv 2503.13942", "arXiv 2504.03214"
_RISE = 0.05  # an entropy that comes back by less of its depth than this is no U
_GAIN = 0.02  # a readout that gains less than this has gained nothing


def _verdict(layers: Sequence[bool]) -> str:
    return HOLDS if all(layers) else IN_PART if any(layers) else FAILS


def _percents(shares: Sequence[float], digits: int = 1) -> str:
    return " / ".join(f"{100 * share:.{digits}f}" for share in shares) + " %"


def _slashes(values: Sequence[Any]) -> str:
    return " / ".join("none" if value is None else str(value) for value in values)


def _shares(values: Sequence[float]) -> str:
    return " / ".join(f"{value:.2f}" for value in values)


def _judge_histories(result: PaperResult) -> Claim:
    worst = {name: max(errors) for name, errors in result.max_rel_error.items()}
    name = max(worst, key=lambda each: worst[each])
    whole = sum(history.complete for history in result.published.values())
    extent = "" if whole == len(worst) else f" ({len(worst) - whole} of {len(worst)} at five steps only)"
    return Claim(
        "The published histories follow from the rule as stated and from seed 42",
        SOURCE,
        f"all {len(worst)} reproduced{extent}; largest difference {worst[name]:.1e} of the maximum, in the "
        f"{name.replace('_', ' ')}",
        _verdict([error < HISTORY_BAR for error in worst.values()]),
    )


def _judge_fall(result: PaperResult) -> Claim:
    falls = [max(bits) <= 0.0 for bits in result.run.entropy]
    total = [sum(bits) / 1000 for bits in result.run.entropy]
    return Claim(
        "Every layer lowers its entropy by itself, without labels and without a backward pass",
        FIRST,
        f"the entropy of every step is negative in {sum(falls)} of {LAYERS} layers; summed up "
        f"{_slashes([round(bits, 1) for bits in total])} bits an image",
        _verdict(falls),
    )


def _judge_u_shape(result: PaperResult) -> Claim:
    rises = [(min(bits) - bits[-1]) / min(bits) for bits in result.run.entropy]
    return Claim(
        "A layer's entropy falls, turns and rises again as knowledge grows",
        SECOND,
        f"minima at steps {_slashes(result.entropy_minimum_step)} of {PAPER_STEPS - 1}; by the end "
        f"{_percents(rises, 0)} of the depth is regained",
        _verdict([rise > _RISE for rise in rises]),
    )


def _judge_flow(result: PaperResult) -> Claim:
    minima, peaks = result.entropy_minimum_step, result.flow_maximum_step
    near = [abs(a - b) <= 1 for a, b in zip(minima, peaks, strict=True)]
    return Claim(
        "Entropy is lowest where knowledge flows fastest",
        SECOND,
        f"minima at {_slashes(minima)}, flow peaks at {_slashes(peaks)}: within one step in {sum(near)} of {LAYERS} "
        f"layers",
        _verdict(near),
    )


def _judge_crossing(result: PaperResult) -> Claim:
    crossings = result.zero_crossing_step
    return Claim(
        "The tensor net changes sign where learning turns structured",
        SECOND,
        f"last step with the old sign: {_slashes(crossings)}; it changes in "
        f"{sum(step is not None for step in crossings)} of {LAYERS} layers",
        _verdict([step is not None for step in crossings]),
    )


def _judge_equation(result: PaperResult) -> Claim:
    """The other sign: sum dZ z D' is -rate * Lagrangian."""
    history, run = result.published["tensor_net"], result.run
    other = np.array(run.tensor_net) - 2.0 * run.rate * np.array(run.lagrangian) / math.log(2.0)
    as_read = max(_residual(other[:, [step - 1 for step in history.steps]], history))
    as_coded = max(result.max_rel_error["tensor_net"])
    return Claim(
        "The tensor net as equation 8 reads, with D plus z D'/ln 2, gives the published table",
        f"{SECOND}, eq. 8",
        f"off by {100 * as_read:.0f} % of the maximum; with D minus z D'/ln 2 by {as_coded:.0e}",
        HOLDS if as_read < HISTORY_BAR else FAILS,
    )


def _judge_time(result: PaperResult) -> Claim:
    coarsest = max(result.time_invariance)
    return Claim(
        "Runs with the same product of rate and steps take the same course",
        SECOND,
        f"at rate {coarsest:g} entropy deviates from the run at {min(result.rates):g} by "
        f"{_percents(result.time_invariance[coarsest], 0)}; the deviation falls in proportion to the rate "
        f"(fitted order {_shares(result.order)}): one course in the limit only",
        HOLDS if max(result.time_invariance[coarsest]) < 0.01 else FAILS,
    )


def _judge_classes(result: PaperResult) -> Claim:
    gains = [after[-1] - before[-1] > _GAIN for before, after in result.readout.values()]
    plain, scaled = (result.readout[kind] for kind in READOUTS)
    return Claim(
        "Decisions become structured and classes emerge",
        FIRST,
        f"a linear readout falls from {_shares(plain[0])} to {_shares(plain[1])} over the layers (chance 0.10); with "
        f"every neuron standardised in double precision from {_shares(scaled[0])} to {_shares(scaled[1])}",
        _verdict(gains),
    )


def _judge_shannon(result: PaperResult) -> Claim:
    exact = result.functions.deviation["sigmoid"]
    return Claim(
        "For the sigmoid the papers' entropy is Shannon's",
        f"{FIRST}, section 3",
        f"the integral is the change of Shannon's entropy to {exact:.0e} bits (equal where the path starts at D = 0 "
        f"or 1); the sum over {PAPER_STEPS - 1} steps exceeds it by {_percents(result.shannon_excess)}",
        HOLDS if exact < 1e-9 else FAILS,
    )


def _judge_sigmoid(result: PaperResult) -> Claim:
    others = {name: bits for name, bits in result.functions.deviation.items() if name != "sigmoid"}
    return Claim(
        "Of all functions, the sigmoid makes them equal",
        f"{FIRST}, section 3",
        "off by " + ", ".join(f"{bits:.2f} bits ({name})" for name, bits in others.items()),
        HOLDS if min(others.values()) > 0.01 else FAILS,
    )


def _judge_two_layer(result: PaperResult) -> Claim:
    means = {
        kind: {method: float(np.mean([run.accuracy[method] for run in runs])) for method in METHODS}
        for kind, runs in result.two_layer.items()
    }
    near = [mean["published rule"] > mean["backprop"] - _GAIN for mean in means.values()]
    found = "; ".join(
        f"{kind} {mean['published rule']:.2f} (backprop {mean['backprop']:.2f}, untrained {mean['untrained']:.2f})"
        for kind, mean in means.items()
    )
    return Claim(
        "The rule can stand in for learning by gradients",
        FIRST,
        f"two layers, synthetic data of our own, test accuracy: {found}",
        _verdict(near),
    )


_JUDGES: tuple[Callable[[PaperResult], Claim], ...] = (
    _judge_histories,
    _judge_fall,
    _judge_u_shape,
    _judge_flow,
    _judge_crossing,
    _judge_equation,
    _judge_time,
    _judge_shannon,
    _judge_sigmoid,
    _judge_classes,
    _judge_two_layer,
)
