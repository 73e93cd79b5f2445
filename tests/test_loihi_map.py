"""Hardware profiles, circuits and maps: every constant has a source, every limit is kept or named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cli import call, call_json, refused

from firmware_sim.errors import HardwareError
from firmware_sim.neurocore.hardware import (
    COSTS,
    LIMITS,
    PROFILES,
    Hardware,
    Mesh,
    hardware_names,
    load_hardware,
    load_hardware_file,
)
from firmware_sim.table import SOURCES, tomllib
from ska_edge import Network, codec, lower, rule_named
from ska_edge.builder import FACTOR_BITS, KNOWLEDGE, Builder
from ska_edge.errors import MappingError, SkaError
from ska_edge.fixed import Format
from ska_edge.loihi.circuit import Circuit, Learn, Send, Sum, Work, circuit
from ska_edge.loihi.mapping import Map, check_fits, map_circuit, map_program, open_hardware, placed, slices, traffic
from ska_edge.loihi.placement import place
from ska_edge.loihi.remedies import remedies, resized
from ska_edge.network import parse_shape
from ska_edge.operations import Arg, Gather, Kind, Role
from ska_edge.profiles import profile_named
from ska_edge.program import Encoding, Program
from ska_edge.report.floorplan import floorplan_picture
from ska_edge.rules import PublishedBatch

LOIHI1 = (PROFILES / "loihi1.toml").read_text()
REFERENCE = (784, 256, 128, 64, 10)


def published(*shape: int, profile: str = "w8d8", **parameters: Any) -> Circuit:
    return circuit(lower(Network(shape, rule_named("published", **parameters)), profile))


def guided(*shape: int, profile: str = "w8d8", **parameters: Any) -> Circuit:
    return circuit(lower(Network(shape, rule_named("guided", **parameters)), profile))


def bare(**limits: int) -> Hardware:
    """Loihi 1's memory and mesh, with only these limits."""
    return replace(load_hardware("loihi1"), limits={}).with_limits(limits)


def patches(neurons: int = 12, patch: int = 9, inputs: int = 64) -> Program:
    """A layer in which every neuron sees a patch of its own, and learns it by the published rule."""
    build = Builder(profile_named("w8d8"))
    x = build.tensor("x", (inputs,), build.profile.decision, Role.INPUT, Kind.SAMPLE)
    index = (np.arange(neurons)[:, np.newaxis] * 5 + np.arange(patch)) % inputs
    where = build.constant("where", index, Format(16, 0), Kind.OTHER, 1)
    seen = build.scratch("seen", (neurons, patch), x.format, Kind.SAMPLE, 1)
    start = np.linspace(-0.5, 0.5, neurons * patch).reshape(neurons, patch)
    decision = build.tensor("decision", (neurons,), build.profile.decision, Role.OUTPUT, Kind.DECISION, 1)
    weights = build.state("W1", start, Format(8, -7), Kind.WEIGHT, 1)
    bias = build.state("b1", np.zeros(neurons), Format(16, -14), Kind.BIAS, 1)
    z = build.scratch("z1", (neurons,), KNOWLEDGE, Kind.KNOWLEDGE, 1)
    choice = build.tensor("choice", (), Format(FACTOR_BITS, 0), Role.OUTPUT, Kind.CHOICE, 1)
    for section in ("infer", "learn"):
        build.emit(section, Gather(seen.name, x.name, where.name, layer=1))
        build.contract(section, z, weights, seen, "oi,oi->o", c=bias)
    build.sigmoid("infer", decision, z)
    rate = build.normalised_rate("learn", "x1", x, 0.01, 1)
    factor = build.scratch("s1", (neurons,), build.factor_format(weights, x, -15), Kind.FACTOR, 1)
    build.flow("learn", factor, decision, z, rate, steps=7, rate=0.01, row=patch + 1)
    norm = build.scratch("norm", (neurons,), Format(16, -10, signed=False), Kind.NORM, 1)  # each patch has its own
    build.contract("learn", norm, seen, seen, "oi,oi->o")
    scaled = build.scale("learn", build.scratch("s1.scaled", (neurons,), factor.format, Kind.FACTOR, 1), factor, norm)
    build.learn_dense("learn", weights, bias, scaled, seen)
    for section in ("infer", "learn"):
        build.emit(section, Arg(choice.name, decision.name, layer=1))
    build.finish("learn")
    return build.program(Encoding(), {})


