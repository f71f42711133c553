"""`headtail` in this process, as a user types it, through click's own runner."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner

from headtail.cli.main import headtail

__all__ = ["run"]


def run(*arguments: object, good: bool = True) -> dict[str, Any]:
    """The JSON object that a command ends with; raises the `HeadtailError` that it raises."""
    given = [*map(str, arguments), "--json"]
    done = CliRunner().invoke(headtail, given, standalone_mode=False, catch_exceptions=False)
    assert done.return_value == (0 if good else 1), done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
