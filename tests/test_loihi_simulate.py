"""The neurocore machine: events counted twice, prices worked out by hand, unknowns that stay unknown."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from firmware_tools import needed
from local_lava import LocalParts
from test_cli import call, call_json, refused
from test_loihi_map import patches

from firmware_sim.errors import ActivityError
from firmware_sim.neurocore import machine
from firmware_sim.neurocore.events import LAYER_COUNTS
from firmware_sim.neurocore.files import check_activity, load_activity, load_map, parse_map
from firmware_sim.neurocore.hardware import COSTS, Hardware, load_hardware
from firmware_sim.neurocore.machine import simulate
from ska_edge import Learner, Network, codec, lower, rule_named
from ska_edge.backends.lava.compat import require
from ska_edge.data import load_dataset
from ska_edge.errors import MissingError
from ska_edge.fixed import IntArray
from ska_edge.interpreter import Interpreter
from ska_edge.loihi.activity import record, to_npz, without_centre
from ska_edge.loihi.compare import load_cycles
from ska_edge.loihi.counts import differences
from ska_edge.loihi.mapping import Map, map_program, open_hardware
from ska_edge.loihi.summary import _span
from ska_edge.network import parse_shape
from ska_edge.operations import Contract, Flow, Gather, Kind, OuterUpdate, Scale
from ska_edge.program import Program
from ska_edge.verify import stream_of

SAMPLES = 60


@cache
def digits_program(shape: str, rule: str = "guided", **parameters: Any) -> Program:
    """A network that has seen some digits, so that its activity is that of a learner, not of noise."""
    data = load_dataset("digits")
    network = Network(parse_shape(shape), rule_named(rule, **parameters))
    learner = Learner(lower(network, "w8d8", data.samples[:300], data.labels[:300], data.encoding()))
    learner.learn_many(data.samples[:300], data.labels[:300] if rule != "novelty" else None)
    return learner.snapshot()


def digits_inputs(program: Program) -> dict[str, IntArray]:
    data = load_dataset("digits")
    if program.by_name["decision"].size == 1:  # novelty: no label
        data = replace(data, labels=np.full(len(data.samples), -1))
    return {name: values[300 : 300 + SAMPLES] for name, values in stream_of(program, data).items()}


def run(program: Program, hardware: Hardware, inputs: dict[str, IntArray], section: str = "learn") -> dict[str, Any]:
    found = map_program(program, hardware)
    assert not found.violations
    recording = record(program, found.circuit, inputs)
    return simulate_recording(found, recording, hardware, section)


def simulate_recording(found: Map, recording: dict[str, IntArray], hardware: Hardware, section: str) -> dict[str, Any]:
    read = parse_map(json.loads(json.dumps(found.to_json())))
    activity = {name: values != 0 for name, values in recording.items()}
    check_activity(activity, read)
    return simulate(read, activity, hardware, section)


# --- events: against a plain pass over the oracle's tensors -----------------------------------------------------------


def oracle_counts(program: Program, inputs: dict[str, IntArray], section: str) -> tuple[dict[int, Counter[str]], int]:
    """Events by layer, operation by operation in the oracle, and weights that moved where no event was counted."""
    oracle = Interpreter(program)
    by_layer: dict[int, Counter[str]] = {}
    unexplained = 0
    tensors, ops = program.by_name, program.sections[section]
    gathered = {op.out: op for op in ops if isinstance(op, Gather)}
    flows = {name for op in ops if isinstance(op, Flow) for name in (op.z, op.drive)}
    for row in range(len(inputs["x"])):
        for name, values in inputs.items():
            if section != "infer" or name != "label":
                oracle.write(name, values[row])
        for position, op in enumerate(ops):
            before = oracle.read(op.w) if isinstance(op, OuterUpdate) else None
            counts = by_layer.setdefault(op.layer or 0, Counter())
            if isinstance(op, Contract):
                matrices = [n for n in (op.a, op.b) if tensors[n].kind in (Kind.WEIGHT, Kind.HEAD)]
                if len(matrices) == 1:
                    vector = op.b if matrices[0] == op.a else op.a
                    # every product of a weight and a value, one by one
                    axes = op.axes.partition("->")[0].split(",")
                    ones = [np.ones(tensors[n].shape) if n in matrices else oracle.read(n) != 0 for n in (op.a, op.b)]
                    counts["synaptic_ops"] += int(np.einsum(f"{axes[0]},{axes[1]}->", *ones))
                    if vector in gathered:
                        source, index = oracle.read(gathered[vector].a), program.values[gathered[vector].index]
                        counts["messages"] += sum(bool(source.ravel()[i]) for i in set(index.ravel().tolist()))
                    else:
                        counts["messages"] += int((oracle.read(vector) != 0).sum())
                    if op.out not in flows:
                        counts["neuron_updates"] += tensors[op.out].size
            elif isinstance(op, Scale) and op.c is not None and tensors[op.c].name.startswith("vote"):
                counts.update(dict.fromkeys(("synaptic_ops", "messages"), int((oracle.read(op.c) != 0).sum())))
            if isinstance(op, Flow):
                counts["neuron_updates"] += tensors[op.z].size * (op.steps + 1)
            oracle.run(section, position, position + 1)
            if isinstance(op, OuterUpdate):
                factor, x = oracle.read(op.s) != 0, oracle.read(op.x) != 0
                letters = "abcde"[: before.ndim]
                inner = letters[before.ndim - x.ndim :]
                sees = np.ones_like(x) if op.towards else x
                pairs = np.einsum(f"{letters[: factor.ndim]},{inner}->{letters}", factor * 1, sees * 1) != 0
                counts["synapse_updates"] += int(pairs.sum())
                unexplained += int(((oracle.read(op.w) != before) & ~pairs).sum())
    return {layer: counts for layer, counts in by_layer.items() if layer}, unexplained


MODELS: dict[str, Callable[[], Program]] = {
    "guided": lambda: digits_program("64-16-10"),
    "deep": lambda: digits_program("64-12-8-10"),
    "codes": lambda: digits_program("64-12-8-10", heads="code"),
    "votes": lambda: digits_program("64-12-8-10", readout="sum", rectified=False, anneal=8),
    "published": lambda: digits_program("64-12-10", rule="published", forward_steps=5),
    "homeostatic": lambda: digits_program("64-4x3f5-10", rule="homeostatic", forward_steps=5),
    "fields": lambda: digits_program("64-4x6f5-3x4f4-10", readout="sum", mask=0.3),
    "competing": lambda: digits_program("64-4x6k5-10", rule="competitive"),
    "competing, guided": lambda: digits_program("64-4x6k5-8-10"),
    "novelty": lambda: digits_program("64-1x8k8", rule="novelty"),
}


@pytest.mark.parametrize("name", [*MODELS, "patches"])
def test_events_are_those_of_the_oracle(name: str) -> None:
    rows = 10
    if name == "patches":
        program = patches()
        chance = np.random.default_rng(1)
        inputs = {"x": chance.integers(0, 256, (rows, 64)) * (chance.random((rows, 64)) < 0.6)}
    else:
        program = MODELS[name]()
        inputs = {key: values[:rows] for key, values in digits_inputs(program).items()}
    for section in ("infer", "learn"):
        found = run(program, open_hardware("loihi1"), inputs, section)
        expected, unexplained = oracle_counts(program, inputs, section)
        assert found["counts"] == {
            "samples": rows,
            "layers": [{"layer": n, **{key: counts[key] for key in LAYER_COUNTS}} for n, counts in expected.items()],
        }
        assert unexplained == 0
        learning = [layer["synapse_updates"] > 0 for layer in found["counts"]["layers"]]
        assert all(learning) if section == "learn" else not any(learning)


@pytest.mark.parametrize("name", MODELS)
def test_events_are_those_that_lava_s_parts_count(name: str) -> None:
    """The code that Lava's processes run, here without Lava, counts while it works."""
    program = MODELS[name]()
    inputs = digits_inputs(program)
    parts = LocalParts(program, counting=True)
    for row in range(SAMPLES):
        for key, values in inputs.items():
            parts.write(key, values[row])
        parts.run("learn")
    theirs = parts.events({"learn": SAMPLES})
    ours = {"learn": run(program, open_hardware("loihi1"), inputs)["counts"]}
    assert differences(ours, theirs) == []
    parts.run("infer")
    assert parts.events({"learn": SAMPLES}) == theirs


