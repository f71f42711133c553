"""`GET /v2/status`: everything the status page shows, as one JSON object.

    server    version, python, torch, uptime_s, ready, problem (why not), rss_bytes, connections,
              executors [{connected, busy, restarts}]
    queue     jobs, bytes, body_bytes (of requests being read or answered)
    window    `Rolling.summary`: the last minute
    totals    `Metrics.totals`: since the start
    bundles   [{model, bundle_id, aliases, bytes, state, failure, memory_bytes, one_sample, tuning,
              entries: [{cut, backend, ms: {samples: ms}}]}], in the store's order
    clients   `Rolling.clients`

An entry's `backend` runs the program from that cut to the next one; its `ms` are to the end.
"""

from __future__ import annotations

import platform
import resource
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import headtail
from companion_server.conditions import NotReady
from companion_server.jobs import Engine
from companion_server.operations.metrics import Metrics, package_version
from companion_server.store import BundleStore, StoredBundle

__all__ = ["StatusSource"]

FRESH_S = 0.5  # several pages that poll cost as much as one


class StatusSource:
    """Collects the status of one server process."""

    def __init__(
        self,
        store: BundleStore,
        engine: Engine,
        metrics: Metrics,
        *,
        check_ready: Callable[[], None],
    ) -> None:
        self._store, self._engine, self._metrics = store, engine, metrics
        self._check_ready = check_ready
        self._began = time.monotonic()
        self._told: dict[str, Any] = {}
        self._when = float("-inf")

    def collect(self) -> dict[str, Any]:
        """The status, at most `FRESH_S` old; costs some ms when it is made."""
        now = time.monotonic()
        if now - self._when >= FRESH_S:
            self._told, self._when = self._collected(now), now
        return self._told

    def _collected(self, now: float) -> dict[str, Any]:
        engine = self._engine.status()
        metrics = self._metrics
        return {
            "server": self._server(now, engine),
            "queue": {"jobs": 0, "bytes": 0}
            | engine.get("queue", {})
            | {"body_bytes": metrics.body_bytes()},
            "window": metrics.rolling.summary(),
            "totals": metrics.totals(),
            "bundles": [
                _bundle(stored, self._store, engine.get("bundles", {}).get(bundle_id, {}))
                for bundle_id, stored in self._store.bundles.items()
            ],
            "clients": metrics.rolling.clients(),
        }

    def _server(self, now: float, engine: Mapping[str, Any]) -> dict[str, Any]:
        problem = ""
        try:
            self._check_ready()
        except NotReady as error:
            problem = str(error)
        return {
            "version": headtail.__version__,
            "python": platform.python_version(),
            "torch": package_version("torch"),
            "uptime_s": round(now - self._began, 1),
            "ready": not problem,
            "problem": problem,
            "rss_bytes": resident_bytes(),
            "connections": self._metrics.connections(),
            "executors": list(engine.get("executors", ())),
        }


def resident_bytes() -> int:
    """Memory of this process now; where the system does not say, its most so far."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if platform.system() == "Darwin" else most << 10
    return pages * resource.getpagesize()


def _bundle(stored: StoredBundle, store: BundleStore, info: Mapping[str, Any]) -> dict[str, Any]:
    if info.get("replicas"):  # on a cluster each of them has loaded it
        info = {"state": "ready", **info["replicas"][0]}
    aliases = store.aliases(stored.model)
    backends = {one["entry"]: one["backend"] for one in info.get("segments", ())}
    times = info.get("batch_ms", {})
    return {
        "model": stored.model,
        "bundle_id": stored.bundle_id,
        "aliases": sorted(alias for alias, held in aliases.items() if held == stored.bundle_id),
        "bytes": stored.zip_bytes,
        "state": info.get("state", "no tail"),
        "failure": info.get("failure", ""),
        "memory_bytes": info.get("memory_bytes", 0),
        "one_sample": info.get("one_sample", False),
        "tuning": info.get("tuning", ""),
        "entries": [
            {"cut": entry, "backend": backends.get(entry, ""), "ms": times.get(entry, {})}
            for entry in info.get("entries", ())
        ],
    }
