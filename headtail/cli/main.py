"""Entry point: a table of verbs, imported only when used, and errors as exit codes.

Exit codes: 0 good, 1 a gate failed, 2 usage, 3 environment. With `--json` standard output carries
exactly one JSON object, errors included, and everything for people goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence

import click

from headtail import __version__
from headtail.errors import EnvironmentFault, HeadtailError, UnknownName, UsageFault

__all__ = ["main"]

VERBS: dict[str, str] = {
    "app": "Run the phone app on this computer.",
    "bench": "Measure the latency of a bundle's artifacts on this machine.",
    "check": "Tell for every operator whether each target takes it.",
    "demo": "Export, verify, pack, serve and run split a real model on real photos.",
    "doctor": "Check this environment: runtimes, versions, clashing names.",
    "export": "Turn a PyTorch model into a verified bundle for phones.",
    "export-triton": "Write a bundle's tail as models of a Triton Inference Server.",
    "keys": "List, make, revoke and rotate the API keys of a companion server.",
    "list": "List formats, precisions, codecs and sources.",
    "plan": "Choose where to cut a bundle's model for a link and a device.",
    "publish": "Send a bundle to a companion server and wait until it is served.",
    "quantize": "Write quantized artifacts, fitted to real inputs and judged.",
    "replay": "Decide again what a trace of an offload engine says was decided.",
    "report": "Write one HTML page about a bundle: accuracy, size, latency, layers.",
    "run": "Run a bundle on images, whole or split with a companion server.",
    "serve": "Start the companion server with one or more bundles.",
    "sign": "Sign a bundle, for servers that take signed ones only.",
    "stage": "Write the app's phone payload to build/phone.",
    "verify": "Check every byte and re-run every artifact of a bundle.",
}


INTERRUPTED = 130  # 128 + SIGINT, as shells count


class _Verbs(click.Group):
    """Knows the verbs by name only, so that --help imports none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        if cmd_name not in VERBS:
            raise UnknownName("command", cmd_name, VERBS)
        module = importlib.import_module(f"headtail.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def headtail() -> None:
    """Put a PyTorch model on a phone, proven, and run its heavy layers on a companion server."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code: int = headtail.main(args=arguments, prog_name="headtail", standalone_mode=False)
    except HeadtailError as error:
        code = _report(error, arguments)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        code = UsageFault.exit_code
    except click.UsageError as error:
        code = _report(_usage_fault(error), arguments)
    except OSError as error:
        code = _report(_refused(error), arguments)
    except (KeyboardInterrupt, click.Abort):
        code = INTERRUPTED
    sys.exit(code)


def _report(error: HeadtailError, arguments: Sequence[str]) -> int:
    print(f"headtail: {type(error).__name__}: {error}", file=sys.stderr)
    if "--json" in arguments:
        print(json.dumps(error.to_json()))
    return error.exit_code


def _usage_fault(error: click.UsageError) -> UsageFault:
    what = error.format_message()
    usage = error.ctx.get_usage() if error.ctx else "Usage: headtail COMMAND"
    return UsageFault(
        what if what.endswith((".", "?")) else f"{what}.",
        expected=f"{' '.join(usage.split())}.",
        remedy=f"See {error.ctx.command_path if error.ctx else 'headtail'} --help.",
    )


def _refused(error: OSError) -> EnvironmentFault:
    """What no library function foresaw: a full disk, a folder that may not be written."""
    return EnvironmentFault(
        f"The system refused: {error}.",
        expected="Files and folders can be read and written, and there is room for them.",
        remedy="Check the path, its permissions and the free space.",
    )
