"""`headtail publish BUNDLE --to URL`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from headtail.cli.console import Console, json_option, listed
from headtail.cli.credentials import credential_options, read_key

__all__ = ["command"]

NOTE_EVERY_S = 2.0


@click.command("publish")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--to", "url", required=True, help="The companion server's address.")
@credential_options
@click.option(
    "--alias",
    "aliases",
    multiple=True,
    callback=listed,
    help="Point this alias to the bundle afterwards, such as prod.",
)
@json_option
def command(
    bundle: Path,
    url: str,
    key_file: Path | None,
    pin: str | None,
    aliases: tuple[str, ...],
    as_json: bool,
) -> int:
    """Send a bundle to a companion server and wait until it is served.

    The server checks every byte and runs the tail on the golden vectors before anybody gets it. A
    connection that is lost is taken up again where it ended, by this call or the next. Exits 1 if
    the server refuses the bundle or the key, 3 if it cannot be reached.
    """
    console = Console(as_json)
    from headtail.offload.client import authorization
    from headtail.offload.link import Link, Origin
    from headtail.offload.pinning import parse_pin
    from headtail.offload.publish import Publisher

    key = read_key(key_file)
    link = Link(
        Origin.parse(url),
        pin=None if pin is None else parse_pin(pin),
        headers=authorization(key),
    )
    console.begin("publish")
    started = time.perf_counter()
    try:
        done = Publisher(link).publish(bundle, aliases=aliases, progress=_Progress(console))
    finally:
        link.close()
    console.end("publish", time.perf_counter() - started)
    console.print(f"{done.model} {done.bundle_id} is served; {done.sent} of {done.size} bytes sent")
    for alias in done.aliases:
        console.print(f"alias {alias} points to it")
    console.finish({**vars(done), "url": url, "state": "live"})
    return 0


class _Progress:
    """A line now and then, not for every piece."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = time.monotonic() + NOTE_EVERY_S

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + NOTE_EVERY_S
            self._console.note(f"{done / 1e6:.1f} of {total / 1e6:.1f} MB ({done / total:.0%})")