def test_the_digits_of_the_docs_in_lava(tmp_path: Path) -> None:
    """`ska-edge lava run --events` and `ska-edge loihi simulate --against`: two commands, one file, equal counts."""
    needed(require)
    model, events = tmp_path / "digits.ska", tmp_path / "events.json"
    codec.save(digits_program("64-16-10"), model)
    assert call_json("lava", "run", model, "--samples", 200, "--events", events)["equal"]
    found = call_json("loihi", "simulate", model, "--samples", 200, "--against", events)
    assert found["differences"] == []
    counts = json.loads(events.read_text())
    assert counts["learn"]["layers"] == found["counts"]["layers"] and counts["learn"]["samples"] == 200
    counts["learn"]["layers"][0]["messages"] += 1
    events.write_text(json.dumps(counts))
    result = call("loihi", "simulate", model, "--samples", 200, "--against", events)
    assert result.exit_code == 1 and "layer 1, messages: expected" in result.stderr


def test_every_split_counts_the_same() -> None:
    """What depends on the network alone does not change with the map; messages to cores do."""
    program = digits_program("64-12-8-10")
    inputs = digits_inputs(program)
    whole = run(program, open_hardware("loihi1"), inputs)
    parts = run(program, open_hardware("loihi1", {"neurons": 3}), inputs)
    assert parts["counts"] == whole["counts"]
    for kind in ("synaptic_op", "reduction_op", "synapse_update", "neuron_update", "idle_update"):
        assert parts["events"][kind] == whole["events"][kind], kind
    assert parts["events"]["message_in"] > 3 * whole["events"]["message_in"]
    assert parts["events"]["hop_east_west"] > 0 == whole["events"]["hop_east_west"]
    assert parts["time_s"]["high"] < whole["time_s"]["high"]


