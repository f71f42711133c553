"""`headtail doctor`."""

from __future__ import annotations

import click

from headtail.cli.console import Console, json_option

__all__ = ["command"]


@click.command("doctor")
@json_option
def command(as_json: bool) -> int:
    """Check this environment: runtimes, versions, clashing import names. Exits 3 on a defect."""
    console = Console(as_json)
    from headtail.environment import examine
    from headtail.report import text

    checks = examine()
    body = [[check.name, "ok" if check.good else check.severity, check.detail] for check in checks]
    console.print(text(["check", "state", "detail"], body))
    broken = [check for check in checks if not check.good and check.severity == "broken"]
    console.finish({"good": not broken, "checks": [vars(check) for check in checks]})
    return 3 if broken else 0
