"""What this machine must have for a test to mean anything."""

from __future__ import annotations

import os

import pytest

__all__ = ["require"]


def require(condition: bool, reason: str) -> None:
    """Skip the running test with `reason`, or fail it where nothing may be missing.

    `HEADTAIL_REQUIRE_ALL=1` marks a machine that was set up to run everything: there a missing
    library is a broken machine, and a skipped test would hide it.
    """
    if condition:
        return
    if os.environ.get("HEADTAIL_REQUIRE_ALL") == "1":
        pytest.fail(f"HEADTAIL_REQUIRE_ALL=1 but: {reason}", pytrace=False)
    pytest.skip(reason)
