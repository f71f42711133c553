"""A companion server's error status, back to an error of the tree in `headtail.errors`.

409 BundleMismatch      413 TooLarge      422 TensorMismatch
Refusal                 400, 500 and any other; `.status`
├── KeyRefused          401, 403   no key, none that is valid, or one that may not do this
├── NotHeld             404   the model, bundle or route is not there
├── Shed                429   too much to do; `.retry_after_s`
├── ServerNotReady      503   tails are being loaded
└── DeadlineMissed      504   the budget was spent before compute began

`ReplyLate` is no status: a reply that was not there when it was predicted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headtail.errors import (
    BundleMismatch,
    HeadtailError,
    SchemaFault,
    ServerUnreachable,
    TensorMismatch,
    TooLarge,
    WireFault,
)
from headtail.offload.pinning import CertificateChanged
from headtail.strictjson import parse

__all__ = [
    "MAX_RETRY_AFTER_S",
    "DeadlineMissed",
    "KeyRefused",
    "NotHeld",
    "Refusal",
    "ReplyLate",
    "ServerNotReady",
    "Shed",
    "obstacle_name",
    "refusal",
]

MAX_RETRY_AFTER_S = 300.0  # a server cannot silence a phone for longer
MAX_TEXT = 500
_EXPECTED = "A request that the server can answer gets a 2xx status."


class ReplyLate(ServerUnreachable):
    """No reply when it was predicted, and the device was done meanwhile."""


class Refusal(WireFault):
    """The server answered with an error status that has no class of its own."""

    def __init__(self, what: str, *, status: int, expected: str, remedy: str) -> None:
        super().__init__(what, expected=expected, remedy=remedy)
        self.status = status


class KeyRefused(Refusal):
    """401 and 403: the server asks for a key, or for another one."""


class NotHeld(Refusal):
    """404: the server has no such model, bundle or route."""


class Shed(Refusal):
    """429: the server has too much to do; `retry_after_s` is when to ask again."""

    retry_after_s = 0.0


class ServerNotReady(Refusal):
    """503: the server runs but cannot answer yet."""


class DeadlineMissed(Refusal):
    """504: the budget was spent before the server began to compute."""


_CLASSES: dict[int, tuple[type[Refusal], str]] = {
    401: (KeyRefused, "Pair this device again with the server's code."),
    403: (
        KeyRefused,
        "Pair again with a new code, or ask for a key with the scope that this needs.",
    ),
    404: (NotHeld, "Serve this bundle there, or take one from its list."),
    429: (Shed, "Answer on the device until then."),
    503: (ServerNotReady, "Answer on the device and ask again in a second."),
    504: (DeadlineMissed, "Give a longer deadline, or choose a cut that sends less."),
}

# the first kind that fits; from special to general
_NAMES: tuple[tuple[type[Exception], str], ...] = (
    (CertificateChanged, "certificate changed"),
    (ReplyLate, "reply late"),
    (ServerUnreachable, "server lost"),
    (BundleMismatch, "bundle mismatch"),
    (Shed, "server busy"),
    (ServerNotReady, "server not ready"),
    (DeadlineMissed, "server too late"),
    (KeyRefused, "key refused"),
    (NotHeld, "model not held"),
    (Refusal, "refused"),
    (TensorMismatch, "tensor mismatch"),
    (TooLarge, "too large"),
    (WireFault, "malformed reply"),
)


def obstacle_name(error: Exception | None) -> str | None:
    """Why the server did not help, in a few words for a screen; None if it is not to blame."""
    return next((name for kind, name in _NAMES if isinstance(error, kind)), None)


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> HeadtailError:
    """The error for a reply that is not 2xx; an unreadable body costs only its text.

    Header names are in lower case.
    """
    told = _told(body)
    what = f"The companion server answered {status}: {_text(told)}"
    if status == 409:  # an HTTP status, named in the docstring
        return BundleMismatch(
            what,
            held=_held(told.get("held")),
            expected="The server holds this very bundle, with this cut.",
            remedy="Serve this bundle there, or download one that it holds.",
        )
    if status == 413:
        return TooLarge(what, expected=_EXPECTED, remedy="Choose a cut that sends less.")
    if status == 422:
        return TensorMismatch(
            what,
            expected=_EXPECTED,
            remedy="Use one version of Headtail and one bundle at both ends.",
        )
    kind, remedy = _CLASSES.get(status, (Refusal, "See the server's log."))
    error = kind(what, status=status, expected=_EXPECTED, remedy=remedy)
    if isinstance(error, Shed):
        error.retry_after_s = _seconds(headers.get("retry-after", ""))
    return error


def _told(body: bytes) -> dict[str, Any]:
    try:
        value = parse(body)
    except SchemaFault:
        return {}
    return value if isinstance(value, dict) else {}


def _text(told: dict[str, Any]) -> str:
    text = told.get("error")
    if not isinstance(text, str):
        return "(no explanation)."
    # a server may say anything: what turns text around or breaks lines is not shown
    shown = "".join(letter if letter.isprintable() else " " for letter in text[:MAX_TEXT])
    return " ".join(shown.split()) or "(no explanation)."


def _held(value: Any) -> dict[str, list[str]]:
    if not isinstance(value, dict):
        return {}
    return {
        bundle: [cut for cut in cuts if isinstance(cut, str)]
        for bundle, cuts in value.items()
        if isinstance(cuts, list)
    }


def _seconds(text: str) -> float:
    # RFC 9110 §10.2.3 also allows a date; this server sends seconds, and phone clocks are wrong
    digits = text.strip()
    known = digits.isascii() and digits.isdigit() and len(digits) < 10
    return min(float(digits), MAX_RETRY_AFTER_S) if known else 1.0