def test_sums_of_a_neurons_own_patch() -> None:
    """Their products are counted where the neuron is, one for every nonzero value of its patch."""
    program = patches()
    chance = np.random.default_rng(5)
    x = chance.integers(0, 256, (10, 64)) * (chance.random((10, 64)) < 0.5)
    found = run(program, open_hardware("loihi1", {"neurons": 4}), {"x": x})
    seen = x[:, program.values["where"]] != 0
    assert found["events"]["reduction_op"] * 10 == seen.sum() + (x != 0).sum()  # and one norm of the whole sample
    by_core = [core["events"]["reduction_op"] * 10 for core in found["cores"]]
    assert by_core[1:] == [seen[:, 4:8].sum(), seen[:, 8:].sum()]


def test_zeros_cost_nothing() -> None:
    program = digits_program("64-16-10")
    found = map_program(program, "loihi1")
    data = load_dataset("digits")
    recording = record(program, found.circuit, digits_inputs(program))
    plain = without_centre(program, recording, data.samples[300 : 300 + SAMPLES])
    assert (plain["learn/x"] != 0).mean() < 0.6 < (recording["learn/x"] != 0).mean()
    hardware = load_hardware("loihi1")
    dense, sparse = (simulate_recording(found, each, hardware, "learn") for each in (recording, plain))
    for name in ("energy_j", "time_s"):
        assert sparse[name]["high"] < dense[name]["high"]
    silent = {name: np.zeros_like(values) for name, values in recording.items()}
    nothing = simulate_recording(found, silent, hardware, "learn")
    for kind in ("message_in", "synaptic_op", "synapse_update", "hop_within_tile"):
        assert nothing["events"][kind] == 0
    assert nothing["energy_j"]["low"] == pytest.approx((138 * 81 + 96 * 52) * 1e-12)  # neurons are updated all the same


# --- prices -----------------------------------------------------------------------------------------------------------


def by_hand() -> tuple[Map, dict[str, IntArray]]:
    """4 inputs, 2 neurons, K = 2, one core; three inputs and both factors are nonzero: the example of docs/loihi.md."""
    found = map_program(lower(Network((4, 2), rule_named("published", forward_steps=2))), "loihi1")
    x = np.array([[3, 1, 0, 2]])
    return found, {"infer/x": x, "learn/x": x, "learn/s1": np.array([[5, -7]])}


