"""A phone whose clock jumps: `python -m tests.support.clock_client BUNDLE OFFSET_FILE URL PIN KEY`.

Run under libfaketime, which reads the file; prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from headtail.bundle import open_bundle
from headtail.offload.client import Companion
from headtail.offload.engine import OffloadEngine
from headtail.offload.policy import Policy
from tests.headtail.offload.toy_session import ToySession
from tests.support.failure_rows import Watch

DAY_S = 86_400
DEADLINE_MS = 2000.0


def main(path: Path, offset: Path, url: str, pin: str, key: str) -> None:
    """Frames, a day forth, frames, two days back, frames."""
    bundle = open_bundle(path)
    companion = Companion(url, pin=pin, key=key)
    policy = Policy(mode="force", deadline_ms=DEADLINE_MS)
    session: Any = ToySession(0)
    engine = OffloadEngine(bundle, None, session, companion=companion, policy=policy)
    golden = bundle.golden()
    inputs = [[golden[f"input.{i}.x"].copy()] for i in range(2)]
    own = [session.run("forward", one) for one in inputs]
    watch = Watch(engine, inputs, own, tolerance=0.02, deadline_ms=DEADLINE_MS)
    watch.until_split()
    rows, jumped = [], []
    for jump in (DAY_S, -DAY_S):
        before = time.time() - time.monotonic()
        offset.write_text(f"{jump:+d}")
        rows.append(watch.row(f"clock jumps to {jump:+d} s", seconds=1.0))
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
                "jumped_s": jumped,
                "where": where,
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:6])
