"""Baselines against each other and by hand; scenarios on tiny runs; the store; the page and the command."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from ska_edge.baselines import Classifier, Cost, Outcome, Setting, controls, integers, novelty, pass_orders
from ska_edge.baselines.backprop import Alignment, InPlace
from ska_edge.baselines.chosen import KINDS, RECIPES, recipe_of
from ska_edge.baselines.descent import Recipe
from ska_edge.baselines.forward_forward import ForwardForward
from ska_edge.baselines.integers import Integers
from ska_edge.baselines.minibatch import Minibatch
from ska_edge.cli import main
from ska_edge.compare import Comparison, Result, class_incremental, ours, splits
from ska_edge.compare.ablation import variants
from ska_edge.compare.benchmark import Choice, run_benchmark, scenarios_of
from ska_edge.compare.class_incremental import ClassIncremental
from ska_edge.compare.drift import Rotated, Scaled, Shifted
from ska_edge.compare.few_labels import FewLabels, drawn
from ska_edge.compare.few_shot import FewShot
from ska_edge.compare.novelty import Novelty
from ska_edge.compare.scenario import Contestant, compete
from ska_edge.compare.store import OutcomeStore
from ska_edge.data import Dataset, load_dataset
from ska_edge.errors import DataError
from ska_edge.fixed import FloatArray, IntArray, lattice_offset
from ska_edge.learner import Learner
from ska_edge.lowering import lower
from ska_edge.network import Network
from ska_edge.program import Encoding
from ska_edge.rules import rule_named

RANDOM = np.random.default_rng(5)
SAMPLES = RANDOM.random((60, 9))
LABELS = (SAMPLES[:, 0] + SAMPLES[:, 1] > 1).astype(np.int64) + (SAMPLES[:, 2] > 0.5)


def _setting(shape: tuple[int, ...] = (9, 7, 3), seed: int = 1, stream: int | None = None) -> Setting:
    return Setting(shape, Encoding(0.0, 1.0, (0.5,)), SAMPLES, LABELS, seed, stream)


# --- descents -----------------------------------------------------------------------------------------------------


def test_a_batch_of_one_is_in_place_descent() -> None:
    recipe = Recipe("relu", 0.1, "constant")
    alone, batched = InPlace(_setting((9, 7, 5, 3)), recipe), Minibatch(_setting((9, 7, 5, 3)), recipe)
    start = alone.mlp.weights.copy()
    for learner in (alone, batched):
        learner.learn_many(SAMPLES, LABELS)
    np.testing.assert_allclose(alone.mlp.weights, batched.mlp.weights, atol=1e-5)
    assert np.abs(alone.mlp.weights - start).max() > 0.05


def test_batches_span_calls() -> None:
    recipe = Recipe("sigmoid", 0.3, "constant", batch=7)
    whole, cut = (Minibatch(_setting(), recipe, "adam") for _ in range(2))
    whole.learn_many(SAMPLES, LABELS)
    for row in range(len(SAMPLES)):
        cut.learn_one(SAMPLES[row], int(LABELS[row]))
    assert whole.steps == cut.steps == 60 // 7
    assert np.array_equal(whole.mlp.weights, cut.mlp.weights)


def test_momentum_adds_up_gradients() -> None:
    recipe = Recipe("relu", 0.1, "constant", batch=1, momentum=0.5)
    learner = Minibatch(_setting((9, 3)), recipe, "momentum")
    x = learner.setting.encode(SAMPLES[:1], centred=False)
    weights = learner.layers[0][0]
    before, first = weights.copy(), learner.gradients(x, LABELS[:1])[0][1].copy()
    learner.step(x, LABELS[:1], 0.1)
    second = learner.gradients(x, LABELS[:1])[0][1].copy()
    learner.step(x, LABELS[:1], 0.1)
    np.testing.assert_allclose(before - weights, 0.1 * (first + 0.5 * first + second), atol=1e-6)


def test_adams_first_step_is_the_rate_in_every_direction() -> None:
    learner = Minibatch(_setting((9, 3)), Recipe("relu", 0.01, "constant", batch=4), "adam")
    before = learner.layers[0][0].copy()
    learner.learn_many(SAMPLES[:4] + 0.1, LABELS[:4])
    np.testing.assert_allclose(np.abs(learner.layers[0][0] - before), 0.01, rtol=1e-3)


def test_alignment_along_the_transpose_is_backprop() -> None:
    recipe = Recipe("sigmoid", 0.1, "constant")
    plain, aligned = InPlace(_setting(), recipe), Alignment(_setting(), recipe)
    aligned.mlp.feedback = aligned.mlp.layers()[1][0].ravel().copy()
    for learner in (plain, aligned):
        learner.learn_many(SAMPLES[:1], LABELS[:1])
    np.testing.assert_allclose(plain.mlp.weights, aligned.mlp.weights, atol=1e-6)
    other = Alignment(_setting(), recipe)
    other.learn_many(SAMPLES[:1], LABELS[:1])
    assert not np.allclose(plain.mlp.weights, other.mlp.weights, atol=1e-5)


@pytest.mark.parametrize("hidden", ["relu", "sigmoid"])
def test_integers_follow_floats_and_plain_python(hidden: str) -> None:
    recipe = Recipe(hidden, 0.1, "constant", centred=True)
    shape = (9, 7, 5, 3)
    floats, compiled, plain = InPlace(_setting(shape), recipe), *(Integers(_setting(shape), recipe) for _ in range(2))
    start = floats.mlp.weights.copy()
    floats.learn_many(SAMPLES, LABELS)
    compiled.learn_many(SAMPLES, LABELS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(integers, "_compiled", lambda function: function)
        plain.learn_many(SAMPLES, LABELS)
    assert compiled.counter == plain.counter == 60
    for name in ("weights", "biases"):
        assert np.array_equal(getattr(compiled, name), getattr(plain, name)), name
    moved = floats.mlp.weights - start
    real = compiled.weights * integers.WEIGHT.lsb - start
    assert np.abs(moved).max() > 0.05
    assert np.corrcoef(moved, real)[0, 1] > 0.99


def test_integers_dither_by_the_lattice() -> None:
    for i, j, t in ((0, 0, 0), (3, 5, 7), (783, 255, 39_999)):
        offset = int(lattice_offset(i, j, t))
        assert integers._dithered(0, 16, i, j, t) == 0
        assert integers._dithered((1 << 16) - offset, 16, i, j, t) == 1
        assert integers._dithered((1 << 16) - offset - 1, 16, i, j, t) == 0


def test_rates_fall_over_the_stream_and_masks_hide_inputs() -> None:
    setting = _setting(stream=4)
    learner = InPlace(setting, Recipe("relu", 1.0, masked=0.5))
    seen: list[tuple[FloatArray, FloatArray]] = []
    learner.descend = lambda rows, rates: seen.append((rows.samples, rates))  # type: ignore[method-assign,assignment,func-returns-value]
    learner.learn_many(SAMPLES[:2], np.array([0, -1]))
    learner.learn_many(SAMPLES[1:3], LABELS[1:3])
    assert [rates.tolist() for _, rates in seen] == [[1.0], [0.75, 0.5]]  # the row without a label teaches nothing
    hidden = np.concatenate([x == 0 for x, _ in seen])
    assert 0.2 < hidden.mean() < 0.8
    learner.learn_many(SAMPLES[:3], np.full(3, -1))
    assert len(seen) == 2


def test_forward_forward_learns_layer_by_layer() -> None:
    learner = ForwardForward(_setting((9, 12, 8, 3)), Recipe("relu", 0.02, "constant", batch=10))
    x = learner._with_label(learner.setting.encode(SAMPLES), LABELS)
    second = learner.layers[1].weights.copy()
    first_alone = ForwardForward(_setting((9, 12, 3)), Recipe("relu", 0.02, "constant", batch=10))
    for order in pass_orders(60, 40, 0):
        learner.learn_many(SAMPLES[order], LABELS[order])
        first_alone.learn_many(SAMPLES[order], LABELS[order])
    # what the second layer does cannot reach the first, which therefore learns as if it were alone
    assert np.array_equal(learner.layers[0].weights, first_alone.layers[0].weights)
    assert not np.array_equal(learner.layers[1].weights, second)
    assert (learner.predict_many(SAMPLES) == LABELS).mean() > 0.7
    np.testing.assert_allclose((x**2).mean(axis=1), 1.0, rtol=1e-2)


def test_every_recipe_has_a_kind_and_every_kind_learns() -> None:
    kinds = {(kind.name, kind.profile): kind for kind in KINDS}
    for (_, _), recipes in RECIPES.items():
        assert set(recipes) <= set(kinds)
    for kind in KINDS:
        recipe = recipe_of("few-shot", "digits", kind)
        assert recipe.hidden == kind.hidden
        assert recipe_of("few-shot", "digits", kind, masked=True).masked > 0
        learner = kind.make(_setting(stream=600), recipe)
        for order in pass_orders(60, 10, 0):
            learner.learn_many(SAMPLES[order], LABELS[order])
        assert learner.predict_many(SAMPLES).shape == (60,)
        assert min(learner.cost.weight_bytes, learner.cost.state_bytes, learner.cost.macs_per_sample) > 0


# --- controls and detectors ---------------------------------------------------------------------------------------


def test_nearest_mean_by_hand() -> None:
    setting = Setting((2, 3), Encoding(), np.zeros((1, 2)), None, 0)
    learner = controls.NearestMean(setting)
    learner.learn_many(np.array([[0.0, 0.0], [0.2, 0.0], [1.0, 1.0], [0.5, 0.5]]), np.array([0, 0, 2, -1]))
    assert learner.predict_many(np.array([[0.1, 0.1], [0.6, 0.6]])).tolist() == [0, 2]


def test_logistic_keeps_the_first_pass_and_bears_a_single_class() -> None:
    setting = _setting()
    learner = controls.Logistic(setting, controls.RawInput(setting))
    learner.learn_many(SAMPLES[:2], np.array([1, 1]))
    assert learner.predict_many(SAMPLES[:3]).tolist() == [1, 1, 1]
    learner.learn_many(SAMPLES[2:], LABELS[2:])
    before = learner.predict_many(SAMPLES)
    learner.learn_many(SAMPLES, (LABELS + 1) % 3)  # a second pass is not kept
    assert np.array_equal(before, learner.predict_many(SAMPLES))
    assert (before[2:] == LABELS[2:]).mean() > 0.8


def test_untrained_features_see_their_patch_only() -> None:
    features = controls.Untrained(_setting(), 4, patch=2)
    changed = SAMPLES.copy()
    changed[:, 0] = 1 - changed[:, 0]  # the corner that only the first unit sees
    moved = np.abs(features.features(changed) - features.features(SAMPLES)).max(axis=0) > 0
    assert moved.tolist() == [True, False, False, False]
    assert features.cost == Cost(4 * 16, 0, 16)


def test_detectors_by_hand() -> None:
    line = np.array([[t, 2 * t, 0.0] for t in np.linspace(-1, 1, 21)])
    setting = Setting((3, 2), Encoding(-2.0, 2.0), line, None, 0)
    residual = novelty.PrincipalResidual(setting, 1)
    nearest, full, diagonal = (
        kind(setting) for kind in (novelty.NearestNeighbours, novelty.Mahalanobis, novelty.Diagonal)
    )
    for detector in (residual, nearest, full, diagonal):
        detector.learn_many(line)
    off = np.array([[0.5, 1.0, 0.0], [0.5, 1.0, 0.3], [1.0, -0.5, 0.0]])
    np.testing.assert_allclose(residual.scores(off), [0, 0.09, 1.25], atol=1e-12)
    np.testing.assert_allclose(nearest.scores(line), 0, atol=1e-6)
    assert nearest.scores(off)[1] == pytest.approx(0.3, abs=1e-6)
    assert full.scores(off)[2] > full.scores(off)[0]
    variance = line.var(axis=0)
    assert diagonal.scores(off)[0] == pytest.approx(0.25 / variance[0] + 1.0 / variance[1], rel=1e-3)


# --- rows, drifts, draws ------------------------------------------------------------------------------------------


def test_rows_for_choices_are_never_test_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    choice, final = (splits.data_of("digits", 3, opened) for opened in (False, True))
    rows = {row.tobytes() for row in final.test.samples}
    assert len(final.test.labels) == 360
    assert len(choice.test.labels) == 288
    for part in (choice.test, choice.learn):
        assert not rows & {row.tobytes() for row in part.samples}
    assert not rows & {row.tobytes() for row in final.unlabelled}
    opened: list[str] = []

    def loaded(part: str) -> Dataset:
        opened.append(part)
        return Dataset("mnist", np.zeros((1, 784)), np.zeros(1, np.int64), 0.0, 255.0)

    monkeypatch.setattr(splits, "_mnist", loaded)
    monkeypatch.setattr(splits, "load_dataset", lambda name: loaded("train"))
    splits.data_of("mnist", 0, False)
    assert opened == ["train", "t10k_stream"]
    splits.data_of("mnist", 0, True)
    assert opened[2:] == ["train", "t10k_stream", "t10k_test"]
    with pytest.raises(DataError, match=r"'ecg'.*mnist, digits"):
        splits.data_of("ecg", 0, False)


def test_drifts_by_hand() -> None:
    image = np.zeros((1, 8, 8))
    image[0, 2, 3] = 4.0
    flat = image.reshape(1, 64)
    assert Shifted("digits", 2).changed(flat).reshape(8, 8)[3, 4] == 4.0
    assert Shifted("digits", 2).changed(flat).sum() == 4.0
    assert Scaled("digits", 2).changed(flat).sum() == 2.0
    centre = np.zeros((1, 9, 9))
    centre[0, 4, 4] = 1.0
    turned = Rotated("digits", 2).changed(centre.reshape(1, 81)).reshape(9, 9)
    assert turned[4, 4] == pytest.approx(1.0)
    assert np.argwhere(turned == turned.max()).tolist() == [[4, 4]]


def test_draws_are_balanced_and_repeatable() -> None:
    labels = np.repeat(np.arange(10), 12)
    first = drawn(labels, 5, 0)
    assert np.bincount(labels[first]).tolist() == [5] * 10
    assert np.array_equal(first, drawn(labels, 5, 0))
    assert not np.array_equal(first, drawn(labels, 5, 1))


class _Spy(Classifier):
    """Remembers what it is shown; knows the answer if it has seen the class."""

    def __init__(self, setting: Setting) -> None:
        self.cost = Cost(1, 1, 1)
        self.shown: list[int] = []

    def learn_many(self, samples: FloatArray, labels: IntArray) -> None:
        self.shown += labels.tolist()

    def predict_many(self, samples: FloatArray) -> IntArray:
        return np.full(len(samples), self.shown[-1], np.int64)


def test_classes_come_in_order_and_only_the_last_is_known() -> None:
    spies: list[_Spy] = []

    def make(setting: Setting) -> _Spy:
        spies.append(_Spy(setting))
        return spies[-1]

    contestant = Contestant("spy", "other", "float32", "spy", make=make, parameters="", sources=())
    outcome = ClassIncremental("digits", 1).run(contestant, 0)
    pairs, single = (np.array(spy.shown) for spy in spies)
    assert len(pairs) == len(single) == 1437 - 288
    assert (np.diff(pairs // 2) >= 0).all()
    assert (np.diff(pairs) < 0).any()  # shuffled inside a task
    assert (np.diff(single) >= 0).all()
    accuracy, forgetting, *_ = outcome.scores
    assert accuracy == pytest.approx(0.1, abs=0.01)
    assert forgetting == pytest.approx(0.5, abs=0.1)  # one class of two, then none
    assert outcome.scores[3] == 1.0


def test_forgetting_is_measured_on_the_tasks_own_rows() -> None:
    data = splits.data_of("digits", 0, False)
    spy = _Spy(_setting())
    spy.shown = [4]
    assert class_incremental._accuracy(spy, data, range(4, 5)) == 1.0
    assert class_incremental._accuracy(spy, data, range(4)) == 0.0


# --- ours ---------------------------------------------------------------------------------------------------------


def test_hidden_decisions_are_those_of_the_oracle() -> None:
    program = lower(Network((9, 6, 5, 3), seed=2), "w8d8", SAMPLES, LABELS)
    learner = Learner(program, executor="numba")
    oracle = Learner(program, executor="oracle")
    found, wanted = (ours.hidden_decisions(each, SAMPLES[:4]) for each in (learner, oracle))
    assert [layer.shape for layer in found] == [(4, 6), (4, 5)]
    for mine, theirs in zip(found, wanted, strict=True):
        assert np.array_equal(mine, theirs)
        assert mine.std() > 0
    published = Learner(lower(Network((9, 6, 5), rule_named("published")), "w8d8"))
    layers = ours.hidden_decisions(published, SAMPLES[:4])
    assert [layer.shape for layer in layers] == [(4, 6), (4, 5)]
    assert np.array_equal(layers[-1], published.decide_many(SAMPLES[:4]))


def test_our_rows_are_the_learners() -> None:
    contestant = ours.classifier("guided", "w8d8", rate=0.05)
    row = contestant.make(_setting())
    alone = Learner(
        lower(Network((9, 7, 3), rule_named("guided", rate=0.05), 1), "w8d8", SAMPLES, LABELS, _setting().encoding)
    )
    row.learn_many(SAMPLES, LABELS)
    alone.learn_many(SAMPLES, LABELS)
    assert row.learner.snapshot().state_digest == alone.snapshot().state_digest
    assert "0.05" in contestant.parameters
    assert contestant.family == "ours"


def test_ablations_change_one_thing_at_a_time() -> None:
    found = variants("guided", "w8d8", "digits")
    names = [contestant.name for contestant in found]
    assert len(set(zip(names, [c.profile for c in found], strict=True))) == len(found)
    assert names[0] == "guided"
    assert any("K = 2" in name for name in names)
    deep = next(contestant for contestant in found if "12 hidden" in contestant.name)
    setting = Setting((64, 16, 10), Encoding(0.0, 16.0), load_dataset("digits").samples[:20], None, 0)
    assert len(ours.hidden_decisions(deep.make(setting).learner, setting.samples[:2])) == 12


# --- the store ----------------------------------------------------------------------------------------------------


def test_store_finds_what_it_kept_and_nothing_else(tmp_path: Path) -> None:
    store, key = OutcomeStore(tmp_path / "runs"), {"dataset": "d", "scenario": "s", "seed": 0, "code": "a"}
    outcome = Outcome(0.5, Cost(1, 2, 3), 0.25, (0.125,))
    assert store.find(key) is None
    store.keep(key, outcome)
    assert store.find(key) == outcome
    assert store.find({**key, "seed": 1}) is None
    assert store.find({**key, "code": "b"}) is None
    path = next((tmp_path / "runs").rglob("*.json"))
    path.write_text(path.read_text()[:40])
    assert store.find(key) is None
    OutcomeStore(None).keep(key, outcome)
    assert OutcomeStore(None).find(key) is None


def test_finished_runs_are_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choice = Choice(("ecg",), ("novelty",), ("diagonal", "neighbour"), seeds=2, passes=1)
    if not _has("ecg"):
        choice = Choice(("digits",), ("few-labels",), ("raw", "local"), seeds=2, passes=1)
    first = run_benchmark(choice, tmp_path)
    ran: list[str] = []

    def refuse(self: object, contestant: Contestant, seed: int) -> Outcome:
        ran.append(f"{contestant.name} {seed}")
        return Outcome(0.0, Cost(0, 0, 0), 0.0, (0.0,))

    for scenario in (Novelty, FewLabels):
        monkeypatch.setattr(scenario, "run", refuse)
    again = run_benchmark(choice, tmp_path)
    assert not ran
    assert [row.to_json() for row in again.rows] == [row.to_json() for row in first.rows]
    run_benchmark(replace(choice, seeds=3), tmp_path)
    assert {name.split()[-1] for name in ran} == {"2"}
    assert len(ran) == 2


def _has(name: str) -> bool:
    try:
        load_dataset(name)
    except DataError:
        return False
    return True


# --- scenarios, page, command -------------------------------------------------------------------------------------


def test_goals_say_what_is_missed() -> None:
    def result(name: str, family: str, profile: str, *scores: float) -> Result:
        contestant = Contestant(name, family, profile, name, make=_Spy, parameters="", sources=())
        return Result(contestant, tuple(Outcome(score, Cost(1, 1, 1), 0.1) for score in scores))

    results = (
        result("guided", "ours", "w16d15", 0.93, 0.92),
        result("guided", "ours", "w8d8", 0.92, 0.91),
        result("SGD backprop, ReLU", "backprop", "float32", 0.90, 0.91),
        result("SGD backprop, ReLU, masked", "backprop", "float32", 0.92, 0.93),
    )
    scenario = FewShot("mnist", 1, final=True)
    goals = scenario.goals(Comparison("mnist", "few-shot", results))
    assert [goal.holds for goal in goals] == [False, True, True, False]
    assert "void" in goals[0].words
    assert not any("void" in goal.words for goal in replace(scenario, final=False).goals(Comparison("m", "f", results)))


def test_names_of_scenarios_and_data_sets() -> None:
    assert [s.name for s in scenarios_of(Choice(("digits",), ("drift",)))] == [
        "drift-shifted",
        "drift-scaled",
        "drift-rotated",
    ]
    assert "ablation" not in {s.name for s in scenarios_of(Choice(("digits", "mnist")))}
    with pytest.raises(DataError, match=r"'few-bits'.*few-shot, few-labels"):
        scenarios_of(Choice(("digits",), ("few-bits",)))
    with pytest.raises(DataError, match="no scenario novelty on digits"):
        scenarios_of(Choice(("digits",), ("novelty",)))


def test_a_tiny_benchmark_writes_page_and_pictures(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "tiny.md"
    arguments = ["compare", "--dataset", "digits", "--scenario", "few", "--scenario", "drift-sh"]
    arguments += ["--seeds", "2", "--passes", "1", "--out", str(page)]
    arguments += ["--runs", str(tmp_path / "runs"), "--only", "guided w8d8", "--only", "ReLU float32", "--only", "raw"]
    done = CliRunner().invoke(main, [*arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    scenarios = {row["scenario"] for row in found["rows"]}
    assert scenarios == {"few-shot", "few-labels", "drift-shifted"}
    keys = ["dataset", "scenario", "method", "family", "profile", "seeds", "metric", "mean", "ci95"]
    keys += ["weight_bytes", "state_bytes", "macs_per_sample", "seconds"]
    assert all(list(row) == keys for row in found["rows"])
    assert all(math.isfinite(row["mean"]) for row in found["rows"])
    assert {row["family"] for row in found["rows"]} == {"ours", "backprop", "control"}
    text = page.read_text()
    assert "ska-edge compare --dataset digits --scenario few --scenario drift-sh --seeds 2" in text
    assert "--passes 1 --only 'guided w8d8' --only" in text
    assert "stay closed" in text
    for row in found["rows"]:
        assert row["method"] in text
    pictures = sorted(page.parent.glob("*.svg"))
    assert len(pictures) == len(scenarios)
    for picture in pictures:
        assert ET.fromstring(picture.read_bytes()).tag.endswith("svg")
        assert f"]({picture.name})" in text
    again = CliRunner().invoke(main, [*arguments, "--quiet"], catch_exceptions=False)
    assert again.exit_code == 0
    assert "mean and 95 % interval" in again.stdout
    assert page.read_text() == text  # seconds too come from the store


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "cifar"], "allowed are mnist, digits, ecg, all"),
        (["--scenario", "few-bits"], "allowed are few-shot"),
        (["--only", "no such method"], "no method's name contains that"),
        (["--seeds", "0"], "1<=x<=1000"),
    ],
    ids=["dataset", "scenario", "only", "seeds"],
)
def test_bad_input_is_exit_code_2(arguments: list[str], message: str, tmp_path: Path) -> None:
    places = ["--out", str(tmp_path / "out"), "--runs", str(tmp_path / "runs")]
    done = CliRunner().invoke(main, ["compare", *places, *arguments])
    assert done.exit_code == 2
    assert message in done.output
    assert not list(tmp_path.rglob("*.md"))


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = CliRunner().invoke(main, ["compare", "--out", str(tmp_path / "file" / "page.md")])
    assert done.exit_code == 2
    assert "cannot be written" in done.output


@pytest.mark.skipif(not _has("ecg"), reason="ECG5000 is not here")
def test_novelty_keeps_its_twenty_splits() -> None:
    scenario = Novelty("ecg", 1)
    everyone = {contestant.name: contestant for contestant in scenario.contestants()}
    found = compete(scenario, [everyone["nearest neighbour"], everyone["Mahalanobis"]], 20, OutcomeStore(None))
    nearest, full = (result.mean for result in found.results)
    assert nearest == pytest.approx(0.990, abs=0.0006)
    assert 0.983 < full < 0.987
