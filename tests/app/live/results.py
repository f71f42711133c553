"""Results and cards with plain numbers, for tests that care about one of them."""

from __future__ import annotations

from typing import Any

from app.live.state import BundleCard, Place, Result
from headtail.offload.engine import OffloadStatus
from headtail.offload.policy import Decision
from headtail.postprocess import Ranked, Ranking

__all__ = ["card", "result"]


def result(**changes: Any) -> Result:
    """A local answer with one class."""
    status = OffloadStatus(
        rtt_ms=None,
        uplink_mbit_s=None,
        downlink_mbit_s=None,
        local_ms=20.0,
        remote_ms=None,
        breaker="closed",
        wait_s=0.0,
        decision=Decision("local", ""),
        candidates=(),
    )
    plain: dict[str, Any] = {
        "seen": Ranking((Ranked("red", 5, 0.9),)),
        "window": (0.0, 0.0, 1.0, 1.0),
        "place": Place.DEVICE,
        "badge": "local",
        "reason": "",
        "prepare_ms": 3.14,
        "head_ms": 20.0,
        "tail_ms": 0.0,
        "local_ms": 20.0,
        "total_ms": 20.0,
        "frame_ms": 24.0,
        "bytes_up": 0,
        "bytes_down": 0,
        "offload": status,
    }
    return Result(**plain | changes)


def card(**changes: Any) -> BundleCard:
    """A classifier on LiteRT."""
    plain: dict[str, Any] = {
        "name": "net",
        "format": "litert",
        "precision": "fp32",
        "bytes": 18_700_000,
        "agreement": 0.9987,
        "samples": 24,
        "runtime": "litert",
        "version": "2.3.0",
        "accelerator": "cpu",
        "threads": 1,
        "task": "classification",
    }
    return BundleCard(**plain | changes)
