"""How a command proves itself to a companion server, and knows the server: `--key-file`, `--pin`.

A key is never an argument: command lines stand in shell histories and in the list of processes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

__all__ = ["KEY_VARIABLE", "credential_options", "read_key"]

KEY_VARIABLE = "HEADTAIL_API_KEY"


def credential_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options `--key-file` and `--pin`, as the parameters `key_file` and `pin`."""
    pinned = click.option(
        "--pin", help="SHA-256 of the server's certificate, as the server printed it."
    )
    keyed = click.option(
        "--key-file",
        type=click.Path(path_type=Path),
        help=f"File with an API key of the server; without it {KEY_VARIABLE} is taken.",
    )
    return keyed(pinned(command))


def read_key(key_file: Path | None) -> str | None:
    """The key of `--key-file`, or else of the environment; `UsageFault` for no such file."""
    from headtail.errors import UsageFault

    if key_file is None:
        return os.environ.get(KEY_VARIABLE) or None
    try:
        return key_file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageFault(
            f"The key file {key_file} cannot be read: {error}.",
            expected="A text file that holds one API key.",
            remedy="Write the key there that `headtail keys add` printed.",
        ) from None
