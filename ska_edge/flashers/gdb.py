"""Any core behind a gdb stub (QEMU, a debug server), by gdb's own `load` and `compare-sections`."""

from __future__ import annotations

import re
from pathlib import Path

from firmware_sim.catalogue import Board

from ..firmware import family
from .base import FlashError, Job, MethodError, PortError, Step, Tool, ToolFlasher, tail
from .image import Region

_TARGET = re.compile(r"[A-Za-z0-9_.\-]*:[0-9]{1,5}|\[[0-9a-fA-F:]+\]:[0-9]{1,5}|/[^\s]+")


class Gdb(ToolFlasher):
    """gdb's exit code says little, so its words are judged: every section loaded must be named as equal."""

    method = "gdb"
    option = "target"
    how = "HOST:NUMBER or the path of a socket where a gdb stub listens; QEMU has one with -S -gdb tcp::1234"
    tool = Tool(("gdb-multiarch", "arm-none-eabi-gdb"), "Debian package gdb-multiarch")

    def check_place(self, board: Board, place: str, dry_run: bool) -> None:
        """HOST:NUMBER or a socket; whether somebody listens, gdb finds out."""
        if not _TARGET.fullmatch(place):
            raise MethodError(f"{board.name}: target {place!r}; {self.how}")
        if place.startswith("/") and not dry_run and not Path(place).is_socket():
            raise PortError(f"{board.name}: socket {place} is not there; {self.how}")

    def regions(self, board: Board) -> list[Region]:
        """RAM too: a stub writes whatever the core can."""
        regions = {region.name: region for region in (Region.flash(board), Region.ram(board))}
        return list(regions.values())

    def steps(self, job: Job, tool: str) -> list[Step]:
        """One call: load, compare, set what a reset would set, and let it run."""
        words = ["set tcp auto-retry off", f"target remote {job.place}", "load"]
        if job.verify:
            words.append("compare-sections")
        if family(job.board) == "arm":  # a reset takes the stack from the vectors and begins in Thumb state
            vectors = job.image.segments[0][0]
            words += [f"set $sp = {{unsigned int}}0x{vectors:x}", "set $xpsr = 0x01000000"]
        words += [f"set $pc = 0x{job.image.entry & ~1:x}", "detach"]
        script = [word for line in words for word in ("-ex", line)]

        def check(output: str) -> None:
            loaded = set(re.findall(r"^Loading section (\S+), size", output, re.MULTILINE))
            equal = set(re.findall(r"^Section (\S+), range .*: matched\.", output, re.MULTILINE))
            if not loaded or "Transfer rate" not in output or "Load failed" in output:
                raise FlashError(f"gdb: {job.place}: nothing was loaded{tail(output.encode())}")
            if job.verify and (loaded - equal or "MIS-MATCHED" in output):
                names = ", ".join(sorted(loaded - equal))
                raise FlashError(f"gdb: {job.place}: the memory does not hold what was loaded: {names} differ")

        return [Step((tool, "-nx", "-batch", "-readnever", *script, str(job.image.path)), check)]
