"""What leaves this device, in plain words and with the figures of what is set now."""

from __future__ import annotations

from dataclasses import dataclass

from app.figures import byte_size
from app.settings.preferences import Preferences

__all__ = ["Sent", "sentences"]


@dataclass(frozen=True)
class Sent:
    """The last frame that was split: where it was cut, in which codec, and its bytes."""

    cut: str
    codec: str
    bytes_up: int
    bytes_down: int


def sentences(preferences: Preferences, *, device: str, sent: Sent | None) -> tuple[str, ...]:
    """One fact each, the most important first. `device` as in `this phone`."""
    return (
        _frames(preferences, device, sent),
        f"The picture itself never leaves {device}: servers of this version take tensors only. "
        "A tensor of an early cut may still show what the picture shows.",
        "The Models page asks the chosen server which bundles it has, and downloads those that you "
        f"ask for. Pairing tells it the name of {device}.",
        "Nothing else is sent, and to nobody else: no analytics, no accounts, no crash reports. "
        f"Reports stay on {device} until you share one.",
    )


def _frames(preferences: Preferences, device: str, sent: Sent | None) -> str:
    if preferences.mode == "off":
        return f"No frame leaves {device}: offload is off."
    if not preferences.server:
        return f"No frame leaves {device}: no server is chosen."
    cut = f"cut {preferences.cut}" if preferences.cut else "the cut that the planner chooses"
    text = f"Of a frame that is offloaded, the tensor at {cut} goes to {preferences.server}"
    if sent is None:
        return f"{text}."
    return (
        f"{text}. The last one was cut at {sent.cut}, packed as {sent.codec}: "
        f"{byte_size(sent.bytes_up)} out, {byte_size(sent.bytes_down)} back."
    )
