"""What a companion server offers: asked by long poll on a connection of its own, and remembered.

The list is asked for again and again while somebody looks at it, which costs one request a minute
(`headtail.offload.listing`); what it said last is kept in a file, to be shown when no server is
there. A server may say anything: what does not look like an offer is a `WireFault`.
"""

from __future__ import annotations

import contextlib
import math
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.models.state import InstalledCard, Offer, OfferedArtifact
from headtail.errors import HeadtailError, WireFault
from headtail.offload.client import Companion
from headtail.strictjson import canonical_bytes, from_json, parse

__all__ = ["Remembered", "Watch", "newer", "offers_of", "read_remembered", "write_remembered"]

SCHEMA_VERSION = 1
WAIT_S = 50  # that the server may hold its answer back
PAUSES_S = (1.0, 2.0, 5.0, 15.0, 60.0)  # after so many failures in a row
HASTY_S = 5.0  # a server that says "nothing new" sooner does not wait, and is asked less often
UNTAGGED_S = 15.0  # between two looks at a list that has no tag to wait with
MAX_OFFERS = 200  # a page of more is no list to choose from
MAX_ARTIFACTS, MAX_ALIASES = 64, 16  # of one bundle; each is a chip on its card
MAX_WHOLE = 1 << 53  # of a size or count; above it a whole number need not be a float as well
MAX_TEXT = 200
LATEST = "latest"  # the alias that every server keeps on the newest bundle of a name
_HEX = re.compile(r"[0-9a-f]{64}")
_CLOSED = object()


@dataclass(frozen=True)
class Remembered:
    """The last list of `server`, and when it told it (seconds since 1970)."""

    schema_version: int = SCHEMA_VERSION
    server: str = ""
    seen_s: float = 0.0
    offers: tuple[Offer, ...] = ()


def offers_of(listing: Sequence[Mapping[str, Any]]) -> tuple[Offer, ...]:
    """The server's list, by name and then as the server has it; `WireFault` for what is none."""
    try:
        offers = [_offer(item) for item in listing[:MAX_OFFERS]]
        if len({offer.bundle_id for offer in offers}) < len(offers):
            raise ValueError("a bundle is listed twice")
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise WireFault(
            f"The server's list of bundles is malformed ({str(error)[:MAX_TEXT]}).",
            expected="Each bundle with its id, name, size, hash and artifacts.",
            remedy="Use one version of Headtail at both ends.",
        ) from None
    return tuple(sorted(offers, key=lambda offer: offer.name))


def newer(card: InstalledCard, offers: Sequence[Offer]) -> str:
    """The id of the bundle that the server calls the latest of this name, "" if it is this one."""
    latest = (o for o in offers if o.name == card.name and LATEST in o.aliases)
    found = next(latest, None)
    return found.bundle_id if found and card.bundle_id not in ("", found.bundle_id) else ""


def read_remembered(file: Path) -> Remembered:
    """What was written there; nothing if that cannot be read: it is only a memory."""
    try:
        return from_json(Remembered, parse(file.read_bytes()))
    except (HeadtailError, OSError):
        return Remembered()


def write_remembered(file: Path, remembered: Remembered) -> None:
    """Keep it, if there is room."""
    part = file.with_suffix(".part")
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(canonical_bytes(remembered))
        part.replace(file)


