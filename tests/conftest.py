"""Names of parametrised tests that are the same in every process, so that they can be shared out."""

from __future__ import annotations


def pytest_make_parametrize_id(config: object, val: object, argname: str) -> str | None:
    return str(getattr(val, "__qualname__", argname)).replace("<locals>.", "") if callable(val) else None
