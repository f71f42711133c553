"""`headtail keys list|add|revoke|rotate`: the API keys of a companion server on this machine.

They work on the server's state folder; a running server sees a change with its next request.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headtail.cli.console import COUNT, Console, json_option, listed

if TYPE_CHECKING:
    from companion_server.security.keyfile import KeyRecord
    from companion_server.security.keys import KeyRing

__all__ = ["command"]

DAY_S = 86400.0


@click.group("keys")
def command() -> None:
    """List, make, revoke and rotate the API keys of a companion server on this machine."""


def _state_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--state-dir",
        type=click.Path(path_type=Path),
        help="The server's state folder, if it is not the default one.",
    )(function)


@command.command("list")
@_state_option
@json_option
def list_keys(state_dir: Path | None, as_json: bool) -> int:
    """List keys: id, name, scopes and whether they are good. Secrets are not kept anywhere."""
    from headtail.report import text

    console = Console(as_json)
    ring, now = _ring(state_dir), time.time()
    records = ring.records()
    rows = [
        [r.id, r.name, " ".join(r.scopes), r.state(now), r.created[:10], (r.expires or "")[:10]]
        for r in records
    ]
    if rows:
        console.print(text(["id", "name", "scopes", "state", "made", "ends"], rows))
    else:
        console.print(f"no keys in {ring.path.parent}")
    console.finish(
        {"keys": [{**_public(record), "state": record.state(now)} for record in records]}
    )
    return 0


@command.command("add")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    callback=listed,
    help="verb:model-glob, such as infer:* or publish:efficientnet_*; commas or repeated.",
)
@click.option("--days", type=COUNT, help="Let it end after so many days.")
@_state_option
@json_option
def add(
    name: str, scopes: tuple[str, ...], days: int | None, state_dir: Path | None, as_json: bool
) -> int:
    """Make a key for NAME, a person or a device. It is shown this once.

    The verbs are infer, read, publish, admin and metrics.
    """
    from companion_server.security.scopes import Scope

    console = Console(as_json)
    ring = _ring(state_dir)
    wanted = tuple(Scope.parse(scope) for scope in scopes)
    expires = None if days is None else time.time() + days * DAY_S
    with _audited(ring, "add") as done:
        key, record = ring.add(name, wanted, expires=expires)
        done.append(record)
    _show(console, key, record)
    return 0


@command.command("revoke")
@click.argument("key_id", metavar="ID")
@_state_option
@json_option
def revoke(key_id: str, state_dir: Path | None, as_json: bool) -> int:
    """End the key ID now, for good."""
    console = Console(as_json)
    ring = _ring(state_dir)
    with _audited(ring, "revoke") as done:
        record = ring.revoke(key_id)
        done.append(record)
    console.print(f"{record.id} of {record.name} is revoked")
    console.finish(_public(record))
    return 0


@command.command("rotate")
@click.argument("key_id", metavar="ID")
@click.option(
    "--grace-days",
    type=click.IntRange(0),
    default=7,
    show_default=True,
    help="How long the old key stays good beside the new one.",
)
@_state_option
@json_option
def rotate(key_id: str, grace_days: int, state_dir: Path | None, as_json: bool) -> int:
    """Make a second key with the name and scopes of ID, which ends after the grace period."""
    console = Console(as_json)
    ring = _ring(state_dir)
    with _audited(ring, "rotate") as done:
        key, record = ring.rotate(key_id, grace_s=grace_days * DAY_S)
        done.append(record)
    _show(console, key, record)
    return 0


def _ring(state_dir: Path | None) -> KeyRing:
    from companion_server.security.keys import KeyRing
    from companion_server.settings import Settings

    given: dict[str, Any] = {} if state_dir is None else {"state_dir": state_dir}
    return KeyRing(Settings.from_env(**given).state_dir)


@contextlib.contextmanager
def _audited(ring: KeyRing, what: str) -> Iterator[list[KeyRecord]]:
    """Changes of keys are in the server's audit log, whoever makes them."""
    from companion_server.security.audit import AuditLog, Event

    with contextlib.closing(AuditLog(ring.path.parent)) as audit:
        done: list[KeyRecord] = []
        yield done
        for record in done:
            event = Event("keys", 0, f"keys {what}", record.id, record.name, f"uid {os.getuid()}")
            audit.write(event)


def _show(console: Console, key: str, record: KeyRecord) -> None:
    console.print(key)
    ends = f"until {record.expires[:10]}" if record.expires else "until it is revoked"
    console.note(f"for {record.name}: {' '.join(record.scopes)}, {ends}; it is not shown again")
    console.finish({"key": key, **_public(record)})


def _public(record: KeyRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name != "sha256"}
