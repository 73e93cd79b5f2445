"""The search: the same trials wherever they are learnt and whoever dies, and winners that the simulator bears out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from firmware_tools import needed

from firmware_sim.catalogue import load_board
from ska_edge import Learner
from ska_edge.cli import main
from ska_edge.data import Dataset, load_dataset, split
from ska_edge.errors import FileError, FitError, MissingError, SkaError
from ska_edge.search import hunt as hunting
from ska_edge.search.budget import Gauge, Limits, Measured, Needs, check_limits, draft
from ska_edge.search.hunt import Plan, Progress, Search, search
from ska_edge.search.journal import Journal
from ska_edge.search.space import Space
from ska_edge.toolchain import find_compiler

BOARD = load_board("arduino_uno")
LIMITS = Limits(1200, 20_000)
PLAN = Plan(LIMITS, trials=7, seeds=2, passes=1)
OTHERS = dict.fromkeys(("w16d15", "w16d8", "w8d8", "w4d8"), Measured("64-16-10", 240, 10_000, 36, 7.0, 16_000_000))
GAUGE = Gauge(BOARD, OTHERS)
"""Near what an Uno's images measure; the test of the command line measures them."""


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three batches, the last of which Optuna chooses by what it was told."""
    monkeypatch.setattr(hunting, "BATCH", 3)
    monkeypatch.setattr(hunting, "RANDOM_TRIALS", 4)


@cache
def few_digits() -> Dataset:
    digits = load_dataset("digits")
    assert digits.labels is not None
    return replace(digits, samples=digits.samples[:150], labels=digits.labels[:150])


@cache
def expected() -> Search:
    """In one process, without a journal."""
    return hunt(PLAN)


def hunt(plan: Plan, learnt: Callable[[int], None] = lambda count: None, data: Dataset | None = None) -> Search:
    return search(BOARD, data or few_digits(), plan, Progress(learnt=learnt), GAUGE)


class After:
    """Calls something once, when so many networks have been learnt."""

    def __init__(self, count: int, act: Callable[[], object]) -> None:
        self.left, self.act = count, act

    def __call__(self, count: int) -> None:
        self.left -= count
        if self.left <= 0 < self.left + count:
            self.act()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and two workers of one thread: processes that may be killed."""
    file = tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    own = {**os.environ, "DASK_LOGGING__DISTRIBUTED": "error"}
    starts = [
        [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    ]
    starts += [[*dask, "worker", "--scheduler-file", str(file), "--no-nanny", "--nthreads", "1", "--no-dashboard"]] * 2
    started = [subprocess.Popen(each, env=own, cwd=tmp_path, stderr=subprocess.DEVNULL) for each in starts]
    try:
        until = time.monotonic() + 60
        while not (file.exists() and file.read_text().endswith("}")) and time.monotonic() < until:
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        from distributed import Client

        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
        yield address, started[1:]
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_trials_are_the_same_on_two_dask_workers_and_when_one_is_killed(
    cluster: tuple[str, list[subprocess.Popen[bytes]]],
) -> None:
    address, workers = cluster
    found = hunt(replace(PLAN, scheduler=address))
    assert found.workers == "2 Dask workers"
    assert found.trials == expected().trials and found.ranked[0] == expected().ranked[0]
    kill = After(3, workers[0].kill)
    found = hunt(replace(PLAN, scheduler=address), kill)
    assert kill.left <= 0 and workers[0].wait() == -signal.SIGKILL
    assert found.trials == expected().trials and found.front == expected().front


def test_trials_are_the_same_in_two_processes_and_when_one_is_killed() -> None:
    def kill() -> None:
        import multiprocessing

        os.kill(multiprocessing.active_children()[0].pid or 0, signal.SIGKILL)

    killed = After(3, kill)
    found = hunt(replace(PLAN, workers=2), killed)
    assert killed.left <= 0 and found.trials == expected().trials


def test_an_interrupted_search_goes_on_to_the_same_end(tmp_path: Path) -> None:
    plan = replace(PLAN, study=tmp_path / "a.journal")

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hunt(plan, After(2 * PLAN.seeds + 1, interrupt))
    found = hunt(plan)
    assert found.kept == 2
    assert found.trials == expected().trials


def test_a_journal_cut_in_its_last_line_goes_on(tmp_path: Path) -> None:
    journal = tmp_path / "a.journal"
    hunt(replace(PLAN, study=journal, trials=3))
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-7])
    found = hunt(replace(PLAN, study=journal))
    assert 0 < found.kept < 3 and found.trials == expected().trials


def test_a_longer_search_continues_a_shorter_one(tmp_path: Path) -> None:
    shorter = hunt(replace(PLAN, trials=5))
    assert shorter.trials == expected().trials[:5]


def test_test_rows_decide_nothing() -> None:
    data = few_digits()
    samples = data.samples.copy()
    samples[split(data, PLAN.seed, PLAN.test_share).test] = 7.0
    assert hunt(PLAN, data=replace(data, samples=samples)).trials == expected().trials


def test_every_trial_keeps_the_limits_and_the_front_is_not_beaten() -> None:
    found = expected()
    assert found.unfit > 0  # else the limits were never tested
    for trial in found.trials:
        program = draft(trial.candidate, few_digits().encoding())
        assert GAUGE.needs(program, trial.candidate.profile).excess(LIMITS) == 0
        better = [
            t for t in found.trials if t.accuracy >= trial.accuracy and t.needs.ram_bytes <= trial.needs.ram_bytes
        ]
        beaten = any((t.accuracy, t.needs.ram_bytes) != (trial.accuracy, trial.needs.ram_bytes) for t in better)
        same = [t for t in found.front if (t.accuracy, t.needs.ram_bytes) == (trial.accuracy, trial.needs.ram_bytes)]
        assert bool(same) != beaten, trial


