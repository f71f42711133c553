"""The Offload screen's sentences; no layout, no kivy."""

from __future__ import annotations

import math

from headtail.wire.codecs import codec as find_codec

__all__ = ["MODES", "codec_note", "mode_note", "reach", "server_line"]

MODES = {"off": "Off", "auto": "Auto", "force": "Force"}
_NOTES = {
    "off": "Every frame is computed on {device}.",
    "auto": "Each frame goes where it is predicted to be done first; {device} takes over where the "
    "server is late.",
    "force": "Every frame is split as long as the server answers, even where {device} alone would "
    "be faster.",
}


def mode_note(mode: str, device: str) -> str:
    """What a mode does."""
    return _NOTES[mode].format(device=device)


def server_line(address: str) -> str:
    """Which server there is to offload to."""
    return f"Server: {address}" if address else "No server is chosen, so nothing is offloaded."


def reach(breaker: str, wait_s: float) -> str:
    """How things stand with the server, by the state of the engine's circuit breaker."""
    if breaker == "open" and wait_s > 0:
        return f"The server failed and is left alone; tried again in {math.ceil(wait_s)} s."
    return {
        "half open": "The server failed; it is being tried again.",
        "open": "The server failed; it is tried again with the next frame.",
    }.get(breaker, "")


def codec_note(codec: str) -> str:
    """What a codec does to a boundary tensor."""
    found = find_codec(codec)
    ranges = {"": "floating point", "t": "one range a tensor", "c": "one range a channel"}
    squeezed = ", then deflate" if found.deflate else ""
    return f"{found.bits} bits a value, {ranges[found.per]}{squeezed}"