# --- hardware ---------------------------------------------------------------------------------------------------------


def tables(content: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(content, dict):
        yield where, content
        for key, value in content.items():
            yield from tables(value, f"{where}/{key}")


class TestHardware:
    @pytest.mark.parametrize("name", hardware_names())
    def test_every_constant_has_a_source(self, name: str) -> None:
        content = tomllib.loads((PROFILES / f"{name}.toml").read_text())
        for where, table in tables(content):
            numbers = [v for k, v in table.items() if k != "version" and isinstance(v, (int, float, list))]
            assert not numbers or str(table.get("source", "")).startswith(SOURCES), where
        assert "http" not in (PROFILES / f"{name}.toml").read_text()

    def test_what_was_published(self) -> None:
        davies = load_hardware("loihi1")
        limits = {name: davies.limit(name) for name in LIMITS}
        assert limits == {
            "cores": 128,
            "chip_synapses": None,
            "neurons": 1024,
            "synaptic_bytes": 128 << 10,
            "core_bytes": None,
            "in_axons": 4096,
            "out_axons": 4096,
            "weight_bits": 9,
            "neuron_state_bytes": 24,
            "epoch_steps": 63,
        }
        prices = {name: (c.energy_pj, c.time_ns) for name in COSTS if (c := davies.cost(name))}
        assert prices == {
            "synaptic_op": ((23.6, 23.6), (3.5, 3.5)),
            "reduction_op": ((23.6, 23.6), (3.5, 3.5)),
            "synapse_update": ((120.0, 120.0), (6.1, 6.1)),
            "neuron_update": ((81.0, 81.0), (8.4, 8.4)),
            "idle_update": ((52.0, 52.0), (5.3, 5.3)),
            "hop_within_tile": ((1.7, 1.7), (2.1, 2.1)),
            "hop_east_west": ((3.0, 3.0), (4.1, 4.1)),
            "hop_north_south": ((4.0, 4.0), (6.5, 6.5)),
            "barrier": (None, (113.0, 465.0)),
        }

    def test_loihi2_has_no_invented_price(self) -> None:
        data = load_hardware("loihi2").to_json()
        assert set(data["costs"].values()) == {None}
        assert data["mesh"] is data["static"] is data["synapses"] is None

    def test_two_sources_make_intervals(self) -> None:
        both = load_hardware("loihi1, loihi1-sanafe")
        assert both.name == "loihi1+loihi1-sanafe"
        cost = both.cost("synapse_update")  # SANA-FE says nothing of it
        assert cost is not None and cost.energy_pj == (120.0, 120.0)
        cost = both.cost("barrier")
        assert cost is not None and (cost.energy_pj, cost.time_ns) == (None, (113.0, 465.0))
        assert both.limits == load_hardware("loihi1").limits

    def test_a_file_of_ones_own(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.toml"
        path.write_text(LOIHI1.replace('name = "loihi1"', 'name = "mine"').replace("value = 1024", "value = 512"))
        assert load_hardware(str(path)).limit("neurons") == 512

    @pytest.mark.parametrize(
        ("old", "new", "words"),
        [
            ("version = 1\n", "", ["'version'", "missing"]),
            ("value = 1024", "value = 0", ["[limit]: [neurons]", "value = 0"]),
            ("value = 1024", "value = 10.5", ["10.5", "whole number"]),
            ("[limit.neurons]", "[limit.newrons]", ["unknown key 'newrons'", "neurons"]),
            ("[cost.barrier]", "[cost.barriers]", ["unknown key 'barriers'"]),
            ("time_ns = [113.0, 465.0]", "time_ns = [465.0, 113.0]", ["lower end first"]),
            ("time_ns = [113.0, 465.0]", "time_ns = [113.0]", ["a number, or two"]),
            ("energy_pj = 23.6", "energy_pj = -1", ["energy_pj = -1"]),
            ("energy_pj = 23.6", 'energy_pj = "little"', ["little", "a number"]),
            ("columns = 8", "columns = 9", ["144 cores", "128"]),
            ('soma = "fixed"', 'soma = "wet"', ["'wet'", "microcode"]),
            (
                'source = "cited: Davies et al. 2018, table 2, p. 96 (synaptic update',
                'source = "heard (',
                ["checked: "],
            ),
            ('name = "loihi1"', 'name = "loihi"', ["'loihi'", "'loihi1'"]),
            ("[mesh]", "[mesh", ["no TOML"]),
        ],
    )
    def test_mistakes_are_named(self, tmp_path: Path, old: str, new: str, words: list[str]) -> None:
        assert old in LOIHI1
        path = tmp_path / "loihi1.toml"
        path.write_text(LOIHI1.replace(old, new, 1))
        with pytest.raises(HardwareError) as caught:
            load_hardware_file(path)
        for word in (str(path), *words):
            assert word in str(caught.value)

    @pytest.mark.parametrize("name", ["", "loihi3", "../loihi1", "nowhere.toml", "loihi1,,loihi2"])
    def test_unknown_names(self, name: str) -> None:
        with pytest.raises(SkaError):
            open_hardware(name)

    def test_limits_of_ones_own(self) -> None:
        assert open_hardware("loihi1", {"neurons": 7}).limit("neurons") == 7
        for limits in ({"newrons": 7}, {"neurons": 0}, {"cores": 129}):
            with pytest.raises(SkaError):
                open_hardware("loihi1", limits)


# --- circuits ---------------------------------------------------------------------------------------------------------


class TestCircuit:
    def test_guided_reference(self) -> None:
        found = guided(*REFERENCE)
        assert [(p.name, p.layer, p.neurons) for p in found.on_chip if p.layer == 2] == [
            ("z2", 2, 128),
            ("head_z2", 2, 10),
        ]
        ends = {each.name: (each.source, each.target, each.synapses, each.copy) for each in found.connections.values()}
        assert ends["W2"] == ("z1", "z2", 256 * 128, False)
        assert ends["head_W2"] == ("z2", "head_z2", 1280, False)
        assert ends["head_W2.back"] == ("head_z2", "z2", 1280, True)
        assert sum(synapses for *_, synapses, copy in ends.values() if not copy) == 242_304 + 2560 + 1280

    @pytest.mark.parametrize("steps", [2, 8, 50])
    def test_a_neuron_works_k_times(self, steps: int) -> None:
        for found in (guided(9, 5, 4, 3, forward_steps=steps), published(9, 5, 3, forward_steps=steps)):
            for population in found.on_chip:
                works = [e for e in found.timetables["learn"].events if isinstance(e, Work)]
                mine = [event for event in works if event.population == population.name]
                assert len(mine) == population.forward_steps == (steps if population.name.startswith("z") else 1)

    def test_layers_wait_for_what_they_read(self) -> None:
        """Published: a layer hands on its last decision, so flows follow each other; guided: its first."""
        assert published(9, 5, 4, 3, forward_steps=8).timetables["learn"].steps == 3 * 8
        assert guided(9, 5, 4, 3, forward_steps=8).timetables["learn"].steps == 2 + 8

    @pytest.mark.parametrize("name", ["guided", "deep", "codes", "published"])
    def test_weights_are_read_before_they_learn(self, name: str) -> None:
        """In one timestep a core adds what has come and then learns, so equal steps are right, earlier ones are not."""
        found = {
            "guided": lambda: guided(9, 5, 3),
            "deep": lambda: guided(9, 8, 7, 6, 3, forward_steps=3),
            "codes": lambda: guided(9, 8, 7, 3, heads="code"),
            "published": lambda: published(9, 8, 7, 3),
        }[name]()
        events = found.timetables["learn"].events
        learns = [event for event in events if isinstance(event, Learn)]
        assert learns
        for learn in learns:
            reads = [e.step for e in events if isinstance(e, Send) and e.connection == learn.connection]
            assert reads and max(reads) <= learn.step

    def test_codes_do_not_learn(self) -> None:
        found = guided(16, 8, 6, 4, heads="code")
        learnt = {e.connection for e in found.timetables["learn"].events if isinstance(e, Learn)}
        assert learnt == {"W1", "W2", "head_W2", "head_W2.back"}
        assert found.connections["head_W1"].weight_bits == 4

    def test_unlabelled_and_watched_programs(self) -> None:
        network = Network((16, 8, 4), rule_named("guided", unlabelled="entropy"))
        for watched in (False, True):
            found = circuit(lower(network, watched=watched))
            assert len(found.connections) == 3

    def test_patches(self) -> None:
        found = circuit(patches())
        connection = found.connections["W1"]
        assert (connection.sources, connection.targets, connection.synapses) == (64, 12, 108)
        assert connection.fan_out(0, 2).sum() == 18
        kinds = {type(event) for event in found.timetables["learn"].events}
        assert kinds == {Send, Sum, Work, Learn}
        assert "seen" not in found.timetables["learn"].recorded

    def test_fields_and_votes(self) -> None:
        rule = rule_named("guided", readout="sum")
        found = circuit(lower(Network(parse_shape("64-4x6f5-3x4f4-10"), rule)))
        fields = found.connections["W1"]
        assert (fields.sources, fields.targets, fields.synapses, fields.learnt) == (64, 24, 24 * 25, True)
        votes = found.connections["vote1.up"]
        assert (votes.source, votes.target, votes.synapses, votes.learnt) == ("head_z1", "head_z2", 10, False)

    def test_shared_weights_are_refused(self, tmp_path: Path) -> None:
        model = tmp_path / "filters.ska"
        codec.save(lower(Network(parse_shape("64-3c4s2-10"), rule_named("guided"))), model)
        words = refused("loihi", "map", model)
        assert "layer 1: W1 learns from a gradient summed" in words and "take fields" in words

    def test_a_batch_is_refused(self) -> None:
        program = lower(Network((9, 4, 3), PublishedBatch(batch=5)))
        with pytest.raises(MappingError, match="a whole batch"):
            circuit(program)


# --- maps -------------------------------------------------------------------------------------------------------------


def block_bits(hardware: Hardware, synapses: int, bits: int) -> int:
    """Memory of one axon, block by block, written once more."""
    form = hardware.synapses
    if form is None:
        return synapses * bits
    total = 0
    while synapses > 0:
        here = min(synapses, form.block_synapses or synapses)
        words = -(-(here * (form.synapse_bits or bits) + form.header_bits) // form.word_bits)
        total += words * form.word_bits
        synapses -= here
    return total


def recount(found: Map) -> list[dict[str, int]]:
    """What every core needs, from matrices of ones where there is a synapse: nothing shared with the mapping."""
    reach = {}
    for connection in found.circuit.connections.values():
        matrix = np.zeros((connection.targets, connection.sources), bool)
        if connection.index is None:
            matrix[:] = True
        else:
            for target, row in enumerate(connection.index):
                matrix[target, row] = True
        reach[connection.name] = matrix
    needs = []
    for core in found.cores:
        rows = {piece.population: slice(piece.start, piece.stop) for piece in core.slices}
        need = dict.fromkeys(("neurons", "synaptic_bytes", "state", "in_axons", "out_axons", "synapses"), 0)
        bits = 0
        for name, own in rows.items():
            need["neurons"] += own.stop - own.start
            need["state"] += (own.stop - own.start) * found.circuit.populations[name].state_bytes
        for connection in found.circuit.connections.values():
            if connection.target in rows:
                own = reach[connection.name][rows[connection.target]]
                for fan_out, axons in zip(*np.unique(own.sum(axis=0), return_counts=True), strict=True):
                    bits += int(axons) * block_bits(found.hardware, int(fan_out), connection.weight_bits)
                need["in_axons"] += int(own.any(axis=0).sum())
                need["synapses"] += int(own.sum())
            if connection.source in rows:
                for other in found.cores:
                    for piece in other.slices:
                        if piece.population == connection.target:
                            there = reach[connection.name][piece.start : piece.stop, rows[connection.source]]
                            need["out_axons"] += int(there.any(axis=0).sum())
        need["synaptic_bytes"] = -(-bits // 8)
        need["core_bytes"] = need["synaptic_bytes"] + need.pop("state")
        needs.append(need)
    return needs


def check(found: Map) -> None:
    """Every neuron has one place, every count is right, and the violations are exactly the limits that are broken."""
    for population in found.circuit.on_chip:
        homes = [p for core in found.cores for p in core.slices if p.population == population.name]
        assert sorted(n for p in homes for n in range(p.start, p.stop)) == list(range(population.neurons))
    broken = set()
    needs = recount(found)
    for number, (core, need) in enumerate(zip(found.cores, needs, strict=True)):
        assert {name: need[name] for name in core.needs()} == core.needs(), number
        assert {found.circuit.populations[piece.population].layer for piece in core.slices} == {core.layer}
        for name in core.needs():
            allowed = found.hardware.limit(name)
            if allowed is not None and need[name] > allowed:
                broken.add((number, name, need[name]))
    synapses = sum(need["synapses"] for need in needs)
    for name, amount in (("cores", len(found.cores)), ("chip_synapses", synapses)):
        allowed = found.hardware.limit(name)
        if allowed is not None and amount > allowed:
            broken.add((None, name, amount))
    layered = {"weight_bits", "neuron_state_bytes", "epoch_steps"}
    assert {(v.core, v.limit, v.need) for v in found.violations if v.limit not in layered} == broken


def drawn_circuit(chance: np.random.Generator, bases: list[Circuit], number: int) -> Circuit:
    """Every twentieth has patches; the others are a base with inputs and hidden layers of 1 to 512 neurons."""
    if number % 20 == 0:
        return circuit(patches(int(chance.integers(1, 40)), int(chance.integers(1, 12))))
    base = bases[int(chance.integers(len(bases)))]
    return resized(base, {name: int(2 ** chance.uniform(0, 9)) for name in base.populations if name[0] in "xz"})


def drawn_hardware(chance: np.random.Generator, number: int) -> Hardware:
    """A profile with up to four limits set anew."""
    names = chance.choice(list(LIMITS), size=int(chance.integers(0, 5)), replace=False)
    bits = {"synaptic_bytes": 15, "core_bytes": 15, "chip_synapses": 18, "weight_bits": 5, "cores": 7}
    limits = {str(name): int(2 ** chance.uniform(2, bits.get(str(name), 11))) for name in names}
    return load_hardware(hardware_names()[number % 3]).with_limits(limits)


class TestLimits:
    """Nets at, one under and one over each limit."""

    @pytest.mark.parametrize(("neurons", "cores"), [(1023, 1), (1024, 1), (1025, 2)])
    def test_neurons(self, neurons: int, cores: int) -> None:
        found = map_circuit(published(3, neurons), load_hardware("loihi1"))
        assert (len(found.cores), found.violations) == (cores, ())
        check(found)

    @pytest.mark.parametrize(("inputs", "cores"), [(2047, 1), (2048, 1), (2049, 2)])
    def test_synaptic_bytes(self, inputs: int, cores: int) -> None:
        """62 weights of 8 bits and their header are 64 bytes an axon; 2,048 axons fill a core to the byte."""
        found = map_circuit(published(inputs, 62), load_hardware("loihi1"))
        assert (len(found.cores), found.violations) == (cores, ())
        if inputs == 2048:
            assert found.cores[0].synaptic_bytes == 128 << 10
        check(found)

    @pytest.mark.parametrize(("inputs", "fits"), [(4095, True), (4096, True), (4097, False)])
    def test_in_axons(self, inputs: int, fits: bool) -> None:
        found = map_circuit(published(inputs, 8), load_hardware("loihi1"))
        check(found)
        if not fits:
            with pytest.raises(MappingError) as caught:
                check_fits(found)
            assert "layer 1, core 0: needs 4,097 axons that end in a core; the limit is 4,096" in str(caught.value)
        assert (not found.violations) is fits

    @pytest.mark.parametrize(("limit", "cores"), [(25, 1), (24, 1), (23, 2)])
    def test_out_axons(self, limit: int, cores: int) -> None:
        """8 neurons that each reach three cores."""
        found = map_circuit(published(4, 8, 24), bare(out_axons=limit, neurons=8))
        assert [core.layer for core in found.cores] == [1] * cores + [2] * 3
        assert not found.violations
        check(found)

    @pytest.mark.parametrize(("limit", "fits"), [(9, True), (8, True), (7, False)])
    def test_weight_bits(self, limit: int, fits: bool) -> None:
        found = map_circuit(guided(8, 4, 2), bare(weight_bits=limit))
        assert (not found.violations) is fits
        if not fits:
            assert str(found.violations[0]) == "layer 1: needs 8 bits a weight; the limit is 7"

    def test_sixteen_bits_do_not_fit_loihi(self) -> None:
        found = map_circuit(guided(8, 4, 2, profile="w16d8"), load_hardware("loihi1"))
        assert [v.limit for v in found.violations] == ["weight_bits"]
        assert remedies(found)[0] == "weights of 8 bits"

    @pytest.mark.parametrize(("steps", "fits"), [(62, True), (63, True), (64, False)])
    def test_epoch(self, steps: int, fits: bool) -> None:
        found = map_circuit(published(8, 4, forward_steps=steps), load_hardware("loihi1"))
        assert (not found.violations) is fits
        if not fits:
            assert str(found.violations[0]) == "layer 1: needs 64 timesteps a learning epoch; the limit is 63"
            assert "at most 63 forward steps" in remedies(found)

    @pytest.mark.parametrize(("limit", "fits"), [(7, True), (6, True), (5, False)])
    def test_neuron_state(self, limit: int, fits: bool) -> None:
        found = map_circuit(guided(8, 4, 2), bare(neuron_state_bytes=limit))
        assert (not found.violations) is fits

    @pytest.mark.parametrize("name", ["cores", "chip_synapses"])
    def test_the_chip(self, name: str) -> None:
        need = {"cores": 5, "chip_synapses": 3 * 20}[name]
        for limit, fits in ((need + 1, True), (need, True), (need - 1, False)):
            found = map_circuit(published(3, 20), bare(neurons=4, **{name: limit}))
            assert (not found.violations) is fits
            check(found)

    def test_one_pool_of_memory(self) -> None:
        """Synapses 3 x 9 bytes as blocks of 64 bits, and 6 bytes a neuron."""
        whole = map_circuit(published(3, 8), bare()).cores[0]
        need = whole.synaptic_bytes + whole.state_bytes
        for limit, cores in ((need + 1, 1), (need, 1), (need - 1, 2)):
            found = map_circuit(published(3, 8), bare(core_bytes=limit))
            assert (len(found.cores), found.violations) == (cores, ())
            check(found)

    def test_a_head_moves_out_when_there_is_no_room(self) -> None:
        alone = map_circuit(guided(64, 16, 10), load_hardware("loihi1"))
        assert [core.neurons for core in alone.cores] == [26]
        for limit, expected in ((26, [26]), (25, [16, 10])):
            found = map_circuit(guided(64, 16, 10), bare(neurons=limit))
            assert [core.neurons for core in found.cores] == expected
            check(found)


class TestMaps:
    def test_reference_network_on_loihi1(self) -> None:
        """By hand: 128 neurons are two blocks of 72 bytes an axon; heads are 16 bytes an axon."""
        found = map_program(lower(Network(REFERENCE)), "loihi1")
        assert not found.violations
        needs = [(core.layer, core.neurons, core.synaptic_bytes, core.in_axons, core.out_axons) for core in found.cores]
        assert needs == [
            (1, 138, 784 * 144 + 10 * 144 + 256 * 16, 784 + 10 + 256, 128 * 2 + 10 * 2),
            (1, 128, 784 * 144 + 10 * 144, 784 + 10, 128 * 2),
            (2, 138, 256 * 144 + 10 * 144 + 128 * 16, 256 + 10 + 128, 128 * 2 + 10),
            (3, 74, 128 * 72 + 10 * 72 + 64 * 16, 128 + 10 + 64, 64 + 10),
        ]
        check(found)
        assert found.utilisation()["synaptic_bytes"] == 118_432 / 131_072

    def test_picture(self) -> None:
        found = map_program(lower(Network(REFERENCE)), "loihi1")
        drawn = floorplan_picture(found)
        assert drawn.svg.startswith(b"<?xml") and drawn.png[1:4] == b"PNG"
        assert "4 cores of loihi1 hold 284,080 bytes" in drawn.alt
        assert drawn.svg == floorplan_picture(found).svg
        assert floorplan_picture(map_program(lower(Network(REFERENCE)), "loihi2")).svg

    @pytest.mark.parametrize("limits", [{}, {"neurons": 3}, {"in_axons": 17}, {"synaptic_bytes": 150}])
    def test_patches(self, limits: dict[str, int]) -> None:
        found = map_circuit(circuit(patches()), bare(**limits))
        assert not found.violations
        assert len(found.cores) > bool(limits)
        check(found)

    def test_a_thousand_networks(self) -> None:
        """Whatever the network and the limits: counts are right, and nothing is broken that is not said."""
        chance = np.random.default_rng(7)
        bases = [guided(6, 5, 3), guided(6, 5, 4, 3), guided(5, 4, 3, heads="code"), published(6, 5, 3)]
        bases += [guided(6, 5, 4, 4, 3, profile="w4d8"), published(4, 3, profile="w16d8"), published(4, 3, 3, 2)]
        fitted = split = 0
        for number in range(1000):
            found = map_circuit(drawn_circuit(chance, bases, number), drawn_hardware(chance, number))
            check(found)
            fitted += not found.violations
            split += not found.violations and len(found.cores) > len(found.circuit.on_chip)
        assert 300 < fitted < 950 and split > 50

    def test_remedies_are_true(self) -> None:
        program = lower(Network((64, 40, 10)))
        hardware = open_hardware("loihi1", {"cores": 2, "neurons": 20})
        found = map_program(program, hardware)
        assert [v.limit for v in found.violations] == ["cores"]
        ways = remedies(found)
        hidden = next(int(way.split()[1]) for way in ways if "hidden" in way)
        for width, fits in ((hidden, True), (hidden + 1, False)):
            assert (not map_program(lower(Network((64, width, 10))), hardware).violations) is fits
        assert remedies(map_program(program, "loihi1")) == []

    def test_slices_are_even(self) -> None:
        population = guided(8, 100, 2).populations["z1"]
        for count in (1, 3, 7, 100):
            sizes = [piece.neurons for piece in slices(population, count)]
            assert sum(sizes) == 100 and max(sizes) - min(sizes) <= 1


class TestPlacement:
    def test_never_longer_than_in_order(self) -> None:
        chance = np.random.default_rng(3)
        shorter = 0
        for cores in (1, 2, 5, 9, 16, 30):
            axons = chance.integers(0, 100, (cores + 1, cores)) * (chance.random((cores + 1, cores)) < 0.2)
            found = place(axons.astype(float), Mesh(8, 4, 4, "cited: a test"))
            assert sorted(set(found.slots)) == sorted(found.slots) and max(found.slots) < 128
            assert found.distance is not None and found.in_order is not None
            assert found.distance <= found.in_order
            shorter += found.distance < found.in_order
        assert shorter >= 3

    def test_distance_is_that_of_the_map(self) -> None:
        found = placed(map_circuit(guided(64, 40, 30, 10), bare(neurons=6)))
        mesh = found.hardware.mesh
        assert mesh is not None and found.placement is not None
        total = 0.0
        axons = traffic(found)
        for source, target in np.ndindex(*axons.shape):
            there = found.tile(found.cores[target])
            here = (0, 0) if source == len(found.cores) else found.tile(found.cores[source])
            assert here is not None and there is not None
            hops = abs(here[0] - there[0]) + abs(here[1] - there[1])
            total += axons[source, target] * (hops or 0.25 * (source != target))
        assert total == pytest.approx(found.placement.distance)
        assert found.placement.distance < found.placement.in_order
        again = placed(map_circuit(guided(64, 40, 30, 10), bare(neurons=6)))
        assert again.placement == found.placement


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "digits.ska"
    codec.save(lower(Network((64, 16, 10))), path)
    return path


class TestCommand:
    def test_map(self, model: Path, tmp_path: Path) -> None:
        found = call_json("loihi", "map", model, "--hardware", "loihi1", "--out", tmp_path / "out")
        assert found["violations"] == []
        keys = {"layer", "neurons", "synaptic_bytes", "in_axons", "out_axons"}
        assert all(keys <= set(core) for core in found["cores"])
        assert json.loads((tmp_path / "out" / "map.json").read_text())["cores"] == found["cores"]
        assert (tmp_path / "out" / "floorplan.svg").read_bytes().startswith(b"<?xml")
        words = call("loihi", "map", model).stdout
        assert "2,032" in words and "synaptic bytes 1.6%" in words

    def test_a_map_that_does_not_fit(self, model: Path, tmp_path: Path) -> None:
        result = call("loihi", "map", model, "--limit", "in_axons=63", "--out", tmp_path / "out")
        assert result.exit_code == 1
        assert "layer 1, core 0: needs 74 axons that end in a core; the limit is 63" in result.stderr
        assert "would fit with: about 53 inputs" in result.stdout
        assert not (tmp_path / "out" / "floorplan.svg").exists()
        result = call("loihi", "map", model, "--limit", "in_axons=63", "--json")
        assert result.exit_code == 1
        assert json.loads(result.stdout)["violations"][0]["limit"] == "in_axons"

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            (["--hardware", "loihi9"], "nearest: loihi"),
            (["--hardware", "nowhere.toml"], "cannot be read"),
            (["--limit", "neurons"], "wanted NAME=NUMBER"),
            (["--limit", "neurons=-3"], "wanted NAME=NUMBER"),
            (["--limit", "neurons=\u00b2"], "wanted NAME=NUMBER"),
            (["--limit", f"neurons={'9' * 5000}"], "wanted NAME=NUMBER"),
            (["--limit", "newrons=3"], "limit 'newrons'"),
            (["--out", "/proc/here"], "cannot be written"),
        ],
    )
    def test_bad_input(self, model: Path, words: list[str], expected: str) -> None:
        assert expected in refused("loihi", "map", model, *words)

    def test_no_model(self, tmp_path: Path) -> None:
        (tmp_path / "noise.ska").write_bytes(bytes(99))
        assert "noise.ska" in refused("loihi", "map", tmp_path / "noise.ska")
        batch = tmp_path / "batch.ska"
        codec.save(lower(Network((9, 4, 3), PublishedBatch(batch=5))), batch)
        assert "a whole batch" in refused("loihi", "map", batch)