def test_the_documented_example() -> None:
    found, activity = by_hand()
    learn = simulate_recording(found, activity, load_hardware("loihi1"), "learn")
    # timestep 1: 3 messages to the core, 6 synaptic operations, a sum of 3 squares, 2 neurons
    # timestep 2: the one step of the flow, 2 neurons, then 6 weights
    occurred = {kind: mean for kind, mean in learn["events"].items() if mean}
    assert occurred == {
        "message_in": 3,
        "synaptic_op": 6,
        "reduction_op": 3,
        "neuron_update": 4,
        "synapse_update": 6,
        "hop_within_tile": 3,
        "barrier": 2,
    }
    picojoules = (6 + 3) * 23.6 + 4 * 81 + 6 * 120 + 3 * 1.7
    assert picojoules == pytest.approx(1261.5)
    for end in ("low", "high"):
        assert learn["energy_j"][end] == pytest.approx(picojoules * 1e-12)
    first, second = 9 * 3.5 + 2 * 8.4 + 2.1, 2 * 8.4 + 6 * 6.1
    assert learn["time_s"]["low"] == pytest.approx((first + second + 2 * 113) * 1e-9)
    assert learn["time_s"]["high"] == pytest.approx((first + second + 2 * 465) * 1e-9)
    assert learn["bottleneck"]["event"] == "barrier"
    assert learn["unpriced"] == {"energy_pj": ["message_in", "barrier"], "time_ns": ["message_in"]}
    assert learn["static_energy_j"]["high"] == pytest.approx(0.104 * learn["time_s"]["high"])

    infer = simulate_recording(found, activity, load_hardware("loihi1-sanafe"), "infer")
    assert infer["energy_j"]["low"] == pytest.approx((6 * 35.5 + 2 * 72.8) * 1e-12)
    assert infer["time_s"]["low"] == pytest.approx((3 * 20 + 6 * 4.0 + 2 * 9.7 + 2.1 + 299) * 1e-9)

    both = simulate_recording(found, activity, load_hardware("loihi1,loihi1-sanafe"), "infer")
    assert both["energy_j"]["low"] == pytest.approx((6 * 23.6 + 2 * 72.8 + 3 * 0.0) * 1e-12)
    assert both["energy_j"]["high"] == pytest.approx((6 * 35.5 + 2 * 81 + 3 * 1.7) * 1e-12)


def test_a_factor_of_zero_is_the_gap_of_the_interval() -> None:
    """A learning engine may have to pass the synapses of a neuron that does not learn; if none does, it need not."""
    found, activity = by_hand()
    hardware = load_hardware("loihi1")
    for factor, updates, visits in (([5, 0], 3, 6), ([0, 0], 0, 0)):
        learn = simulate_recording(found, activity | {"learn/s1": np.array([factor])}, hardware, "learn")
        assert (learn["events"]["synapse_update"], learn["synapse_visits"]) == (updates, visits)
        gap = learn["energy_j"]["high"] - learn["energy_j"]["low"]
        assert gap == pytest.approx((visits - updates) * 120e-12)


