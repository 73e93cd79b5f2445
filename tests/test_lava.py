"""Lava against the oracle, and Lava misbehaving: nothing may hang, outlive its starter or stay in shared memory."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from multiprocessing.shared_memory import SharedMemory
from operator import attrgetter
from pathlib import Path

import numpy as np
import published
import pytest
from click.testing import CliRunner
from firmware_tools import needed
from local_lava import LocalParts
from programs import THOROUGH, VERBS, Case, Wanted, case_of, check_case, check_in_step, seed_in_message, seeds
from vectors import Vector, check_vector, load_vectors

from ska_edge import Network, codec, lower
from ska_edge.backends import open_executor
from ska_edge.backends.lava import LavaExecutor, compat
from ska_edge.backends.lava.commands import Command, Verb
from ska_edge.backends.lava.compat import require
from ska_edge.backends.lava.cut import Do, Part, cut
from ska_edge.backends.lava.segments import Ledger, folder, sweep
from ska_edge.cli import main
from ska_edge.data import Dataset, load_dataset
from ska_edge.errors import FitError, LavaError, MissingError, ProgramError
from ska_edge.executor import Executor
from ska_edge.fixed import Format, IntArray
from ska_edge.interpreter import Interpreter
from ska_edge.learner import encode
from ska_edge.network import parse_shape
from ska_edge.operations import Flow, Kind, OuterUpdate, Role, Scale, Site, Tensor
from ska_edge.profiles import PROFILES
from ska_edge.program import Program
from ska_edge.rules import PublishedBatch, Rule, rule_named
from ska_edge.verify import stream_of, verify

RULES: dict[str, tuple[str, Rule]] = {
    "published": ("64-12-10", rule_named("published", forward_steps=12)),
    "homeostatic": ("64-4x3f5-10", rule_named("homeostatic")),
    "guided": ("64-9-8-7-10", rule_named("guided", mask=0.3, anneal=8)),
    "guided-code": ("64-9-8-10", rule_named("guided", heads="code", unlabelled="entropy", rectified=False)),
    "guided-fields": ("64-4x4f5-3x3f4-10", rule_named("guided", readout="sum")),
    "guided-competing": ("64-4x4k5-8-10", rule_named("guided")),
    "guided-filters": ("64-3c4s2-10", rule_named("guided")),
    "competitive": ("64-4x4k5-10", rule_named("competitive")),
    "novelty": ("64-1x8k8", rule_named("novelty")),
}


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture(scope="module")
def program(digits: Dataset) -> Program:
    return lower(Network((64, 16, 10)), "w8d8", digits.samples, digits.labels, digits.encoding(centred=True))


@pytest.fixture(scope="module")
def stream(program: Program, digits: Dataset) -> dict[str, IntArray]:
    return stream_of(program, digits)


def first(stream: dict[str, IntArray], rows: int) -> dict[str, IntArray]:
    return {name: values[:rows] for name, values in stream.items()}


# --- the parts, without Lava ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", list(load_vectors()), ids=attrgetter("name"))
def test_vector(vector: Vector) -> None:
    check_vector(LocalParts, vector)


def test_random_programs() -> None:
    for seed in seeds(120):
        with seed_in_message(seed):
            _check_where_it_fits(case_of(seed))


@pytest.mark.parametrize("verb", VERBS)
def test_every_primitive_by_itself(verb: str) -> None:
    for seed in seeds(20):
        with seed_in_message(seed):
            _check_where_it_fits(case_of(seed, Wanted([verb], (1, 1))))


def test_random_programs_cut_anywhere() -> None:
    """Sites drawn at random: every operand may have to travel."""
    fitted = 0
    for seed in seeds(60):
        with seed_in_message(seed):
            case = case_of(seed, Wanted(operations=(5, 20), runs=(1, 2)))
            chance = random.Random(seed)
            sections = {
                name: tuple(replace(op, site=chance.choice(list(Site))) for op in ops)
                for name, ops in case.program.sections.items()
            }
            scattered = Program(case.program.tensors, sections, case.program.values)
            fitted += _check_where_it_fits(Case(scattered, case.runs))
    assert fitted > 40


def _check_where_it_fits(case: Case) -> bool:
    try:
        cut(case.program)
    except FitError:
        return False
    check_case(LocalParts, case)
    return True


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", RULES)
def test_networks_learn_the_same(digits: Dataset, name: str, profile: str) -> None:
    """Watched where no other profile is: in 8 bits."""
    shape, rule = RULES[name]
    lowered = _lowered(digits, shape, rule, profile, watched=profile == "w8d8")
    rows = stream_of(lowered, digits if name != "novelty" else replace(digits, labels=np.minimum(digits.labels, 0)))
    runs = [{key: values[row] for key, values in rows.items()} for row in range(12 if THOROUGH else 5)]
    check_in_step(LocalParts(lowered), lowered, "learn", runs)
    check_in_step(LocalParts(lowered), lowered, "infer", [{"x": run["x"]} for run in runs[:2]])


def _lowered(digits: Dataset, text: str, rule: Rule, profile: str, watched: bool = False) -> Program:
    shape = parse_shape(text)
    encoding = digits.encoding(centred=rule.centred_inputs)
    return lower(Network(shape, rule), profile, digits.samples[:200], digits.labels, encoding, watched=watched)


# --- the cut ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RULES)
def test_only_decisions_cross_layers(digits: Dataset, name: str) -> None:
    shape, rule = RULES[name]
    lowered = _lowered(digits, shape, rule, "w8d8")
    crossing = [m for m in cut(lowered).messages("learn") if m.source.layer != m.target.layer]
    highest = max(op.layer or 0 for op in lowered.sections["learn"])
    assert len(crossing) >= highest - 1
    for message in crossing:
        assert message.source.site is Site.SOMA and message.target.site is Site.SYNAPSE
        assert {lowered.by_name[each].kind for each in message.tensors} == {Kind.DECISION}


def test_one_third_factor_a_sample_and_learning_in_its_phase(program: Program) -> None:
    pieces = cut(program)
    connection, soma = Part(1, Site.SYNAPSE), Part(1, Site.SOMA)
    (factor,) = {op.s for op in program.sections["learn"] if isinstance(op, OuterUpdate) and op.w == "W1"}
    factors = [m for m in pieces.messages("learn") if m.source == soma and factor in m.tensors]
    assert len(factors) == 1
    learning = [e for e in pieces.instructions["learn"][connection] if isinstance(e, Do) and e.learning]
    assert [each.op.verb for each in learning] == ["outer_update", "outer_update", "advance"]
    assert not any(isinstance(e, Do) and e.learning for e in pieces.instructions["infer"][connection])


def test_a_program_whose_layers_talk_downwards_is_refused() -> None:
    fmt = Format(16, 0)
    tensors = (
        Tensor("x", (2,), fmt, Role.INPUT),
        Tensor("shared", (2,), fmt, Role.SCRATCH),
        Tensor("y", (2,), fmt, Role.OUTPUT, layer=1),
    )
    ops = (Scale("shared", "x", layer=2), Scale("y", "shared", layer=1))
    with pytest.raises(FitError, match="soma1 reads shared, which soma2 writes; only decisions cross"):
        cut(Program(tensors, {"learn": ops}, {}))


# --- in Lava ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def lava() -> None:
    needed(require)


@pytest.mark.usefixtures("lava")
class TestLava:
    def test_a_thousand_samples(self, program: Program, stream: dict[str, IntArray]) -> None:
        """The first few operation by operation, then as a stream; every output, the whole state."""
        found = verify(program, ["oracle", "lava"], stream, 1000)
        assert found.equal and not found.skipped, found.to_json()
        assert found.executors["lava"].weights_changed > 0.2
        assert found.executors["lava"].state_digest == found.executors["oracle"].state_digest

    def test_ten_steps_of_the_papers(self) -> None:
        """784-256-128-64-10 on 100 images: 243k weights, which then come back in less than half a second."""
        batch = published.batch()[:100]
        rule = PublishedBatch(batch=100)
        lowered = lower(Network((784, 256, 128, 64, 10), rule, 42), "w16d15", batch)
        with LavaExecutor(lowered) as executor:
            judge = open_executor("numba", lowered)  # which other tests hold equal to the oracle
            for each in (executor, judge):
                each.write("x", encode(lowered, batch))
                each.run("prime")
                for _ in range(10):
                    each.run("step")
            assert lowered.digest_of(executor.state()) == lowered.digest_of(judge.state())
            assert lowered.weights_changed(judge.state()) > 0.2
            weights = [tensor for tensor in lowered.of_kind(Kind.WEIGHT)]
            began = time.perf_counter()
            for tensor in weights:
                executor.read(tensor.name)
            seconds = time.perf_counter() - began
            assert sum(tensor.size for tensor in weights) == 242_304
            assert seconds < (0.5 if THOROUGH else 2.0)  # other processes may share the cores

    def test_ten_steps_of_a_small_paper_are_the_oracle_s(self, digits: Dataset) -> None:
        batch = digits.samples[:100] / 16.0
        lowered = lower(Network((64, 12, 10), PublishedBatch(batch=100)), "w8d8", batch)
        with LavaExecutor(lowered) as executor:
            oracle = Interpreter(lowered)
            for each in (executor, oracle):
                each.write("x", encode(lowered, batch))
                each.run("prime")
                for _ in range(10):
                    each.run("step")
            assert lowered.digest_of(executor.state()) == lowered.digest_of(oracle.state())

    @pytest.mark.parametrize("name", ["guided-fields", "competitive"] if not THOROUGH else list(RULES))
    def test_networks(self, digits: Dataset, name: str) -> None:
        lowered = _lowered(digits, *RULES[name], "w8d8")
        data = digits if name != "novelty" else replace(digits, labels=np.minimum(digits.labels, 0))
        rows = first(stream_of(lowered, data), 50)
        judge = open_executor("numba", lowered)
        judge.stream("learn", rows)
        with LavaExecutor(lowered) as executor:
            executor.stream("learn", rows)
            assert lowered.digest_of(executor.state()) == lowered.digest_of(judge.state())

    @pytest.mark.parametrize("seed", [1, 8, 21] if THOROUGH else [21])
    def test_random_programs(self, seed: int) -> None:
        check_case(_closing(), case_of(seed))

    def test_a_run_that_never_ran_stops_at_once(self, program: Program) -> None:
        executor = LavaExecutor(program)
        began = time.perf_counter()
        executor.close()
        assert time.perf_counter() - began < 5

    def test_state_can_be_written(self, program: Program, stream: dict[str, IntArray]) -> None:
        judge = open_executor("numba", program)
        judge.stream("learn", first(stream, 30))
        with LavaExecutor(program) as executor:
            executor.load_state(judge.state())
            for each in (executor, judge):
                each.stream("learn", first(stream, 30))
            assert program.digest_of(executor.state()) == program.digest_of(judge.state())

    def test_events_are_those_of_the_samples(self, program: Program, stream: dict[str, IntArray]) -> None:
        """Counted again here, from the inputs and from what an independent run shows after every operation."""
        rows = first(stream, 20)
        with LavaExecutor(program, counting=True) as executor:
            executor.stream("learn", rows)
            events = executor.events()
        assert json.loads(json.dumps(events)) == events and events["learn"]["samples"] == 20
        learn = program.sections["learn"]
        at = next(k for k, op in enumerate(learn) if op.verb == "outer_update" and "W1" in op.outputs().values())
        judge, factors = open_executor("numba", program), []
        for row in range(20):
            judge.write("x", rows["x"][row])
            judge.write("label", rows["label"][row])
            judge.run("learn", 0, at)
            factors.append(np.count_nonzero(judge.read(learn[at].s)))  # type: ignore[attr-defined]
            judge.run("learn", at)
        spikes = np.count_nonzero(rows["x"], axis=1)
        by_position = {entry["position"]: entry for entry in events["learn"]["operations"]}
        assert by_position[at]["runs"] == 20
        assert by_position[at]["inputs"] == spikes.sum()
        assert by_position[at]["synapse_visits"] == 16 * spikes.sum()
        assert by_position[at]["synapse_updates"] == (spikes * factors).sum()
        assert by_position[0]["synaptic_ops"] == 16 * spikes.sum()
        flow = next(op for op in learn if isinstance(op, Flow))
        (layer,) = events["learn"]["layers"]
        assert layer["neuron_updates"] == 20 * (16 * (flow.steps + 1) + 10)

    def test_bad_requests(self, program: Program) -> None:
        """Refused with the executor still usable."""
        with LavaExecutor(program) as executor:
            with pytest.raises(ProgramError, match="section 'dream'"):
                executor.run("dream")
            with pytest.raises(ProgramError, match="do not fit"):
                executor.write("x", np.full(64, 1 << 20))
            with pytest.raises(ProgramError, match="shape"):
                executor.write("x", np.zeros(63, np.int64))
            with pytest.raises(ProgramError, match="before anything"):
                executor.read("z1")
            executor.write("x", np.zeros(64, np.int64))
            executor.run("infer")
            assert 0 <= executor.read("choice") < 10
        with pytest.raises(LavaError, match="has ended"):
            executor.run("infer")


def _closing() -> type[Executor]:
    """The executor, with the one before ended first: `check_case` makes two."""
    running: list[LavaExecutor] = []

    class Closing(LavaExecutor):
        def __init__(self, program: Program) -> None:
            while running:
                running.pop().close()
            super().__init__(program)
            running.append(self)

    return Closing


@pytest.mark.usefixtures("lava")
def test_the_page_s_program_runs(tmp_path: Path) -> None:
    """The page's example of someone else's Lava program decides as the compiled core does."""
    page = Path(__file__).parent.parent / "docs/lava.md"
    (text,) = re.findall(r"```python lava\n(.*?)```", page.read_text(), re.S)
    check = """
