"""What the gate adds to a request: key, scope, rate limit and audit log, in microseconds.

Pure ASGI, one thread, no sockets: the middleware in front of an application that does nothing,
minus that application alone, in alternating blocks (A B A B). The goal is on the median block. The
same for one hit of `limits` (https://pypi.org/project/limits/) where that package is installed,
beside our bucket: why the rate limiter is our own.

    python benchmarks/auth_overhead.py
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import importlib.util
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from companion_server.security.audit import AuditLog
from companion_server.security.auth import AuthMiddleware
from companion_server.security.keys import KeyRing
from companion_server.security.rate import RateLimiter
from companion_server.security.scopes import Scope

GOAL_US = 30.0
BLOCKS, REQUESTS = 40, 1000
HITS = 20_000


async def nothing(_scope: Any, _receive: Any, _send: Any) -> None:
    """The application behind the gate."""


async def block_us(app: Any, key: str) -> float:
    """Microseconds per request of one block."""
    headers = [
        (b"host", b"127.0.0.1:8707"),
        (b"accept-encoding", b"identity"),
        (b"inference-header-content-length", b"240"),
        (b"content-length", b"13312"),
        (b"authorization", b"Bearer " + key.encode()),
    ]
    fixed = {
        "type": "http",
        "method": "POST",
        "path": "/v2/models/efficientnet_lite0/versions/" + "ab" * 32 + "/infer",
        "headers": headers,
        "client": ("192.0.2.7", 40000),
    }
    started = time.perf_counter()
    for _ in range(REQUESTS):
        await app(dict(fixed), None, None)
    return (time.perf_counter() - started) / REQUESTS * 1e6


async def gate_us(folder: Path) -> list[float]:
    """What the gate adds, block by block."""
    ring, audit = KeyRing(folder), AuditLog(folder)
    key, _ = ring.add("phone", (Scope("infer", "*"), Scope("read", "*")))
    rate = RateLimiter(1e6, burst=1_000_000)
    gated = AuthMiddleware(nothing, keys=ring, rate=rate, audit=audit)
    try:
        return [await block_us(gated, key) - await block_us(nothing, key) for _ in range(BLOCKS)]
    finally:
        audit.close()


def hit_us(hit: Callable[[], object]) -> float:
    """Microseconds of one call, the best of five runs."""
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(HITS):
            hit()
        best = min(best, (time.perf_counter() - started) / HITS * 1e6)
    return round(best, 2)


def limiters_us() -> dict[str, float | str]:
    """One hit of our bucket, and of each strategy of `limits`."""
    ours = RateLimiter(1e6, burst=1_000_000)
    found: dict[str, float | str] = {"token_bucket": hit_us(lambda: ours.take("key"))}
    if importlib.util.find_spec("limits") is None:
        return {**found, "limits": "not installed"}
    limits = importlib.import_module("limits")
    memory = importlib.import_module("limits.storage").MemoryStorage()
    strategies = importlib.import_module("limits.strategies")
    item = limits.parse("1000000/second")
    for name in ("FixedWindow", "MovingWindow", "SlidingWindowCounter"):
        strategy = getattr(strategies, f"{name}RateLimiter")(memory)
        found[f"limits {limits.__version__} {name}"] = hit_us(
            functools.partial(strategy.hit, item, "key")
        )
    return found


def main() -> int:
    """One JSON line; exit 1 if the goal is missed."""
    with tempfile.TemporaryDirectory() as folder:
        blocks = sorted(asyncio.run(gate_us(Path(folder))))
    median = statistics.median(blocks)
    result = {
        "timing_kind": "host",
        "python": platform.python_version(),
        "requests": BLOCKS * REQUESTS,
        "gate_us": {"best": round(blocks[0], 1), "median": round(median, 1)},
        "goal_us": GOAL_US,
        "rate_limiter_hit_us": limiters_us(),
    }
    print(json.dumps(result))
    return 0 if median < GOAL_US else 1


if __name__ == "__main__":
    sys.exit(main())
