"""What fits where: exact where it is planned, reserved where it is not, and what to do when it does not fit."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from firmware_sim.catalogue import CORES, Board, board_names, load_board
from ska_edge import Network, codec, fits, lower
from ska_edge.cli import main
from ska_edge.errors import FitError
from ska_edge.fits import RESERVES, check_fit, fit, fits_everywhere, largest_tensors, remedies
from ska_edge.plan import memory, plan
from ska_edge.program import Program
from ska_edge.rules import rule_named

UNO = load_board("arduino_uno")


@pytest.fixture(scope="module")
def digits() -> Program:
    return lower(Network((64, 16, 10)))


@pytest.fixture(scope="module")
def reference() -> Program:
    return lower(Network((784, 256, 128, 64, 10)), "w16d15")


def with_ram(board: Board, size: int) -> Board:
    """The board with another amount of RAM."""
    memories = tuple(dataclasses.replace(m, bytes=size) if m is board.data else m for m in board.memories)
    return dataclasses.replace(board, memories=memories)


class TestVerdict:
    def test_digits_fit_an_uno(self, digits: Program) -> None:
        found = fit(digits, UNO)
        ram, flash = found.needs
        reserve = RESERVES["avr5"]
        assert found.fits
        assert ram.needed == 1409 + reserve.stack + reserve.port
        assert ram.margin == 2048 - ram.needed >= 0
        assert flash.parts["constants"] == memory(digits)["constants"]
        assert found.tightest.resource == "ram"

    def test_planned_parts_are_the_plan(self, digits: Program, reference: Program) -> None:
        for program in (digits, reference):
            layout, parts = plan(program), fit(program, UNO).needs[0].parts
            assert sum(count for part, count in parts.items() if part not in ("port", "stack")) == layout.arena_bytes
            start = fit(program, UNO).needs[1].parts["start_state"]
            assert start == layout.fixed_bytes - layout.state_start

    def test_reference_fits_no_uno(self, reference: Program) -> None:
        found = fit(reference, UNO)
        assert not found.fits
        assert all(need.margin < 0 for need in found.needs)
        assert [one.board.name for one in fits_everywhere(reference) if one.fits and one.board.silicon] == [
            "nucleo_h743zi",
            "rpi_pico2",
        ]

    def test_exactly_full_fits_and_one_byte_less_does_not(self, digits: Program) -> None:
        needed = fit(digits, UNO).needs[0].needed
        assert fit(digits, with_ram(UNO, needed)).fits
        assert not fit(digits, with_ram(UNO, needed - 1)).fits

    def test_more_ram_means_more_margin(self, digits: Program) -> None:
        margins = [fit(digits, with_ram(UNO, size)).needs[0].margin for size in range(512, 8192, 256)]
        assert margins == sorted(margins)
        assert len(set(margins)) == len(margins)

    def test_more_network_means_less_margin(self) -> None:
        for name in board_names():
            board = load_board(name)
            found = [fit(lower(Network((20, width, 3))), board) for width in (1, 4, 9, 30, 100)]
            margins = [min(need.margin for need in one.needs) for one in found]
            assert margins == sorted(margins, reverse=True)

    def test_shared_memory_counts_once(self, digits: Program) -> None:
        board = load_board("qemu_rv32")
        (need,) = fit(digits, board).needs
        assert need.resource == "memory"
        apart = fit(digits, load_board("longan_nano")).needs  # the same core
        assert need.needed == sum(one.needed for one in apart)

    def test_every_core_has_reserves(self) -> None:
        assert set(RESERVES) == set(CORES)
        assert all(min(dataclasses.astuple(reserve)) > 0 for reserve in RESERVES.values())
        assert not fits.RESERVES_MEASURED

    def test_snapshots(self, digits: Program) -> None:
        uno, pico, blind = (fit(digits, load_board(name)) for name in ("arduino_uno", "rpi_pico", "qemu_m3"))
        assert (uno.snapshots_fit, pico.snapshots_fit, blind.snapshots_fit) == (False, True, None)
        assert uno.snapshot_bytes == 2 * (uno.needs[1].parts["start_state"] + fits.SNAPSHOT_HEADER)
        assert pico.snapshot_bytes == 2 * 4096
        sectors = fit(digits, load_board("nucleo_f446re"))
        assert (sectors.snapshot_bytes, sectors.snapshots_fit) == (2 * 131072, True)


class TestRemedies:
    def test_error_names_tensors_and_ways_out(self, reference: Program) -> None:
        with pytest.raises(FitError) as caught:
            check_fit(reference, UNO)
        message = str(caught.value)
        for words in ("arduino_uno: does not fit", "W1 401,408", "weights 483,328", "w4d8", "nucleo_h743zi"):
            assert words in message
        order = [message.index(word) for word in ("narrower profile", "smaller layers", "next board up")]
        assert order == sorted(order)

    def test_fitting_is_no_error(self, digits: Program) -> None:
        assert check_fit(digits, UNO).fits

    def test_what_suffices_is_believed(self) -> None:
        """An estimate that says it suffices is checked by lowering that network."""
        shape = (64, 32, 10)
        ways = remedies(lower(Network(shape), "w16d15"), UNO)
        profile = next(way for way in ways if way.kind == "profile" and way.enough)
        assert fit(lower(Network(shape), profile.text.split()[2].rstrip(":")), UNO).fits
        layer = next(way for way in ways if way.kind == "layer" and way.enough)
        hidden = int(layer.text.split("about ")[1].split(":")[0])
        assert fit(lower(Network((64, hidden, 10)), "w16d15"), UNO).fits
        assert not fit(lower(Network((64, hidden + 4, 10)), "w16d15"), UNO).fits
        assert [way.kind for way in ways] == [*["profile"] * (len(ways) - 2), "layer", "board"]

    @pytest.mark.parametrize(
        ("rule", "shape"),
        [
            ("guided", (64, 16, 10)),
            ("guided", (100, 40, 20, 10)),
            ("guided", (16, 16, 16, 16)),
            ("published", (64, 16, 10)),
            ("published", (100, 40, 20, 10)),
            ("published", (12, 3)),
        ],
    )
    def test_estimates_are_near_the_truth(self, rule: str, shape: tuple[int, ...]) -> None:
        wide = lower(Network(shape, rule_named(rule)), "w16d15")
        board = with_ram(load_board("rpi_pico"), 256)
        for way in remedies(wide, board):
            if way.kind == "profile":
                narrow = lower(Network(shape, rule_named(rule)), way.text.split()[2].rstrip(":"))
                true = fit(narrow, board).needs[0].needed
                assert true <= way.ram_bytes <= true + 2 * sum(shape) + 64

    def test_narrowest_has_no_narrower(self) -> None:
        program = lower(Network((784, 16, 10)), "w4d8")
        assert [way.kind for way in remedies(program, UNO)] == ["layer", "board"]

    def test_no_board_holds_it(self) -> None:
        program = lower(Network((700, 400, 10)), "w16d8")
        last = remedies(program, UNO)[-1]
        assert (last.kind, last.enough) == ("board", False)
        assert "none" in last.text

    def test_largest_tensors(self, reference: Program) -> None:
        found = [tensor.byte_count for tensor in largest_tensors(reference)]
        assert found == sorted(found, reverse=True)
        assert found[0] == 784 * 256 * 2


class TestCommand:
    def test_everywhere(self, digits: Program, tmp_path: Path) -> None:
        path = tmp_path / "digits.ska"
        codec.save(digits, path)
        result = CliRunner().invoke(main, ["boards", "--fits", str(path)])
        assert result.exit_code == 0, result.output
        assert "1,921 / 2,048" in result.stdout
        assert "not yet measured" in result.stdout
        rows = json.loads(CliRunner().invoke(main, ["boards", "--fits", str(path), "--json"]).stdout)["boards"]
        assert {row["board"] for row in rows} == set(board_names())
        uno = next(row for row in rows if row["board"] == "arduino_uno")
        assert uno["fits"] is True
        assert uno["needs"]["ram"]["margin"] == 2048 - 1921
        assert (uno["tightest"], uno["reserves"]) == ("ram", "estimate")

    def test_one_that_does_not(self, reference: Program, tmp_path: Path) -> None:
        path = tmp_path / "reference.ska"
        codec.save(reference, path)
        result = CliRunner().invoke(main, ["boards", "arduino_uno", "--fits", str(path)])
        assert result.exit_code == 0, result.output
        assert "remedy: narrower profile" in result.stdout
        result = CliRunner().invoke(main, ["boards", "arduino_uno", "--fits", str(path), "--json"])
        (row,) = json.loads(result.stdout)["boards"]
        assert [way["kind"] for way in row["remedies"]][-2:] == ["layer", "board"]
