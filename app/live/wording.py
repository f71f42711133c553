"""The words and numbers on the screen, from the state; no layout, no kivy.

Badges are the engine's own words (`local`, `split at b8, aq8t+deflate`, `local (server lost)`):
the screen never rounds them up to something nicer.
"""

from __future__ import annotations

from app.figures import RUNTIME_NAMES, byte_size, milliseconds
from app.live.state import BundleCard, LiveState, Mode, Place, Result

__all__ = [
    "device_share",
    "headline",
    "hint",
    "route_ends",
    "route_note",
    "subtitle",
]


def subtitle(card: BundleCard | None) -> str:
    """Runtime, precision, size and top-1 agreement with PyTorch of the artifact in use."""
    if card is None:
        return "Models on this device, heavy layers on your server"
    parts = [f"{RUNTIME_NAMES.get(card.format, card.format)} {card.precision}"]
    parts.append(byte_size(card.bytes))
    if card.agreement is not None:
        parts.append(f"agrees {card.agreement:.3f} (n={card.samples})")
    return "  \u00b7  ".join(parts)


def headline(state: LiveState) -> str:
    """The large line over the photo while there is no answer."""
    if state.bundle_path is None:
        return "No bundle yet"
    if state.bundle is None:
        return "Opening the bundle" if state.busy else "The bundle could not be opened"
    if state.chosen is None:
        return "Choose a photo"
    return ""


def hint(state: LiveState) -> str:
    """The small line under `headline`: what to do next."""
    if state.bundle_path is None and "phone" in state.device:
        return "This version opens bundles on a computer"
    if state.bundle_path is None:
        return "Drop a .bundle folder or .zip here, or start with: python -m app.main MY.bundle"
    if state.bundle is None:
        return "Every file is checked against its hash" if state.busy else "See the message below"
    if state.chosen is None:
        return "Drop an image here"
    return ""


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
    """The line under the route: what travelled, or why nothing did."""
    if result.reason:
        return result.reason
    prepared = f"Photo prepared in {milliseconds(result.prepare_ms)}"
    if result.place is Place.SPLIT:
        up, down = byte_size(result.bytes_up), byte_size(result.bytes_down)
        return f"{up} sent, {down} received.  {prepared}"
    if state.mode is Mode.OFFLOAD and not state.server:
        return "No server address yet, so nothing left this device."
    return f"Nothing left this device.  {prepared}"