def slow_price(found: Map, recording: dict[str, IntArray], hardware: Hardware) -> tuple[float, float]:
    """Joules and seconds of learning at the low end, sample by sample, timestep by timestep, synapse by synapse."""
    prices = {kind: hardware.cost(kind) for kind in COSTS}
    joules = {k: c.energy_pj[0] * 1e-12 if c and c.energy_pj else 0.0 for k, c in prices.items()}
    seconds = {k: c.time_ns[0] * 1e-9 if c and c.time_ns else 0.0 for k, c in prices.items()}
    home = {
        (p.population, n): c for c, core in enumerate(found.cores) for p in core.slices for n in range(p.start, p.stop)
    }
    table, samples = found.circuit.timetables["learn"], len(recording["learn/x"])
    energy = time = 0.0
    for sample in range(samples):
        for step in range(1, table.steps + 1):
            spent = np.zeros(len(found.cores))
            longest = 0.0
            busy: Counter[int] = Counter()
            messages = set()

            def pay(core: int, kind: str, spent: Any = spent) -> float:
                spent[core] += seconds[kind]
                return joules[kind]

            for number, event in enumerate(e for e in table.events if e.step == step):
                kind = type(event).__name__
                if kind == "Work":
                    for n in range(found.circuit.populations[event.population].neurons):
                        energy += pay(home[event.population, n], "neuron_update")
                        busy[home[event.population, n]] += 1
                    continue
                if kind == "Sum":
                    first = next(n for n, core in enumerate(found.cores) if core.layer == event.layer)
                    for value in recording[f"learn/{event.values}"][sample]:
                        energy += pay(first, "reduction_op") if value else 0.0
                    continue
                connection = found.circuit.connections[event.connection]
                pre = recording[f"learn/{event.values if kind == 'Send' else event.pre}"][sample]
                post = np.ones(connection.targets) if kind == "Send" else recording[f"learn/{event.post}"][sample]
                for target in range(connection.targets):
                    core = home[connection.target, target]
                    for source in range(connection.sources):
                        if pre[source] and post[target]:
                            energy += pay(core, "synaptic_op" if kind == "Send" else "synapse_update")
                        if pre[source] and (kind == "Send" or event.sent):
                            messages.add((number, home.get((connection.source, source), -1), source, core))
            for _, origin, _, core in messages:
                energy += pay(core, "message_in") + (pay(origin, "message_out") if origin >= 0 else 0.0)
                here, there = (0, 0) if origin < 0 else found.tile(found.cores[origin]), found.tile(found.cores[core])
                assert here is not None and there is not None
                across, down = abs(here[0] - there[0]), abs(here[1] - there[1])
                hops = {"hop_east_west": across, "hop_north_south": down}
                hops["hop_within_tile"] = int(not across and not down and origin != core)
                energy += sum(joules[hop] * n for hop, n in hops.items())
                longest = max(longest, sum(seconds[hop] * n for hop, n in hops.items()))
            for number, core_ in enumerate(found.cores):
                for _ in range(core_.neurons - busy[number]):
                    energy += pay(number, "idle_update")
            time += spent.max() + longest + seconds["barrier"]
    return energy / samples, time / samples


