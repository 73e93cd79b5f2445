"""Chips behind a debug probe, by OpenOCD."""

from __future__ import annotations

from firmware_sim import catalogue

from .base import FlashError, Job, MethodError, Step, Tool, ToolFlasher


class Openocd(ToolFlasher):
    """OpenOCD's `program` erases, writes and resets; its `verify` compares with what it reads back."""

    method = "openocd"
    option = "port"
    how = ""
    tool = Tool(("openocd",), "Debian package openocd")

    def steps(self, job: Job, tool: str) -> list[Step]:
        """One call; a probe's serial number (--port) only where there are several."""
        upload = job.upload(catalogue.Openocd)
        if set(str(job.image.path)) & set("{}\\"):
            raise MethodError(f"{job.image.path}: OpenOCD cannot take braces or backslashes in a path; move the image")
        probe = ("-c", f"adapter serial {job.place}") if job.place else ()
        verify = "verify " if job.verify else ""
        program = f"program {{{job.image.path}}} {verify}reset exit"
        files = ("-f", upload.interface, *probe, "-f", upload.target)

        def check(output: str) -> None:
            wanted = "** Verified OK **" if job.verify else "** Programming Finished **"
            if wanted not in output:
                raise FlashError(f"openocd: did not say {wanted!r}; the chip may hold half an image")

        return [Step((tool, *files, "-c", program), check)]
