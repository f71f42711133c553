"""`headtail serve BUNDLE...`."""

from __future__ import annotations

from pathlib import Path

import click

from headtail.cli.console import Console, json_option

__all__ = ["command"]


@click.command("serve")
@click.argument("bundles", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to bind.")
@click.option("--port", default=8707, show_default=True, help="0 picks a free one.")
@json_option
def command(bundles: tuple[Path, ...], host: str, port: int, as_json: bool) -> int:
    """Start the companion server: bundles out, tails in (Open Inference Protocol v2).

    Prints its address once it is ready, with --json as {"url": ..., "bundles": [...]}, and runs
    until it gets SIGINT or SIGTERM.
    """
    console = Console(as_json)
    from companion_server.serving import print_address, serve

    def announce(url: str) -> None:
        console.finish({"url": url, "bundles": [str(bundle) for bundle in bundles]})

    serve(bundles, announce=announce if as_json else print_address, host=host, port=port)
    return 0
