"""Profiles: how many bits everything gets (SPEC 1.3).  Exponents are `lower`'s to choose."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import NetworkError
from .fixed import Format


@dataclass(frozen=True)
class Profile:
    """Bits of a network's tensors; `decision` is the format of decisions and samples alike."""

    name: str
    weight_bits: int
    decision: Format

    @property
    def top(self) -> int:
        """Raw value of a decision of (almost) one."""
        return min(self.decision.hi, (1 << -self.decision.exponent) - 1)


_D15 = Format(16, -15)
_D8 = Format(8, -8, signed=False)

PROFILES = {
    profile.name: profile
    for profile in (
        Profile("w16d15", 16, _D15),
        Profile("w16d8", 16, _D8),
        Profile("w8d8", 8, _D8),
        Profile("w4d8", 4, _D8),
    )
}


def profile_named(name: str) -> Profile:
    """The profile, or a NetworkError that lists all."""
    if name not in PROFILES:
        raise NetworkError(f"profile {name!r}: allowed are {', '.join(PROFILES)}")
    return PROFILES[name]
