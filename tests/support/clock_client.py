"""A phone whose clock jumps: `python -m tests.support.clock_client BUNDLE URL PIN KEY`.

Run in the environment of `tests.support.jumping_clock`; prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from headtail.bundle import Bundle, open_bundle
from headtail.offload.client import Companion
from headtail.offload.engine import OffloadEngine
from headtail.offload.policy import Policy
from headtail.runtimes import runtime_of
from tests.headtail.offload.toy_session import ToySession
from tests.support.failure_rows import Watch
from tests.support.jumping_clock import jump

DAY_S = 86_400
DEADLINE_MS = 2000.0


def session_of(bundle: Bundle) -> tuple[Any, float]:
    """What runs the bundle here, and how far answers may be apart: LiteRT, or torch for the toy
    that has no artifacts."""
    if not bundle.manifest.artifacts:
        return ToySession(0), 0.02
    artifact = bundle.manifest.artifact("litert", "fp32")
    entries = {entry.name: (entry.inputs, entry.outputs) for entry in artifact.entries}
    return runtime_of("litert").load(bundle.artifact_path(artifact), entries=entries), 0.5


def main(path: Path, url: str, pin: str, key: str) -> None:
    """Frames, a day forth, frames, two days back, frames."""
    bundle = open_bundle(path)
    companion = Companion(url, pin=pin, key=key)
    policy = Policy(mode="force", deadline_ms=DEADLINE_MS)
    session, tolerance = session_of(bundle)
    engine = OffloadEngine(bundle, None, session, companion=companion, policy=policy)
    golden, (spec,) = bundle.golden(), bundle.manifest.inputs
    inputs = [[golden[f"input.{i}.{spec.name}"].copy()] for i in range(2)]
    own = [session.run("forward", one) for one in inputs]
    watch = Watch(engine, inputs, own, tolerance=tolerance, deadline_ms=DEADLINE_MS)
    watch.until_split()
    rows, jumped = [], []
    for seconds in (DAY_S, -DAY_S):
        before = time.time() - time.monotonic()
        jump(seconds)
        rows.append(watch.row(f"clock jumps to {seconds:+d} s", seconds=1.0))
        jumped.append(time.time() - time.monotonic() - before)
    engine.close()
    companion.close()
    where: dict[str, int] = {}
    for row in rows:
        for place, count in row.where.items():
            where[place] = where.get(place, 0) + count
    print(
        json.dumps(
            {
                "frames": sum(row.frames for row in rows),
                "wrong": sum(row.wrong for row in rows),
                "late": sum(row.late for row in rows),
                "worst_ms": max(row.worst_ms for row in rows),
                "local_ms": max(row.local_ms for row in rows),
                "bound_ms": max(row.bound_ms for row in rows),
                "jumped_s": jumped,
                "where": where,
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:5])
