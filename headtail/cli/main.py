"""Entry point: a table of verbs, imported only when used, and errors as exit codes.

Exit codes: 0 good, 1 a gate failed, 2 usage, 3 environment. With `--json` standard output carries
exactly one JSON object, errors included, and everything for people goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from typing import Any

import click

from headtail.errors import HeadtailError, UnknownName

__all__ = ["main"]

VERBS: dict[str, str] = {
    "bench": "Measure the latency of a bundle's artifacts on this machine.",
    "demo": "Export, verify, pack, serve and run split a real model on real photos.",
    "doctor": "Check this environment: runtimes, versions, clashing names.",
    "export": "Turn a PyTorch model into a verified bundle for phones.",
    "list": "List formats, precisions, codecs, sources and runtimes.",
    "plan": "Choose where to cut a bundle's model for a link and a device.",
    "run": "Run a bundle on images, whole or split with a companion server.",
    "serve": "Start the companion server with one or more bundles.",
    "stage": "Write the app's phone payload to build/phone.",
    "verify": "Check every byte and re-run every artifact of a bundle.",
}


class _Verbs(click.Group):
    """Knows the verbs by name only, so that --help imports none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        if cmd_name not in VERBS:
            raise UnknownName("command", cmd_name, VERBS)
        module = importlib.import_module(f"headtail.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="headtail")
def headtail() -> None:
    """Put a PyTorch model on a phone, proven, and run its heavy layers on a companion server."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = headtail.main(args=arguments, prog_name="headtail", standalone_mode=False)
    except HeadtailError as error:
        _report(error.to_json(), f"{type(error).__name__}: {error}", arguments)
        sys.exit(error.exit_code)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        body = {"error": "UsageFault", "what": error.format_message(), "exit_code": 2}
        hint = (
            error.ctx.command_path
            if isinstance(error, click.UsageError) and error.ctx
            else "headtail"
        )
        _report(body, f"{error.format_message()} See {hint} --help.", arguments)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)


def _report(body: dict[str, Any], text: str, arguments: Sequence[str]) -> None:
    print(f"headtail: {text}", file=sys.stderr)
    if "--json" in arguments:
        print(json.dumps(body))