@pytest.mark.parametrize("name", ["loihi1", "loihi1-sanafe"])
def test_prices_are_those_of_a_slow_count(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = digits_program("64-12-8-10")
    hardware = open_hardware(name, {"neurons": 3})
    found = map_program(program, hardware)
    inputs = {key: values[:3] for key, values in digits_inputs(program).items()}
    recording = record(program, found.circuit, inputs)
    fast = simulate_recording(found, recording, hardware, "learn")
    energy, time = slow_price(found, recording, hardware)
    assert fast["energy_j"]["low"] == pytest.approx(energy)
    assert fast["time_s"]["low"] == pytest.approx(time)
    monkeypatch.setattr(machine, "_ELEMENTS", 1)  # one sample at a time
    again = simulate_recording(found, recording, hardware, "learn")
    assert again["counts"] == fast["counts"] and again["events"] == fast["events"]
    assert again["time_s"]["high"] == pytest.approx(fast["time_s"]["high"])


def test_sums_agree() -> None:
    program = digits_program("64-12-8-10")
    found = run(program, open_hardware("loihi1", {"neurons": 5}), digits_inputs(program))
    for end in ("low", "high"):
        total = found["energy_j"][end]
        for parts in (found["cores"], found["layers"]):
            assert sum(part["energy_j"][end] for part in parts) == pytest.approx(total)
        priced = [span[end] for span in found["energy_by_event_j"].values() if span[end] is not None]
        assert sum(priced) == pytest.approx(total)
        assert max(core["working_s"][end] for core in found["cores"]) < found["time_s"][end]
    for kind in COSTS:
        if kind != "barrier":
            assert sum(c["events"].get(kind, 0) for c in found["cores"]) == pytest.approx(found["events"][kind])
    assert 0 < found["bottleneck"]["share"] < 1


def test_unknown_stays_unknown() -> None:
    program = digits_program("64-16-10")
    nothing = {"low": None, "high": None}
    found = run(program, open_hardware("loihi2"), digits_inputs(program))
    assert found["energy_j"] == found["time_s"] == found["static_energy_j"] == nothing
    assert found["bottleneck"] is None
    assert {found["events"][hop] for hop in ("hop_east_west", "hop_north_south", "hop_within_tile")} == {None}
    assert set(map(str, found["energy_by_event_j"].values())) == {str(nothing)}
    assert found["events"]["synaptic_op"] > 0
    sanafe = run(program, open_hardware("loihi1-sanafe"), digits_inputs(program))
    assert sanafe["energy_by_event_j"]["synapse_update"] == nothing
    assert "synapse_update" in sanafe["unpriced"]["energy_pj"]


def test_the_machine_stands_alone() -> None:
    code = "import sys, firmware_sim.neurocore.machine; print([m for m in sys.modules if m.startswith('ska_edge')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- files ------------------------------------------------------------------------------------------------------------


class TestFiles:
    def test_round_trip(self, tmp_path: Path) -> None:
        program = digits_program("64-16-10")
        found = map_program(program, "loihi1")
        recording = record(program, found.circuit, {k: v[:3] for k, v in digits_inputs(program).items()})
        (tmp_path / "map.json").write_text(json.dumps(found.to_json()))
        (tmp_path / "activity.npz").write_bytes(to_npz(program, recording))
        read = load_map(tmp_path / "map.json")
        arrays = load_activity(tmp_path / "activity.npz", read)
        assert set(arrays) == set(recording)
        assert all((arrays[name] == (recording[name] != 0)).all() for name in recording)
        command = [sys.executable, "-m", "firmware_sim.neurocore", tmp_path / "map.json", tmp_path / "activity.npz"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout)["learn"]["samples"] == 3
        done = subprocess.run([*command, "--hardware", "loihi9"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "") and "nearest" in done.stderr

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda m: m.update(version=2), "not a neurocore map of version 1"),
            (lambda m: m.update(violations=[{"limit": "cores"}]), "breaks limits"),
            (lambda m: m.pop("cores"), "'cores'"),
            (lambda m: m.update(cores=[3]), "missing or not what"),
            (lambda m: m["connections"][0].update(source="nobody"), "no population 'nobody'"),
            (lambda m: m["connections"][0].update(index=[[0], [99]]), "index does not fit"),
            (lambda m: m["cores"][0]["slices"][0].update(stop=1), "slices"),
            (lambda m: m["cores"][0]["slices"][0].update(population="nobody"), "no population 'nobody'"),
            (lambda m: m["timetables"]["learn"]["events"][0].update(step=99), "timestep 99"),
            (lambda m: m["timetables"]["learn"]["events"][0].update(event="sing"), "'sing'"),
            (lambda m: m["timetables"]["learn"]["events"][0].update(connection="W9"), "no connection 'W9'"),
            (lambda m: m["timetables"]["learn"]["events"][-1].update(population="z9"), "no population 'z9'"),
        ],
    )
    def test_maps_that_are_none(self, change: Any, words: str, tmp_path: Path) -> None:
        content = json.loads(json.dumps(by_hand()[0].to_json()))
        change(content)
        path = tmp_path / "map.json"
        path.write_text(json.dumps(content))
        with pytest.raises(ActivityError) as caught:
            load_map(path)
        assert words in str(caught.value) and str(path) in str(caught.value)

    @pytest.mark.parametrize("content", [b"", b"[1]", b"{", bytes(range(256)), b'"a"'])
    def test_no_maps_at_all(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "map.json").write_bytes(content)
        with pytest.raises(ActivityError):
            load_map(tmp_path / "map.json")
        with pytest.raises(ActivityError, match="cannot be read"):
            load_map(tmp_path / "nowhere.json")

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"learn/x": None}, "'learn/x' is missing"),
            ({"learn/x": np.ones((1, 5))}, r"shape \(1, 5\)"),
            ({"learn/x": np.ones(4)}, r"shape \(4,\)"),
            ({"learn/s1": np.ones((2, 2))}, "vectors of"),
            ({"infer/x": np.ones((0, 4))}, "vectors of"),
        ],
    )
    def test_recordings_that_do_not_fit(self, change: dict[str, Any], words: str, tmp_path: Path) -> None:
        found, activity = by_hand()
        arrays = {name: values for name, values in {**activity, **change}.items() if values is not None}
        path = tmp_path / "activity.npz"
        np.savez(path, program_digest=np.array(found.program_digest), **arrays)
        read = parse_map(json.loads(json.dumps(found.to_json())))
        with pytest.raises(ActivityError, match=words):
            load_activity(path, read)

    def test_recordings_of_another_kind(self, tmp_path: Path) -> None:
        found, activity = by_hand()
        read = parse_map(json.loads(json.dumps(found.to_json())))
        path = tmp_path / "activity.npz"
        np.savez(path, program_digest=np.array("0" * 64), **activity)
        with pytest.raises(ActivityError, match="another Program"):
            load_activity(path, read)
        for content in (b"", b"PK\x03\x04nonsense", bytes(100)):
            path.write_bytes(content)
            with pytest.raises(ActivityError):
                load_activity(path, read)
        with pytest.raises(ActivityError, match="cannot be read"):
            load_activity(tmp_path / "nowhere.npz", read)


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "digits.ska"
    codec.save(digits_program("64-16-10"), path)
    return path