@pytest.mark.parametrize("features", [1, 5, 64, 140, 784])
def test_everything_the_space_suggests_can_be_lowered(features: int) -> None:
    import optuna

    space, kinds = Space.within(features, 5, 65_536), set()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    encoding = replace(few_digits().encoding(), centre=(0.5,) * features)
    for number in range(25):
        candidate = space.suggest(study.ask())
        if not candidate.network(0).weight_count > 40_000:
            kinds.add("".join(filter(str.isalpha, candidate.shape)))
            assert number >= 0 and draft(candidate, encoding).by_name["x"].size == features
    assert len(kinds) > 2


def test_excess_counts_every_limit() -> None:
    limits = Limits(100, 100, 1.0)
    assert Needs(100, 100, 1.0).excess(limits) == 0
    assert Needs(150, 200, 3.0).excess(limits) == 0.5 + 1.0 + 2.0
    assert Needs(100, 100, None).excess(limits) == 0  # where no clock is known, time cannot be refused


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(300, 20_000), "RAM of 300 allowed"),
        (Limits(2048, 9_000), "of flash of 9,000"),
        (Limits(2048, 20_000, 0.5), "ms a sample of 0.5"),
    ],
)
def test_a_budget_that_nothing_keeps_names_the_nearest(limits: Limits, words: str) -> None:
    with pytest.raises(FitError, match=f"the nearest, 64-2-10 in w.*{words}"):
        check_limits(GAUGE, Space.within(64, 10, limits.ram_bytes), few_digits().encoding(), limits)


@pytest.mark.parametrize(
    "content",
    [b"\x89PNG\r\n\x1a\n\x00\x00\n", b'{"op_code": 99}\n', b"[1, 2]\n", b"1,2,3\n4,5,6\n", b'{"a": \n{"b": 1}\n'],
)
def test_a_file_that_is_no_journal_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.journal"
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"a\.journal"):
        Journal(path, {"seed": 1})
    assert path.read_bytes() == content


def test_a_journal_of_another_search_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    Journal(path, {"seed": 1, "board": "a"}).begin({})
    Journal(path, {"seed": 1, "board": "a"}).begin({})
    with pytest.raises(SkaError, match="a search with seed 1, this one has 2"):
        Journal(path, {"seed": 2, "board": "a"})


def test_a_journal_in_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be written"):
        Journal(tmp_path / "none" / "a.journal", {})


def test_no_scheduler_is_something_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ska_edge.search.workers.CONNECT_SECONDS", 0.5)
    for address in ("tcp://127.0.0.1:1", "nonsense://a"):
        with pytest.raises(MissingError, match="dask scheduler"):
            hunt(replace(PLAN, scheduler=address))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--board", "none", "--dataset", "digits"], 2, "none"),
        (["--board", "arduino_uno", "--dataset", "none"], 2, "allowed are digits"),
        (["--board", "arduino_uno"], 2, "--dataset NAME"),
        (["--board", "arduino_uno", "--dataset", "digits", "--seeds", "1"], 2, "seeds"),
        (
            ["--board", "arduino_uno", "--dataset", "digits", "--workers", "2", "--scheduler", "tcp://a:1"],
            2,
            "one of them",
        ),
    ],
    ids=["board", "dataset", "no data", "one seed", "two kinds of workers"],
)
def test_bad_input(arguments: list[str], code: int, words: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["search", *arguments, "--out", str(tmp_path / "best.ska"), "--json"])
    assert done.exit_code == code and words in done.output
    assert not list(tmp_path.iterdir())


def test_command_line(tmp_path: Path) -> None:
    for tool in ("gcc", "avr-gcc"):
        needed(lambda tool=tool: find_compiler(tool))  # type: ignore[misc]
    data = few_digits()
    np.savez(tmp_path / "few.npz", samples=data.samples, labels=data.labels)
    out = tmp_path / "best.ska"
    arguments = ["--board", "arduino_uno", "--data", str(tmp_path / "few.npz"), "--milliseconds", "40"]
    arguments += ["--trials", "3", "--seeds", "2", "--passes", "1", "--verify", "1", "--out", str(out), "--json"]
    done = CliRunner().invoke(main, ["search", *arguments])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    best, verified = found["best"], found["best"]["verified"]
    assert verified["equal"] and verified["keeps_limits"]
    assert verified["ram_bytes"] == verified["static_ram_bytes"] + verified["stack_bytes"] <= 2048
    assert abs(verified["ram_bytes"] - best["ram_bytes"]) <= 16  # the stack alone is not known beforehand
    assert verified["milliseconds"] <= best["milliseconds_estimated"] <= 40
    assert found["front"][0] == {key: value for key, value in best.items() if key != "verified"}
    model = Learner.load(out)
    assert model.program.state_digest and model.program.program_digest == verified["program_digest"]
    assert {file.suffix for file in tmp_path.iterdir()} == {".npz", ".ska", ".svg", ".md", ".journal"}
    assert "<svg" in out.with_suffix(".svg").read_text() and "## Front" in out.with_suffix(".md").read_text()
