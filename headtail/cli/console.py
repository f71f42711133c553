"""What commands print: tables for people, one JSON object for programs, progress to stderr."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable
from typing import Any

import click

__all__ = ["COUNT", "Console", "json_option", "listed"]

COUNT = click.IntRange(1)  # the type of options that count runs or threads


def listed(
    _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    """The callback of options that take several names: repeated, or with commas between them."""
    return tuple(name for value in values for part in value.split(",") if (name := part.strip()))


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The `--json` flag that every command has."""
    return click.option(
        "--json", "as_json", is_flag=True, help="End with one JSON object on standard output."
    )(command)


class Console:
    """Text to stdout, or to stderr when stdout is for JSON; implements `exporters.progress`."""

    def __init__(self, as_json: bool) -> None:
        from rich.console import Console as Rich

        self.as_json = as_json
        self._text = Rich(stderr=as_json, highlight=False, soft_wrap=True, emoji=False)
        self._status = Rich(stderr=True, highlight=False, emoji=False)
        self._running: Any = None
        if context := click.get_current_context(silent=True):
            # an error in mid-stage must find no spinner and a visible cursor
            context.call_on_close(self._stop)

    def print(self, text: str = "") -> None:
        """A line for people; rich markup is not interpreted."""
        self._text.print(text, markup=False)

    def finish(self, result: dict[str, Any], *, always: bool = False) -> None:
        """The JSON object, if asked for (or `always`): the last line of stdout."""
        if self.as_json or always:
            sys.stdout.write(json.dumps(_finite(result)) + "\n")
            sys.stdout.flush()

    def begin(self, stage: str) -> None:
        """A stage starts: a spinner on a terminal, a line elsewhere."""
        self._stop()
        if self._status.is_terminal:
            self._running = self._status.status(f"{stage} ...")
            self._running.start()
        else:
            self._status.print(f"{stage} ...", markup=False)

    def note(self, text: str) -> None:
        """A remark inside a stage."""
        self._status.print(f"  {text}", markup=False)

    def end(self, stage: str, seconds: float) -> None:
        """The stage's time."""
        self._stop()
        self._status.print(f"{stage}: {seconds:.1f} s", markup=False)

    def _stop(self) -> None:
        if self._running is not None:
            self._running.stop()
            self._running = None

    def lines(self, lines: Iterable[str]) -> None:
        """Several lines for people."""
        for line in lines:
            self.print(line)


def _finite(value: Any) -> Any:
    """JSON has no infinity: identical outputs have an SNR of null, with the count beside it."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