class TestCommand:
    def test_contract(self, model: Path, tmp_path: Path) -> None:
        found = call_json("loihi", "simulate", model, "--dataset", "digits", "--samples", 40, "--out", tmp_path / "out")
        assert {"events", "time_s", "energy_j", "bottleneck", "inference", "uncentred", "input_density"} <= set(found)
        for name in ("time_s", "energy_j"):
            assert 0 < found["inference"][name]["low"] <= found[name]["low"] <= found[name]["high"]
        counts = json.loads((tmp_path / "out" / "counts.json").read_text())
        assert counts["learn"] == found["counts"] and counts["learn"]["samples"] == 40
        assert {path.name for path in (tmp_path / "out").iterdir()} == {
            "map.json",
            "activity.npz",
            "activity-uncentred.npz",
            "counts.json",
        }

    @pytest.mark.parametrize("hardware", ["loihi1", "loihi1-sanafe", "loihi2", "loihi1,loihi1-sanafe"])
    def test_words(self, model: Path, hardware: str) -> None:
        result = call("loihi", "simulate", model, "--hardware", hardware, "--samples", 20)
        assert result.exit_code == 0, result.output
        assert "Nonzero inputs: " in result.stdout and "bottleneck" in result.stdout
        assert ("unknown" in result.stdout) is (hardware != "loihi1" and "," not in hardware)

    def test_boards(self, model: Path, tmp_path: Path) -> None:
        cycles = tmp_path / "cycles.json"
        cycles.write_text(json.dumps({"arduino_uno": {"low": 160_000, "high": 240_000}}))
        rows = call_json("loihi", "simulate", model, "--samples", 20, "--cycles", cycles)["rows"]
        by_name = {row["name"]: row for row in rows}
        assert rows[0]["kind"] == "neurocore" and rows[0]["static_energy_j"]["low"] > rows[0]["energy_j"]["low"]
        uno = by_name["arduino_uno"]
        assert uno["time_s"] == {"low": 0.01, "high": 0.015}  # at 16 MHz
        assert uno["energy_j"]["low"] == pytest.approx(160_000 * 5.2e-3 * 5.0 / 8e6)
        assert by_name["rpi_pico"]["time_s"] == {"low": None, "high": None}
        assert by_name["rpi_pico"]["note"] == "unknown: cycles a sample, run current"
        words = call("loihi", "simulate", model, "--samples", 20, "--boards").stdout
        assert "arduino_uno" in words and "unknown: cycles a sample" in words

    def test_boards_in_the_cycle_simulator(self, model: Path, tmp_path: Path) -> None:
        """Run by name, or by hand and handed over: the same cycles."""
        found = call("simulate", model, "--board", "rpi_pico", "--dataset", "digits", "--samples", 3, "--json")
        needed(lambda: _missing(found))
        path = tmp_path / "pico.json"
        path.write_text(found.stdout)
        ran = call_json("loihi", "simulate", model, "--samples", 3, "--boards", "rpi_pico", "--board-samples", 3)
        given = call_json("loihi", "simulate", model, "--samples", 3, "--cycles", path)
        assert [row["name"] for row in ran["rows"]] == ["loihi1", "rpi_pico"]
        assert ran["rows"][1] in given["rows"] and ran["rows"][1]["time_s"]["low"] > 0
        assert ran["rows"][1]["time_s"]["low"] == json.loads(found.stdout)["seconds_per_sample"]["low"]

    def test_counts_of_others(self, model: Path, tmp_path: Path) -> None:
        """The oracle's, of the same samples, are equal; one synapse more is named."""
        program, data = codec.load(model), load_dataset("digits")
        inputs = {name: values[:20] for name, values in stream_of(program, data).items()}
        by_layer, _ = oracle_counts(program, inputs, "learn")
        counts = {"samples": 20, "layers": [{"layer": n, **by_layer[n]} for n in sorted(by_layer)]}
        path = tmp_path / "theirs.json"
        path.write_text(json.dumps(counts))
        words = ("loihi", "simulate", model, "--samples", 20, "--against", path)
        assert "Events equal" in call(*words).stdout
        assert call_json(*words)["differences"] == []
        counts["layers"][0]["synapse_updates"] += 1
        path.write_text(json.dumps(counts))
        result = call(*words)
        assert result.exit_code == 1
        assert f"learn, layer 1, synapse_updates: expected {counts['layers'][0]['synapse_updates']}" in result.stderr

    @pytest.mark.parametrize("content", ["[]", "{}", "{", '{"layers": 3}', '{"learn": {"samples": 1, "layers": [{}]}}'])
    def test_bad_counts(self, model: Path, tmp_path: Path, content: str) -> None:
        path = tmp_path / "theirs.json"
        path.write_text(content)
        assert str(path) in refused("loihi", "simulate", model, "--samples", 20, "--against", path)

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ("[1]", "wanted an object"),
            ("{", "no JSON"),
            ('{"arduino": {"low": 1, "high": 2}}', "not in the catalogue"),
            ('{"arduino_uno": {"low": 3, "high": 2}}', "low and high"),
            ('{"arduino_uno": {"low": true, "high": 2}}', "low and high"),
            ('{"arduino_uno": 7}', "low and high"),
        ],
    )
    def test_bad_cycles(self, model: Path, tmp_path: Path, content: str, words: str) -> None:
        path = tmp_path / "cycles.json"
        path.write_text(content)
        assert words in refused("loihi", "simulate", model, "--cycles", path)
        path.write_text('{"arduino_uno": {"low": 1, "high": 2}}')
        assert load_cycles(path) == {"arduino_uno": (1.0, 2.0)}

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            (["--limit", "in_axons=63"], "layer 1, core 0: needs 74 axons that end in a core; the limit is 63"),
            (["--dataset", "letters"], "letters"),
            (["--cycles", "nowhere.json"], "cannot be read"),
            (["--boards", "abacus"], "board 'abacus': not in the catalogue"),
            (["--hardware", "loihi1,loihi9"], "nearest"),
        ],
    )
    def test_bad_input(self, model: Path, words: list[str], expected: str) -> None:
        assert expected in refused("loihi", "simulate", model, *words)

    def test_samples_that_do_not_fit(self, model: Path, tmp_path: Path) -> None:
        np.savez(tmp_path / "odd.npz", samples=np.ones((5, 3)), labels=np.zeros(5, int))
        assert "3" in refused("loihi", "simulate", model, "--data", tmp_path / "odd.npz")


