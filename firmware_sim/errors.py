"""What can go wrong with a board's file, an image, or while it runs."""

from __future__ import annotations


class SimError(Exception):
    """Base of all errors of the simulator; the message names what was found, what is allowed and the remedy."""

    exit_code = 2


class BoardError(SimError):
    """A board is unknown, or its file breaks the schema of `catalogue`: key, type, size, overlap or missing source."""


class HardwareError(SimError):
    """A neurocore profile is unknown, or its file breaks the schema of `neurocore.hardware`."""


class ActivityError(SimError):
    """A map or a recording of activity is not what the neurocore machine reads: key, shape, name or range."""

    """A board is unknown, or its file is wrong: the message names file, key, what was found and what is allowed."""


class MissingError(SimError):
    """Something is missing on this machine; the message names it and how to get it."""

    exit_code = 3


class ImageError(SimError):
    """An image cannot be simulated: no ELF file, another architecture, no symbols, or it lies where no memory is."""


class RunError(SimError):
    """The firmware did what it must not; the message says where, as function, file and line."""

    exit_code = 1


class BusFault(RunError):  # noqa: N818 - the name that Arm's manuals give it
    """An access to an address where the board has nothing, or a write to what cannot be written."""


class FlashError(RunError):
    """An erasure that the flash controller does not do: not enabled, no page, or a kind that is not modelled."""


class BudgetError(RunError):
    """The run was not over when its cycles were spent: an endless loop, or a budget too small."""


class SelfModifyingError(RunError):
    """Instructions were overwritten after they had run: their costs were counted for others."""


class StackOverflowError(RunError):
    """The stack reached into the variables below it."""


class InstructionError(RunError):
    """An instruction that the core does not have, or an exception that nobody handles."""