class Watch:
    """Follows one server's list on a thread of its own.

    `told(address, offers)` or `told(address, error)` is called there for every answer; `offers` is
    None if nothing changed. A server that cannot be reached is tried again, ever less often.
    """

    def __init__(
        self,
        companion: Callable[[str], Companion],
        told: Callable[[str, tuple[Offer, ...] | Exception | None], None],
    ) -> None:
        self._make = companion
        self._told = told
        self._wake = threading.Condition()
        self._wanted: str | object = ""
        self._companion: Companion | None = None
        self._poked = False
        self._thread = threading.Thread(target=self._loop, name="catalogue", daemon=True)
        self._thread.start()

    def follow(self, address: str) -> None:
        """Ask the server there from now on, nobody if ""; never blocks."""
        self._want(address)

    def ask_again(self) -> None:
        """Ask at once, whatever was being waited for."""
        self._want(self._wanted, poke=True)

    def close(self, *, timeout_s: float = 5.0) -> bool:
        """Stop; False if the thread is still running then."""
        self._want(_CLOSED)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _want(self, wanted: str | object, *, poke: bool = False) -> None:
        with self._wake:
            if self._wanted is _CLOSED or (wanted == self._wanted and not poke):
                return
            self._wanted, self._poked = wanted, True
            companion, self._companion = self._companion, None
            self._wake.notify_all()
        if companion is not None:
            companion.close()

    def _loop(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._wanted != "")
                wanted, self._poked = self._wanted, False
            if not isinstance(wanted, str):
                return
            self._follow(wanted)

    def _follow(self, address: str) -> None:
        """Until something else is wanted."""
        try:
            companion = self._make(address)
        except HeadtailError as error:  # it would be the same the next time
            self._told(address, error)
            self._pause(None)
            return
        with contextlib.closing(companion):
            with self._wake:
                if self._poked:
                    return
                self._companion = companion
            self._poll(address, companion)

    def _poll(self, address: str, companion: Companion) -> None:
        failures, known = 0, ""
        while not self._poked:
            started = time.monotonic()
            try:
                listing = companion.updates(known, wait_s=WAIT_S if known else 0)
                self._told(address, None if listing is None else offers_of(listing.bundles))
            except Exception as error:  # a list that cannot be had must not end the watch
                known = ""
                if self._poked:  # the connection was closed from here
                    return
                self._told(address, error)
                self._pause(PAUSES_S[min(failures, len(PAUSES_S) - 1)])
                failures += 1
            else:
                known = listing.tag if listing else known
                failures = 0
                if not known:
                    self._pause(UNTAGGED_S)
                elif listing is None and time.monotonic() - started < HASTY_S:
                    self._pause(HASTY_S)

    def _pause(self, seconds: float | None) -> None:
        with self._wake:
            self._wake.wait_for(lambda: self._poked, timeout=seconds)


def _offer(item: Mapping[str, Any]) -> Offer:
    if not _HEX.fullmatch(item["bundle_id"]) or not _HEX.fullmatch(item["sha256"]):
        raise ValueError("an id or a hash is not 64 hexadecimal digits")
    aliases, artifacts = item.get("aliases", ()), item.get("artifacts", ())
    if len(aliases) > MAX_ALIASES or len(artifacts) > MAX_ARTIFACTS:
        raise ValueError("a bundle has too many aliases or artifacts")
    return Offer(
        bundle_id=item["bundle_id"],
        name=_text(item["name"]) or item["bundle_id"][:12],
        task=_text(item.get("task", "")),
        bytes=_whole(item["bytes"], least=1),
        sha256=item["sha256"],
        aliases=tuple(map(_text, aliases)),
        artifacts=tuple(map(_artifact, artifacts)),
    )


def _artifact(told: Mapping[str, Any]) -> OfferedArtifact:
    agreement = told.get("agreement") or {}
    return OfferedArtifact(
        format=_text(told["format"]),
        precision=_text(told["precision"]),
        bytes=_whole(told["bytes"]),
        verdict=_text(told["verdict"]),
        agreement=_share(agreement.get("top1")),
        low=_share(agreement.get("low")),
        high=_share(agreement.get("high")),
        samples=_whole(agreement.get("n", 0)),
        snr_db=_finite(agreement.get("snr_db_mean", 0.0)),
    )


def _whole(value: Any, *, least: int = 0) -> int:
    if type(value) is not int or not least <= value <= MAX_WHOLE:
        raise ValueError("a size or count is no whole number within bounds")
    return value


def _share(value: Any) -> float | None:
    return None if value is None else min(1.0, max(0.0, _finite(value)))


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is no number")
    return number


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return "".join(letter for letter in value if letter.isprintable())[:MAX_TEXT]
