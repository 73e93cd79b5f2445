"""Learn the shipped models again, write their digests into models/models.toml, and a card beside each.

make_models.py [NAME ...]: run in a checkout, with the data that docs/models.md names.  MNIST cards open the test rows.
"""

from __future__ import annotations

import re
import sys

import numpy as np
from scipy.stats import binomtest

from ska_edge.baselines import Setting, pass_orders
from ska_edge.compare import others
from ska_edge.data import Dataset, load_dataset, load_mnist, split
from ska_edge.learner import Learner
from ska_edge.models import SPEC, ShippedModel, folder, shipped
from ska_edge.network import parse_shape
from ska_edge.plan import learning_bytes, weight_bytes
from ska_edge.program import Program

SOURCES = {
    "digits": "scikit-learn's digits (UCI Optical Recognition of Handwritten Digits, CC BY 4.0)",
    "mnist": "MNIST, 100 images a class of the training set (Y. LeCun, C. Cortes, C. Burges)",
    "ecg": "ECG5000, 500 heartbeats (UCR archive; from PhysioNet's BIDMC congestive heart failure database, ODC-BY)",
}


def main(names: list[str]) -> None:
    where = folder()
    for name, model in shipped(where).items():
        if names and name not in names:
            continue
        result = model.rebuild(model.path)
        text = (where / SPEC).read_text(encoding="utf-8")
        for key in ("program_digest", "state_digest"):
            text = re.sub(rf'(\[{name}\]\n(?:[^\[]*\n)*?{key} = ")[0-9a-f]*"', rf'\g<1>{result[key]}"', text)
        (where / SPEC).write_text(text, encoding="utf-8")
        made = shipped(where)[name]
        model.path.with_suffix(".md").write_text(card(made, made.program, result), encoding="utf-8")
        print(f"{name}: {result['accuracy']}", flush=True)


def card(model: ShippedModel, program: Program, result: dict[str, object]) -> str:
    """What it is, from what, by which command, how good beside the controls, how large, and its digests."""
    judged = novelty(model, program) if model.settings.rule == "novelty" else accuracy(model, program)
    return f"""# {model.name}

{model.purpose}

- Data: {SOURCES[model.dataset]}. Licence of the model: MIT.
- Network {model.settings.shape}, rule `{model.settings.rule}`, profile `{model.settings.profile}`.
- Made by: `{model.command}`
- {weight_bytes(program):,} bytes of weights, {learning_bytes(program):,} bytes that learning needs beyond them.
- Program `{model.program_digest}`
- State `{model.state_digest}`

{judged}
It goes on learning wherever it runs. Nothing has run on silicon.
"""


def accuracy(model: ShippedModel, program: Program) -> str:
    """This very file, and controls that learnt the same rows, on the test rows."""
    data = load_dataset(model.dataset)
    learn, test = _rows(data, model)
    right = round(Learner(program).accuracy(test.samples, _labels(test)) * len(test.samples))
    shape = tuple(each for each in parse_shape(str(model.settings.shape)) if isinstance(each, int))
    shape = (shape[0], {"mnist": 256, "digits": 16}[model.dataset], shape[-1]) if len(shape) < 3 else shape
    if model.dataset == "mnist":
        shape = (784, 256, 128, 64, 10)
    passes, seed = model.settings.passes, model.settings.seed
    rows = len(_labels(learn))
    setting = Setting(shape, learn.encoding(), learn.samples, _labels(learn), seed, rows * passes)
    lines = [f"| **this model** | {_share(right, len(test.samples))} |"]
    for contestant in [*others.readouts(model.dataset), *others.backprops("few-shot", model.dataset)[:2]]:
        learner = contestant.make(setting)
        for order in pass_orders(rows, passes, seed):
            learner.learn_many(learn.samples[order], _labels(learn)[order])
        found = int((learner.predict_many(test.samples) == _labels(test)).sum())
        lines.append(f"| {contestant.name}, {contestant.profile} | {_share(found, len(test.samples))} |")
    head = (
        f"Accuracy on {len(test.samples):,} test images (95 % Wilson interval of these images; one seed), "
        "controls on the same rows:"
    )
    return "\n".join(
        [head, "", "| method | accuracy, % |", "|---|---:|", *lines, "", "Over several seeds: docs/benchmark.md.", ""]
    )


def novelty(model: ShippedModel, program: Program) -> str:
    """What it finds, what it flags wrongly, and how well its score ranks, on the test rows."""
    from sklearn.metrics import roc_auc_score

    data = load_dataset(model.dataset)
    learn, test = _rows(data, model)
    learner, labels = Learner(program), _labels(test)
    flagged, scores = learner.predict_many(test.samples), learner.decide_many(test.samples)[:, 0]
    abnormal, normal = labels == 1, labels == 0
    found = _share(int(flagged[abnormal].sum()), int(abnormal.sum()))
    wrong = _share(int(flagged[normal].sum()), int(normal.sum()))
    normals = learn.samples[_labels(learn) == 0]
    setting = Setting((normals.shape[1], 2), learn.encoding(), normals, None, model.settings.seed, len(normals))
    lines = [f"| **this model** | {roc_auc_score(labels, scores):.4f} |"]
    for contestant in others.detectors():
        detector = contestant.make(setting)
        detector.learn_many(normals)
        lines.append(f"| {contestant.name} | {roc_auc_score(labels, detector.scores(test.samples)):.4f} |")
    head = (
        f"On {len(labels)} test beats: finds {found} % of the abnormal ones, flags {wrong} % of the normal ones "
        "(95 % Wilson intervals)."
    )
    return "\n".join(
        [head, "", "| detector | AUC |", "|---|---:|", *lines, "", "Over 20 splits: docs/benchmark.md.", ""]
    )


def _rows(data: Dataset, model: ShippedModel) -> tuple[Dataset, Dataset]:
    from dataclasses import replace

    if data.name == "mnist":
        return data, load_mnist("t10k_test")
    rows = split(data, model.settings.seed, model.settings.test_share)
    labels = _labels(data)
    return tuple(replace(data, samples=data.samples[each], labels=labels[each]) for each in (rows.learn, rows.test))


def _labels(data: Dataset) -> np.ndarray:
    assert data.labels is not None
    return data.labels


def _share(hits: int, of: int) -> str:
    interval = binomtest(hits, of).proportion_ci(method="wilson")
    return f"{100 * hits / of:.1f} ({100 * interval.low:.1f} to {100 * interval.high:.1f})"


if __name__ == "__main__":
    main(sys.argv[1:])
