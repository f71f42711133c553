"""`headtail serve DIR...`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from headtail.cli.console import COUNT, Console, json_option
from headtail.errors import UsageFault

__all__ = ["command"]

CLUSTER = {"ray_address": "address", "replicas": "replicas", "max_replicas": "max_replicas"}


@click.command("serve")
@click.argument("bundles", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--host", help="Address to bind.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port to bind; 0 picks a free one.  [default: 8707]")
@click.option("--grpc-port", type=int, help="Serve gRPC too, on this port.")
@click.option("--tls/--no-tls", default=None, help="HTTPS, with a certificate of its own.")
@click.option("--auth/--no-auth", default=None, help="Ask for API keys.")
@click.option("--ray", is_flag=True, help="Run the tails on a Ray cluster of this machine alone.")
@click.option("--ray-address", help="Run them on this Ray cluster: auto, or HOST:PORT of its head.")
@click.option("--replicas", type=COUNT, help="Replicas of the tails on the cluster.")
@click.option("--max-replicas", type=COUNT, help="Let the cluster add replicas up to so many.")
@click.option("--config", type=click.Path(path_type=Path), help="A TOML file of settings.")
@click.option("--state-dir", type=click.Path(path_type=Path), help="Keys, certificate, store.")
@json_option
def command(bundles: tuple[Path, ...], as_json: bool, **given: Any) -> int:
    """Start the companion server: bundles out, tails in (Open Inference Protocol v2).

    BUNDLES are bundles, folders of bundles, or a store. Serves HTTPS and asks for an API key, which
    it makes and shows at its first start, with a code that pairs a phone. Prints its address once
    it is ready, with --json as {"url": ..., "bundles": [...]}, and runs until SIGINT or SIGTERM.
    Everything that can be set is in docs/server.md; HEADTAIL_SERVER_* variables set it too.
    """
    console = Console(as_json)
    from companion_server.announcement import Announcement, print_announcement

    def announce(told: Announcement) -> None:
        if as_json:
            console.finish({**told.to_json(), "bundles": [str(bundle) for bundle in bundles]})
        else:
            print_announcement(told)

    values = {name: value for name, value in given.items() if value is not None}
    cluster = {CLUSTER[name]: values.pop(name) for name in CLUSTER if name in values}
    config = values.pop("config", None)
    if values.pop("ray") or "address" in cluster:
        _serve_on_ray(bundles, announce, config, values, cluster)
        return 0
    if cluster:
        raise UsageFault(
            f"There is {', '.join(cluster)} without --ray.",
            expected="Replicas are a Ray cluster's.",
            remedy="Add --ray, or set executors in the configuration for more processes here.",
        )
    from companion_server.serving import serve

    serve(bundles, announce=announce, config=config, **values)
    return 0


def _serve_on_ray(
    bundles: tuple[Path, ...],
    announce: Any,
    config: Path | None,
    values: dict[str, Any],
    cluster: dict[str, Any],
) -> None:
    from companion_server.operations.configfile import load_settings
    from companion_server.ray_serve import serve_on_ray
    from companion_server.ray_serve.options import ClusterOptions

    settings = load_settings(config, values)
    serve_on_ray(bundles, settings, ClusterOptions(**cluster), announce=announce)
