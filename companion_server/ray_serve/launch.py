"""Deploys the application on a Ray cluster and stays with it until a signal ends it."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from companion_server.announcement import Announcement, print_announcement
from companion_server.executor.faults import from_fault
from companion_server.guard import certificate_of, first_key
from companion_server.ray_serve.library import start_library
from companion_server.ray_serve.options import ClusterOptions
from companion_server.security.binding import check_binding
from companion_server.settings import Settings
from companion_server.store.sources import survey
from headtail.errors import EnvironmentFault, MissingDependency, UsageFault

__all__ = ["APPLICATION", "serve_on_ray"]

log = logging.getLogger(__name__)
APPLICATION = "headtail"
KEEP_ALIVE_S = 75  # longer than a user's pause between two pictures: a new connection costs 1 RTT
DEPLOY_ATTEMPTS = 3  # of a replica's constructor: what fails thrice fails
LOOPBACK = "127.0.0.1"  # a cluster of one machine is nobody else's business
ONGOING_BATCHES = 2  # sent to a replica: the batch it computes and the one it collects
MAX_OPEN = 1000  # requests inside the ingress; what it lets in is the application's affair
DRAIN_POLL_S = 0.2  # Ray asks so often whether a replica that is to end is idle
QUIET = {"enable_access_log": False, "log_level": "WARNING"}


def serve_on_ray(
    bundles: Sequence[Path],
    settings: Settings,
    options: ClusterOptions | None = None,
    *,
    announce: Callable[[Announcement], None] = print_announcement,
) -> None:
    """Serve bundles from a Ray cluster until SIGINT or SIGTERM.

    Runs on the head of the cluster that `options.address` names; without one, a cluster of this
    machine alone is started, and ended again. `bundles` as for `companion_server.serve`. `announce`
    is called once, when every replica has proven every bundle. Raises `UsageFault` for an address
    that cannot or must not be bound, `MissingDependency` without Ray, `EnvironmentFault` for a
    cluster that cannot be joined or started from here, and what opening a bundle or loading its
    tail raises.
    """
    chosen = options or ClusterOptions()
    survey(bundles)
    warning = check_binding(settings.host, keys=settings.auth, tls=settings.tls)
    if warning is not None:
        log.warning("%s", warning)
    settings = settings.model_copy(update={"port": _free_port(settings)})
    certificate = certificate_of(settings)
    told = Announcement(_url(settings), certificate.fingerprint if certificate else "")
    # signals last: Ray sets a handler of its own when it starts
    with (
        _cluster(chosen),
        _signals_end_the_block(),
        _deployed(bundles, settings, chosen) as more,
    ):
        # the key last: one that was made by a start that failed would never be shown
        announce(dataclasses.replace(told, key=first_key(settings), **more))
        threading.Event().wait()


@contextlib.contextmanager
def _cluster(options: ClusterOptions) -> Iterator[None]:
    """This process as a driver on the head of a cluster."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    if not options.address:
        # of this cluster alone; Ray would write one to the home directory, for everybody to read
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    try:
        import ray
        import ray.serve
    except ImportError as error:
        raise MissingDependency(
            f"Ray Serve ({error})",
            needed_for="`headtail serve --ray`, on every node",
            install="pip install 'headtail[server,ray]'",
        ) from None
    own = {
        "include_dashboard": False,
        "object_store_memory": options.object_store_bytes,
        "_node_ip_address": LOOPBACK,
    }
    try:
        ray.init(
            options.address or "local",
            configure_logging=False,
            **({} if options.address else own),
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise EnvironmentFault(
            f"The Ray cluster {options.address or 'of this machine'!r} cannot be used: {error}.",
            expected="A cluster of the same versions of Ray and Python, with its head here.",
            remedy="Start one with `ray start --head`, or leave the address out.",
        ) from None
    try:
        _check_head()
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _deployed(
    bundles: Sequence[Path], settings: Settings, options: ClusterOptions
) -> Iterator[dict[str, Any]]:
    """With further fields of `Announcement`."""
    from ray import serve

    serve.start(
        proxy_location="HeadOnly", http_options=_http_options(settings), logging_config=QUIET
    )
    try:
        handle = serve.run(_application(bundles, settings, options), name=APPLICATION)
        told = handle.loaded.remote().result()
        if "fault" in told:
            raise from_fault(told["fault"])
        yield told
    finally:
        serve.delete(APPLICATION)
        if not serve.status().applications:
            serve.shutdown()


def _http_options(settings: Settings) -> dict[str, Any]:
    options = {
        "host": settings.host,
        "port": settings.port,
        "keep_alive_timeout_s": KEEP_ALIVE_S,
    }
    certificate = certificate_of(settings)
    if certificate is None:
        return options
    files = {"ssl_certfile": str(certificate.chain), "ssl_keyfile": str(certificate.key)}
    return options | files


def _application(bundles: Sequence[Path], settings: Settings, options: ClusterOptions) -> Any:
    import ray
    from ray import serve

    from companion_server.ray_serve.ingress import Ingress
    from companion_server.ray_serve.tail import Tail

    library = start_library()
    scaling: dict[str, Any] = {"num_replicas": options.replicas}
    if options.max_replicas > options.replicas:
        scaling = {
            "autoscaling_config": {
                "min_replicas": options.replicas,
                "max_replicas": options.max_replicas,
                "target_ongoing_requests": settings.max_batch,
            }
        }
    tails = serve.deployment(
        Tail,
        name="tail",
        max_ongoing_requests=ONGOING_BATCHES * settings.max_batch,
        max_queued_requests=settings.max_queue,
        ray_actor_options={"num_cpus": options.cpus},
        graceful_shutdown_wait_loop_s=DRAIN_POLL_S,
        graceful_shutdown_timeout_s=settings.drain_s,
        max_constructor_retry_count=DEPLOY_ATTEMPTS,
        logging_config=QUIET,
        **scaling,
    ).bind(
        library,
        threads=settings.threads,
        max_batch=settings.max_batch,
        tuning=str(settings.state_dir / "tuned") if settings.tune else "",
    )
    here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
    return serve.deployment(
        serve.ingress()(Ingress),
        name="ingress",
        max_ongoing_requests=MAX_OPEN,
        ray_actor_options={"num_cpus": 0, "label_selector": here},
        graceful_shutdown_wait_loop_s=DRAIN_POLL_S,
        graceful_shutdown_timeout_s=settings.drain_s,
        max_constructor_retry_count=DEPLOY_ATTEMPTS,
        logging_config=QUIET,
    ).bind(
        (tails, library),
        [str(bundle.resolve()) for bundle in bundles],
        settings.model_dump(mode="json"),
        replicas=options.replicas,
        url=_url(settings),
    )


def _check_head() -> None:
    import ray

    here = ray.get_runtime_context().get_node_id()
    heads = [node for node in ray.nodes() if "node:__internal_head__" in node["Resources"]]
    if all(node["NodeID"] != here for node in heads):
        raise EnvironmentFault(
            f"This machine is a worker of the cluster; its head is {heads[0]['NodeName']}.",
            expected="Phones, keys and published bundles belong to the head's machine.",
            remedy="Run `headtail serve --ray auto` there.",
        )


def _url(settings: Settings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{'https' if settings.tls else 'http'}://{host}:{settings.port}"


def _free_port(settings: Settings) -> int:
    """The port that Ray's proxy will bind, tried here, where the caller can be told of it."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((settings.host, settings.port))
        except OSError as error:
            raise UsageFault(
                f"Cannot listen on {settings.host} port {settings.port}: {error}.",
                expected="The address belongs to this machine and the port is free.",
                remedy="Choose another port (0 picks a free one) or stop what uses it.",
            ) from None
        port: int = listener.getsockname()[1]
    return port


@contextlib.contextmanager
def _signals_end_the_block() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # signals go to the main thread, whose business they are
        return
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGTERM, previous)
