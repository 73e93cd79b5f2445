"""Controls: what can be had without learning features, lest the class layer's work pass for the rule's."""

from __future__ import annotations

import time
from dataclasses import replace

from ..errors import ProgramError
from ..operations import Kind, OuterUpdate, Update
from ..program import Program
from . import Cost, Outcome, Rows

FLOAT_BYTES = 4
MAX_ITERATIONS = 5000


def logistic_readout(learn: Rows, test: Rows) -> Outcome:
    """Multinomial logistic regression on standardised features, fitted on the host to convergence (scikit-learn).

    The best a linear class layer can do, so a strong control.  Its cost is that of the same class layer learnt on the
    device by float32 descent, the standardisation folded into its weights: one product a weight to decide and one to
    learn, one float32 a class for the error.  L2 strength is scikit-learn's default C = 1: on validation rows of the
    digits within 0.3 points of the best of 0.01, 0.1, 1, 10, 100 for raw input and for untrained features.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    started = time.perf_counter()
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=MAX_ITERATIONS))
    model.fit(learn.samples, learn.labels)
    seconds = time.perf_counter() - started
    return Outcome(float(model.score(test.samples, test.labels)), _readout_cost(learn), seconds)


def frozen(program: Program) -> Program:
    """A guided Program whose hidden layers keep their random start weights; the class layer learns as ever."""
    weights = {tensor.name for tensor in program.of_kind(Kind.WEIGHT)}
    biases = {f"b{program.by_name[name].layer}" for name in weights}
    learn = [op for op in program.sections["learn"] if not _moves(op, weights | biases)]
    if len(learn) == len(program.sections["learn"]):
        raise ProgramError("Program: learns no hidden weights that could be frozen")
    return replace(program, sections={**program.sections, "learn": tuple(learn)})


def _moves(op: object, names: set[str]) -> bool:
    return (isinstance(op, OuterUpdate) and op.w in names) or (isinstance(op, Update) and op.p in names)


def _readout_cost(learn: Rows) -> Cost:
    features, classes = learn.samples.shape[1], int(learn.labels.max()) + 1
    return Cost(FLOAT_BYTES * (features + 1) * classes, FLOAT_BYTES * classes, (2 * features + 1) * classes)
