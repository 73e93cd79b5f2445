"""Every error a user of firmware_sim can cause, by type.  All derive from `SimError`."""

from __future__ import annotations


class SimError(Exception):
    """Base of all typed errors.  The message names the object, what was found, what is allowed and the remedy."""

    exit_code = 2


class BoardError(SimError):
    """A board is unknown, or its file breaks the schema of `catalogue`: key, type, size, overlap or missing source."""


class HardwareError(SimError):
    """A neurocore profile is unknown, or its file breaks the schema of `neurocore.hardware`."""


class ActivityError(SimError):
    """A map or a recording of activity is not what the neurocore machine reads: key, shape, name or range."""
