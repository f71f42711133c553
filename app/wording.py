"""The words and numbers on the screen, from the state; no layout, no kivy.

Badges are the engine's own words (`local`, `split at b8, aq8t+deflate`, `local (server lost)`):
the screen never rounds them up to something nicer.
"""

from __future__ import annotations

import math
import traceback

from app.state import BundleCard, Mode, Place, Problem, Result, ScreenState
from headtail.errors import HeadtailError

__all__ = [
    "byte_size",
    "device_share",
    "headline",
    "hint",
    "milliseconds",
    "percent",
    "problem_of",
    "route_ends",
    "route_note",
    "subtitle",
]

RUNTIME_NAMES = {"coreml": "Core ML", "executorch": "ExecuTorch", "litert": "LiteRT"}
MS_DIGITS = ((1.0, 2), (100.0, 1), (math.inf, 0))  # below so many ms, so many decimals
BYTE_UNITS = (("MB", 1_000_000), ("KB", 1_000))
LEAST = 0.001  # the least probability that the screen shows as a number


def milliseconds(value: float) -> str:
    """`0.84 ms`, `12.3 ms`, `140 ms`: three significant digits at most."""
    digits = next(digits for below, digits in MS_DIGITS if value < below)
    return f"{value:.{digits}f} ms"


def byte_size(value: int) -> str:
    """`980 B`, `19.2 KB`, `18.7 MB`, in decimal units."""
    for unit, size in BYTE_UNITS:
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value} B"


def percent(probability: float) -> str:
    """`97.1 %`; what is not zero never reads as zero, what is not certain never as 100."""
    if 0 < probability < LEAST:
        return "< 0.1 %"
    if 1 - LEAST < probability < 1:
        return "> 99.9 %"
    return f"{probability * 100:.1f} %"


def subtitle(card: BundleCard | None) -> str:
    """Runtime, precision, size and top-1 agreement with PyTorch of the artifact in use."""
    if card is None:
        return "Models on this device, heavy layers on your server"
    parts = [f"{RUNTIME_NAMES.get(card.format, card.format)} {card.precision}"]
    parts.append(byte_size(card.bytes))
    if card.agreement is not None:
        parts.append(f"agrees {card.agreement:.3f} (n={card.samples})")
    return "  \u00b7  ".join(parts)


def headline(state: ScreenState) -> str:
    """The large line over the photo while there is no answer."""
    if state.bundle_path is None:
        return "No bundle yet"
    if state.bundle is None:
        return "Opening the bundle" if state.busy else "The bundle could not be opened"
    if state.chosen is None:
        return "Choose a photo"
    return ""


def hint(state: ScreenState) -> str:
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


def route_ends(state: ScreenState, result: Result) -> tuple[str, str]:
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


def route_note(state: ScreenState, result: Result) -> str:
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


def problem_of(error: Exception) -> Problem:
    """An exception as a card: ours as its sentences, any other with its traceback to copy."""
    if isinstance(error, HeadtailError):
        return Problem(error.what, f"{error.expected} {error.remedy}", str(error))
    return Problem(
        f"Something unexpected went wrong: {type(error).__name__}.",
        "Copy the details and report them; you can go on meanwhile.",
        "".join(traceback.format_exception(error)),
    )