def _missing(found: Any) -> None:
    if found.exit_code == 3:
        raise MissingError(found.stderr)


def test_documentation_has_these_numbers(tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent / "docs" / "loihi.md").read_text()
    model = tmp_path / "digits.ska"
    call_json("train", "--dataset", "digits", "--passes", 2, "--out", model)
    for hardware, name in (("loihi1", "`loihi1`"), ("loihi1,loihi1-sanafe", "both sources")):
        learn = call_json("loihi", "simulate", model, "--hardware", hardware)
        infer = learn["inference"]
        for key, words, unit in (("time_s", "time", "s"), ("energy_j", "energy of what is priced", "J")):
            assert f"| {name}: {words} | {_span(infer[key], unit)} | {_span(learn[key], unit)} |" in page
    assert (
        f"| synaptic operations | {infer['events']['synaptic_op']:,.1f} | {learn['events']['synaptic_op']:,.1f} |"
        in page
    )
    assert f"| synapses updated | 0 | {learn['events']['synapse_update']:,.1f} |" in page
    dense, plain = learn["input_density"]["encoded"], learn["input_density"]["uncentred"]
    assert f"{dense:.0%}".replace("%", " %") in page and f"{plain:.0%}".replace("%", " %") in page
    for core in map_program(lower(Network((784, 256, 128, 64, 10))), "loihi1").cores:
        needs = (core.neurons, core.synaptic_bytes, core.in_axons, core.out_axons)
        assert f"| {core.layer} | {' | '.join(f'{need:,}' for need in needs)} |" in page