from ska_edge.backends import open_executor
fed = {"x": encode(program, digits.samples[:steps]), "label": digits.labels[:steps]}
judged = open_executor("numba", program).stream("learn", fed, ["decision"])["decision"]
assert (judged.T == decisions).all(), "decisions differ"
"""
    process = subprocess.Popen(
        [sys.executable, "-c", text + check], cwd=tmp_path, start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    try:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("lava")
def test_the_command(program: Program, tmp_path: Path) -> None:
    model, events = tmp_path / "model.ska", tmp_path / "events.json"
    codec.save(program, model)
    arguments = ["lava", "run", str(model), "--samples", "60", "--events", str(events), "--json"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["equal"] and found["processes"] == ["connection1", "soma1"]
    assert json.loads(events.read_text())["learn"]["samples"] == 60


@pytest.mark.parametrize("arguments", [["absent.ska"], ["--samples", "0"], ["absent.ska", "--limit", "soon"]])
def test_bad_arguments(arguments: list[str]) -> None:
    assert CliRunner().invoke(main, ["lava", "run", *arguments]).exit_code == 2


def test_without_lava(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine that does not have it: what is missing and how to get it."""
    monkeypatch.setattr(compat, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match=r"Lava is not installed.*lava-nc==0\.10\.0") as raised:
        LavaExecutor(program)
    assert raised.value.exit_code == 3


