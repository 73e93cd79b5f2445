"""Arm chips behind a debug probe, by pyOCD."""

from __future__ import annotations

from firmware_sim import catalogue

from .base import FlashError, Job, MethodError, Step, Tool, ToolFlasher


class Pyocd(ToolFlasher):
    """pyOCD writes; a second call compares every byte and lets the chip run."""

    method = "pyocd"
    option = "port"
    how = ""
    tool = Tool(("pyocd",), "pip install pyocd")

    def steps(self, job: Job, tool: str) -> list[Step]:
        """A probe's serial number (--port) only where there are several."""
        target = job.upload(catalogue.Pyocd).target
        probe = ("--no-wait", "-t", target, *(("-u", job.place) if job.place else ()))
        write = Step((tool, "load", *probe, str(job.image.path)))
        if not job.verify:
            return [write]
        start, binary = job.image.binary()
        if '"' in str(binary):
            raise MethodError(f"{binary}: pyOCD cannot take quotes in a path; move the image")

        def check(output: str) -> None:
            if f"All {binary.stat().st_size} bytes match" not in output:
                raise FlashError(f"pyocd: the chip does not hold the image: {output.strip()[-200:]}")

        return [write, Step((tool, "commander", *probe, "-c", f'compare 0x{start:x} "{binary}"', "-c", "reset"), check)]
