"""From what the app's presenters show to the values of a report."""

from __future__ import annotations

from pathlib import Path

from app.live.state import LiveState
from app.offloading.state import OffloadingState
from app.report.contents import BundleFacts, LiveFacts, OffloadFacts, RuntimeFacts, Way
from headtail.bundle import open_bundle
from headtail.runtimes.base import Runtime

__all__ = ["bundle_facts", "live_facts", "offload_facts", "runtime_facts"]


def runtime_facts(runtime: Runtime) -> RuntimeFacts:
    """What a runtime says of itself."""
    probe = runtime.probe()
    reason = "" if probe.available else probe.reason
    return RuntimeFacts(runtime.name, runtime.format, probe.version, reason)


def bundle_facts(path: Path, format: str, precision: str) -> BundleFacts:  # noqa: A002  # the field's word
    """The bundle there and one of its artifacts; raises what `open_bundle` raises, and
    `UnknownName`. Reads the manifest, so not for the UI thread."""
    manifest = open_bundle(path, check=False).manifest
    artifact = manifest.artifact(format, precision)
    agreement = artifact.agreement
    return BundleFacts(
        name=manifest.name,
        bundle_id=manifest.bundle_id,
        format=format,
        precision=precision,
        bytes=artifact.bytes,
        agreement=agreement.top1,
        low=agreement.low,
        high=agreement.high,
        samples=agreement.n,
        snr_db_min=agreement.snr_db_min,
    )


def live_facts(state: LiveState) -> LiveFacts | None:
    """None before anything was answered."""
    if state.result is None or not state.readings.n:
        return None
    readings = state.readings
    return LiveFacts(readings.n, readings.p50_ms, readings.p95_ms, readings.fps, state.result.badge)


def offload_facts(state: OffloadingState) -> OffloadFacts | None:
    """None before a decision was made."""
    ways = tuple(Way(d.badge, d.frames, d.reason) for d in state.decided)
    return OffloadFacts(state.preferences.mode, ways, "") if ways else None