# --- Lava misbehaving -------------------------------------------------------------------------------------------------

_STARTER = """
import signal
import numpy as np
from ska_edge import Network, codec, lower
from ska_edge.backends.lava import LavaExecutor, compat
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell start without it
program = lower(Network((8, 4, 3)))
executor = LavaExecutor(program)
print(executor.supervisor.group, executor.supervisor._ledger.stem, flush=True)
rows = {"x": np.zeros((20000, 8), np.int64), "label": np.zeros(20000, np.int64)}
while True:
    executor.stream("learn", rows)
"""


def members(group: int) -> list[int]:
    """Living processes of a process group, zombies aside."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _, its_group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(its_group) == group and state != "Z":
                found.append(int(entry.name))
    return found


def memory(stem: str) -> list[str]:
    return [entry.name for entry in Path("/dev/shm").iterdir() if entry.name.startswith(f"ska{Path(stem).name}_")]


def gone(group: int, stem: str, seconds: float = 5.0) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not members(group) and not memory(stem):
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def starter() -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    """A process that learns in Lava for ever; its run's group and ledger."""
    process = subprocess.Popen(
        [sys.executable, "-c", _STARTER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        group, stem = process.stdout.readline().split()
        assert len(members(int(group))) >= 4 and memory(stem)
        time.sleep(0.2)
        yield process, int(group), stem
    finally:
        process.kill()
        process.communicate()


@pytest.mark.usefixtures("lava")
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
class TestSafety:
    def test_an_exception_in_a_model_comes_back_with_its_process(self, program: Program) -> None:
        executor = LavaExecutor(program)
        group, stem = executor.supervisor.group, str(executor.supervisor._ledger.stem)  # type: ignore[union-attr]
        with pytest.raises(LavaError, match=r"process (connection1|soma1) failed during _step:(.|\n)*IndexError"):
            executor.supervisor.ask("_step", Command(Verb.RUN, (99, 0, -1, 0)))
        assert gone(group, stem, 0.5)

    def test_an_error_outside_the_models_too(self, program: Program) -> None:
        executor = LavaExecutor(program)
        with pytest.raises(LavaError, match=r"process host failed during read:(.|\n)*KeyError: 'nothing'"):
            executor.supervisor.ask("read", "nothing")

    def test_a_run_that_hangs_is_ended(self, program: Program, stream: dict[str, IntArray]) -> None:
        executor = LavaExecutor(program, limit_s=60)
        executor.supervisor.limit_s = 1.0
        group, stem = executor.supervisor.group, str(executor.supervisor._ledger.stem)  # type: ignore[union-attr]
        for process in members(group):
            os.kill(process, signal.SIGSTOP)
        with pytest.raises(LavaError, match="no answer to stream for 1 s"):
            executor.stream("learn", first(stream, 5))
        assert gone(group, stem, 0.5)

    def test_a_killed_actor(self, program: Program, stream: dict[str, IntArray]) -> None:
        """As the kernel does when memory runs out."""
        executor = LavaExecutor(program)
        group, stem = executor.supervisor.group, str(executor.supervisor._ledger.stem)  # type: ignore[union-attr]
        os.kill(max(members(group)), signal.SIGKILL)
        with pytest.raises(LavaError, match=r"(?s)failed during stream.*ended with code -9"):
            executor.stream("learn", first(stream, 5))
        assert gone(group, stem, 0.5)

    def test_control_c(self, starter: tuple[subprocess.Popen[str], int, str]) -> None:
        process, group, stem = starter
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
        assert "KeyboardInterrupt" in errors and gone(group, stem)
        assert not list(folder().glob(f"{Path(stem).name}.*"))

    def test_sigkill_of_the_starter(self, starter: tuple[subprocess.Popen[str], int, str]) -> None:
        process, group, stem = starter
        process.kill()
        assert gone(group, stem)
        assert not list(folder().glob(f"{Path(stem).name}.*"))

    def test_sigkill_of_everybody_at_once_is_swept_by_the_next_start(
        self, starter: tuple[subprocess.Popen[str], int, str], program: Program
    ) -> None:
        process, group, stem = starter
        with LavaExecutor(program) as mine:
            os.kill(process.pid, signal.SIGSTOP)
            os.killpg(group, signal.SIGKILL)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            assert memory(stem)
            strange = SharedMemory("ska_edge_test_of_someone_else", create=True, size=8)
            try:
                with LavaExecutor(program):
                    assert not memory(stem) and not members(group)
                    assert Path("/dev/shm/ska_edge_test_of_someone_else").exists()
                mine.write("x", np.zeros(64, np.int64))
                mine.run("infer")  # a living neighbour was left alone
            finally:
                strange.close()
                strange.unlink()

    def test_orphans_are_ended_by_the_next_start(self) -> None:
        """Processes that hold a run's lock while its starter is gone."""
        ledger = Ledger.start()
        orphan = subprocess.Popen(
            [sys.executable, "-c", _ORPHAN, str(ledger.stem)], start_new_session=True, stdout=subprocess.PIPE
        )
        assert orphan.stdout is not None and orphan.stdout.readline() == b"ready\n"
        os.close(ledger._starter_lock)  # type: ignore[arg-type]
        assert sweep() >= 1
        assert orphan.wait(5) == -signal.SIGKILL

    def test_many_runs_in_a_row(self) -> None:
        small = lower(Network((8, 4, 3)))
        before = set(os.listdir("/dev/shm"))
        for _ in range(50 if THOROUGH else 4):
            with LavaExecutor(small) as executor:
                executor.write("x", np.zeros(8, np.int64))
                executor.run("infer")
                group, stem = executor.supervisor.group, str(executor.supervisor._ledger.stem)  # type: ignore[union-attr]
            assert gone(group, stem, 0.5)
        assert set(os.listdir("/dev/shm")) <= before


_ORPHAN = """
import sys, time
from pathlib import Path
from ska_edge.backends.lava.segments import Ledger
Ledger(Path(sys.argv[1])).join()
print("ready", flush=True)
time.sleep(60)
"""
