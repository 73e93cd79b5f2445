"""AVR boards over their bootloader's serial protocol, by avrdude."""

from __future__ import annotations

from firmware_sim import catalogue

from .base import Job, SerialFlasher, Step, Tool


class Avrdude(SerialFlasher):
    """avrdude reads the flash back and compares, unless told not to."""

    method = "avrdude"
    tool = Tool(("avrdude",), "Debian package avrdude")

    def steps(self, job: Job, tool: str) -> list[Step]:
        """One call; -D, because a bootloader erases page by page and cannot erase the chip it runs from."""
        upload = job.upload(catalogue.Avrdude)
        chip = ("-p", upload.part, "-c", upload.programmer, "-P", job.place, "-b", str(upload.baud))
        skip = () if job.verify else ("-V",)
        return [Step((tool, *chip, "-D", *skip, "-U", f"flash:w:{job.image.hex()}:i"))]
