"""`headtail serve DIR...`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from headtail.cli.console import Console, json_option

__all__ = ["command"]


@click.command("serve")
@click.argument("bundles", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--host", help="Address to bind.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port to bind; 0 picks a free one.  [default: 8707]")
@click.option("--grpc-port", type=int, help="Serve gRPC too, on this port.")
@click.option("--tls/--no-tls", default=None, help="HTTPS, with a certificate of its own.")
@click.option("--auth/--no-auth", default=None, help="Ask for API keys.")
@click.option("--config", type=click.Path(path_type=Path), help="A TOML file of settings.")
@click.option("--state-dir", type=click.Path(path_type=Path), help="Keys, certificate, store.")
@json_option
def command(bundles: tuple[Path, ...], as_json: bool, config: Path | None, **given: Any) -> int:
    """Start the companion server: bundles out, tails in (Open Inference Protocol v2).

    BUNDLES are bundles, folders of bundles, or a store. Serves HTTPS and asks for an API key, which
    it makes and shows at its first start, with a code that pairs a phone. Prints its address once
    it is ready, with --json as {"url": ..., "bundles": [...]}, and runs until SIGINT or SIGTERM.
    Everything that can be set is in docs/server.md; HEADTAIL_SERVER_* variables set it too.
    """
    console = Console(as_json)
    from companion_server.serving import Announcement, print_announcement, serve

    def announce(told: Announcement) -> None:
        if as_json:
            console.finish({**told.to_json(), "bundles": [str(bundle) for bundle in bundles]})
        else:
            print_announcement(told)

    values = {name: value for name, value in given.items() if value is not None}
    serve(bundles, announce=announce, config=config, **values)
    return 0
