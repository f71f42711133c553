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

    Prints its address once it is ready, and runs until it gets SIGINT or SIGTERM. With --json the
    object on standard output says how many bundles were served, when it ends.
    """
    console = Console(as_json)
    from companion_server.serving import serve

    serve([Path(bundle) for bundle in bundles], host=host, port=port)
    console.finish({"served": len(bundles)})
    return 0
