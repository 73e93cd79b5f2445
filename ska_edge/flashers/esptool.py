"""Espressif's chips over their boot ROM's serial protocol, by esptool 5 or later."""

from __future__ import annotations

from firmware_sim import catalogue

from ..firmware import chip
from .base import Job, SerialFlasher, Step, Tool
from .image import ImageError


class Esptool(SerialFlasher):
    """The image is in the boot ROM's own format; esptool compares checksums after writing, we ask for all bytes too."""

    method = "esptool"
    tool = Tool(("esptool",), "pip install 'esptool>=5'")

    def steps(self, job: Job, tool: str) -> list[Step]:
        """Write, read back."""
        upload = job.upload(catalogue.Esptool)
        if not any(section.name == ".text" for section in job.image.read.sections):
            raise ImageError(
                f"{job.image.path.name}: no section .text, which the boot ROM's format must tell from data"
            )
        image = job.image.converted(".bin", chip(job.board).binary(job.image.path, job.image.read))
        line = (tool, "--chip", upload.chip, "--port", job.place, "--baud", str(upload.baud))
        file = (f"0x{upload.offset:x}", str(image))
        steps = [Step((*line, "write-flash", *file))]
        return [*steps, Step((*line, "verify-flash", *file))] if job.verify else steps
