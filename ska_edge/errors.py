"""Every error a user can cause, by type.  All derive from `SkaError`; the command line turns each into an exit code."""

from __future__ import annotations


class SkaError(Exception):
    """Base of all typed errors.  The message names the object, what was found, what is allowed and the remedy."""

    exit_code = 2


class ProgramError(SkaError):
    """A Program breaks a rule of SPEC.md: shapes, formats, order of definition, locality or provable range."""


class FileError(SkaError):
    """A file cannot be read or written, or its content is not what its name promises."""


class DataError(SkaError):
    """Samples or labels are unusable: NaN, wrong width, empty, out of range."""


class NetworkError(SkaError):
    """A declared network or rule is impossible: absurd rate, K below 2, no layers, unknown name."""


class FitError(SkaError):
    """A Program does not fit a board; the message has the bytes by part and tensor, and the nearest remedies."""


class MappingError(SkaError):
    """A Program cannot be cut into cores, or breaks a limit of the hardware; names layer, core, need and limit."""


class LavaError(SkaError):
    """A run in Lava failed: an exception in one of its processes, whose name is in the message, or no sign of life."""

    exit_code = 1


class MissingError(SkaError):
    """Something is missing on this machine; the message names it and how to get it."""

    exit_code = 3
