"""The words and numbers of the Live page, from its state; no layout, no kivy.

Badges are the engine's own words (`local`, `split at b8, aq8t+deflate`, `local (server lost)`):
the screen never rounds them up to something nicer.
"""

from __future__ import annotations

from app.figures import RUNTIME_NAMES, byte_size, milliseconds
from app.live.readings import Counts, Readings
from app.live.state import BundleCard, LiveState, Place, Result

__all__ = [
    "counted",
    "device_share",
    "headline",
    "hint",
    "how",
    "pace",
    "route_ends",
    "route_note",
    "subtitle",
]

ENOUGH = 5  # answers before percentiles say anything
BETWEEN = "  \u00b7  "


def subtitle(card: BundleCard | None) -> str:
    """Runtime, precision, size and top-1 agreement with PyTorch of the artifact in use."""
    if card is None:
        return "Models on this device, heavy layers on your server"
    parts = [f"{RUNTIME_NAMES.get(card.format, card.format)} {card.precision}"]
    parts.append(byte_size(card.bytes))
    if card.agreement is not None:
        parts.append(f"agrees {card.agreement:.3f} (n={card.samples})")
    return BETWEEN.join(parts)


def how(card: BundleCard | None) -> str:
    """What runs the model here, and why nothing that comes first does."""
    if card is None:
        return ""
    threads = f"{card.threads} thread{'' if card.threads == 1 else 's'}"
    line = f"{card.runtime} {card.version}".strip() + f" on {card.accelerator}, {threads}"
    return ". ".join([line, *(note.rstrip(".") for note in card.notes)])


def headline(state: LiveState) -> str:
    """The large line over the frame while there is no answer."""
    if state.obstacle is not None:
        return state.obstacle.what
    if state.bundle_path is None:
        return "No bundle yet"
    if state.bundle is None:
        return "Opening the bundle" if state.busy else "The bundle could not be opened"
    if state.moving:
        awaited = state.held if state.waits else "the first picture"
        return "" if state.picture else f"Waiting for {awaited}"
    return "Choose a photo" if state.chosen is None else ""


def hint(state: LiveState) -> str:
    """The small line under `headline`: what to do next."""
    if state.obstacle is not None:
        return state.obstacle.remedy
    if state.bundle_path is None:
        return "Get one on the Models page" + (
            "" if "phone" in state.device else ", or drop a .bundle folder or .zip here"
        )
    if state.bundle is None:
        return "Every file is checked against its hash" if state.busy else "See the message below"
    if state.waits and not state.picture:
        return f"It goes on when {state.held} is done"
    return _unchosen(state) if not state.moving and state.chosen is None else ""


def _unchosen(state: LiveState) -> str:
    if state.can_pick:
        return "Press the picture below"
    phone = "phone" in state.device
    return "This bundle brought no photos: use the camera" if phone else "Drop an image here"


def pace(state: LiveState) -> str:
    """How fast: one answer's time for a photo, percentiles and rate for what moves."""
    result, readings = state.result, state.readings
    if state.waits:
        return f"waiting for {state.held}"
    if not state.moving:
        if state.busy and state.chosen is not None:
            return "running"
        return milliseconds(result.total_ms) if result else ""
    if result is None:
        return ""
    if readings.n < ENOUGH:
        return milliseconds(result.frame_ms)
    rate = f"{readings.fps:.0f} fps" if readings.fps is not None and state.playing else ""
    return BETWEEN.join(part for part in (rate, _percentiles(readings)) if part)


def _percentiles(readings: Readings) -> str:
    p50, p95 = milliseconds(readings.p50_ms), milliseconds(readings.p95_ms)
    return f"p50 {p50.removesuffix(' ms')}, p95 {p95}"


def route_ends(state: LiveState, result: Result) -> tuple[str, str]:
    """Captions of the two ends of the route: this device, and server with network."""
    device = state.device.capitalize()
    if result.place is Place.SPLIT:
        left = f"{device}  {milliseconds(result.head_ms)}"
        return left, f"Server + network  {milliseconds(result.tail_ms)}"
    return f"{device}  {milliseconds(result.total_ms)}", ""


def device_share(result: Result) -> float:
    """The part of the time that was spent on this device, in [0, 1]; 1 without a server."""
    if result.place is not Place.SPLIT:
        return 1.0
    return result.head_ms / max(result.head_ms + result.tail_ms, 1e-9)


def route_note(state: LiveState, result: Result) -> str:
    """The lines under the route: what travelled and why, or why nothing did; frames so far."""
    parts = []
    if result.place is Place.SPLIT:
        up, down = byte_size(result.bytes_up), byte_size(result.bytes_down)
        parts.append(f"{up} sent, {down} received.")
    if result.reason:
        parts.append(result.reason)
    elif result.place is Place.DEVICE:
        parts.append("Nothing left this device.")
    if state.moving:
        parts.append(counted(state.readings.counts))
    elif not result.reason:
        parts.append(f"Photo prepared in {milliseconds(result.prepare_ms)}.")
    return "  ".join(parts)


def counted(counts: Counts) -> str:
    """What became of the frames so far."""
    failed = f", {counts.failed} failed" if counts.failed else ""
    return f"Frames: {counts.answered} answered, {counts.skipped} skipped{failed}."
