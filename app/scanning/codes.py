"""What was read, judged: a pairing link is the only thing that is ever handed on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headtail.errors import UsageFault
from headtail.offload.pairing import parse_uri

__all__ = ["Judged", "judge"]

SHOWN = 40  # letters of a foreign code that are shown
SCHEME = "headtail:"
WANTED = "Scan the code that `headtail serve` or its status page shows."


@dataclass(frozen=True)
class Judged:
    """The one pairing link among the codes of a picture, or "" and why there is none."""

    link: str = ""
    note: str = ""


def judge(texts: Sequence[str]) -> Judged:
    """The pairing link among `texts`, which are what at least one code says."""
    links = {text for text in texts if _fault(text) is None}
    if len(links) == 1:
        return Judged(link=links.pop())
    if links:
        return Judged(
            note=f"There are {len(links)} pairing codes in the picture. Show one of them alone."
        )
    ours = [text for text in texts if text.startswith(SCHEME)]
    if ours:
        fault = _fault(ours[0])
        assert fault is not None  # or it were a link
        return Judged(note=f"{_plain(fault.what)} {fault.remedy}")
    return Judged(
        note=f"That is no pairing code: it says {_short(texts[0])}. It was not opened. {WANTED}"
    )


def _fault(text: str) -> UsageFault | None:
    try:
        parse_uri(text)
    except UsageFault as fault:
        return fault
    return None


def _short(text: str) -> str:
    plain = _plain(text)
    return f'"{plain}"' if len(plain) <= SHOWN else f'"{plain[:SHOWN]}..."'


def _plain(text: str) -> str:
    """Nothing that could turn the line round or break it: a code can hold any text."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(printable.split())
