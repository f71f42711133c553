"""Made-up frames for the Offload page, the same at every run: nobody measured these figures."""

from __future__ import annotations

import dataclasses
import math

from app.live.state import Result
from app.offloading.presenter import OffloadingPresenter
from headtail.offload.policy import Decision
from headtail.plan import Candidate
from tests.app.live.results import result

__all__ = ["play"]

FRAMES = 240
LOST = range(120, 150)  # frames during which the server is away
LOCAL_FIRST = 40


def play(presenter: OffloadingPresenter) -> None:
    """Let the presenter see these and no others, at 15 a second by a clock of their own."""
    presenter._moments.clear()
    presenter._decided.clear()
    now_s = [presenter._clock() - FRAMES]  # long ago enough that nothing waits for its end
    clock, presenter._clock = presenter._clock, lambda: now_s[0]
    for i in range(FRAMES):
        now_s[0] += 1 / 15
        presenter.observe(_frame(i))
    presenter._draw()
    presenter._clock = clock


def _frame(i: int) -> Result:
    split = i >= LOCAL_FIRST and i not in LOST
    known = i >= LOCAL_FIRST // 2
    remote_ms = 21 + 3 * math.sin(i / 15)
    where = Decision("split", "predicted first", cut="blocks_5", codec="aq8t+deflate")
    status = dataclasses.replace(
        result().offload,
        local_ms=38 + math.sin(i / 3),
        remote_ms=remote_ms if known else None,
        rtt_ms=8 + 2 * math.sin(i / 20) if known else None,
        uplink_mbit_s=40 + 10 * math.sin(i / 9) if known else None,
        downlink_mbit_s=70 + 4 * math.cos(i / 11) if known else None,
        decision=where if split else Decision("local", "This device is predicted to be first."),
        candidates=(
            _candidate("split at blocks_5 with aq8t+deflate", "blocks_5", remote_ms),
            _candidate("local", None, 38.2),
        ),
    )
    badge = "split at blocks_5, aq8t+deflate" if split else "local"
    reason = "Split is predicted at 21 ms, 17 ms before this device." if split else ""
    if i in LOST:
        badge, reason = "local (server lost)", "Nothing answers at https://192.168.1.20:8707."
    total_ms = remote_ms + 1 if split else 38.5
    sent = 13_200 if split else 0
    return result(badge=badge, reason=reason, total_ms=total_ms, bytes_up=sent, offload=status)


def _candidate(name: str, cut: str | None, total_ms: float) -> Candidate:
    split = cut is not None
    return Candidate(
        kind="split" if split else "local",
        name=name,
        cut=cut,
        codec="aq8t+deflate" if split else None,
        device_ms=9.1 if split else total_ms,
        up_ms=2.6 if split else 0.0,
        rtt_ms=8.0 if split else 0.0,
        server_ms=4.2 if split else 0.0,
        down_ms=0.1 if split else 0.0,
        total_ms=total_ms,
        bytes_up=13_200 if split else 0,
        bytes_down=4_300 if split else 0,
        fidelity=None,
        refused="",
    )
