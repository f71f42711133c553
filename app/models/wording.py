"""The Models page in words and numbers: for each card its lines, chips and buttons; no kivy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from app.figures import RUNTIME_NAMES, byte_size
from app.models.state import (
    ArtifactCard,
    CatalogueCard,
    Check,
    Download,
    InstalledCard,
    ModelsState,
    Offer,
    OfferedArtifact,
    Phase,
    Reach,
    UnfinishedCard,
)
from app.problems import Problem

__all__ = [
    "Button",
    "CardView",
    "Chip",
    "Row",
    "catalogue_notice",
    "catalogue_views",
    "device_notice",
    "device_views",
    "question",
    "server_line",
    "storage_line",
]

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400
CALM, GOOD, SERVER, WARNING, DANGER = "calm", "device", "server", "warning", "danger"


@dataclass(frozen=True)
class Chip:
    """A short text on a tinted ground; `hue` names a colour of the theme, or `calm`."""

    text: str
    hue: str = CALM


@dataclass(frozen=True)
class Row:
    """An artifact: format and precision, what is known of it, and why it does not run here."""

    title: str
    detail: str
    note: str = ""
    chosen: bool = False


@dataclass(frozen=True)
class Button:
    """A gesture: `verb` is what the screen calls, on `subject`."""

    label: str
    verb: str
    subject: str
    hue: str = GOOD


@dataclass(frozen=True)
class CardView:
    """What one card says. `kinds` are its artifacts in short, `rows` in full once that was asked
    for. `share` in [0, 1] is how far its download is, None without one.
    """

    key: str
    title: str
    subtitle: str
    chips: tuple[Chip, ...] = ()
    kinds: tuple[Chip, ...] = ()
    summary: str = ""
    rows: tuple[Row, ...] = ()
    share: float | None = None
    progress: str = ""
    problem: Problem | None = None
    buttons: tuple[Button, ...] = ()


def device_views(state: ModelsState) -> tuple[CardView, ...]:
    """The cards of what is on this device."""
    installed = tuple(_installed(card, state) for card in state.installed or ())
    return installed + tuple(_unfinished(card) for card in state.unfinished)


def catalogue_views(state: ModelsState) -> tuple[CardView, ...]:
    """The cards of what the server offers."""
    return tuple(_offer(offer, state) for offer in state.catalogue.offers)


def device_notice(state: ModelsState) -> tuple[str, str, str] | None:
    """Title, text and button in place of cards, None where there are some."""
    if state.installed is None:
        return "Looking", "The folder of models is being read.", ""
    if state.installed or state.unfinished:
        return None
    return (
        "No models yet",
        "Download one from your server, or drop a .bundle folder or its .zip here.",
        "",
    )


def catalogue_notice(state: ModelsState) -> tuple[str, str, str] | None:
    """Title, text and button in place of offers or above remembered ones, None without need."""
    found = state.catalogue
    if found.reach is Reach.NO_SERVER:
        text = (
            "Models come from a companion server of yours. Start one on a computer with "
            "headtail serve MODEL.bundle, then scan or type its pairing code in Settings."
        )
        return "No server yet", text, "Open Settings"
    if found.reach is Reach.LOST and found.problem is not None:
        after = " What it offered last stands below." if found.offers else ""
        return found.problem.what, f"{found.problem.remedy}{after}", ""
    if found.offers:
        return None
    if found.reach is Reach.ASKING:
        return "Asking the server", "It answers at once when it is there.", ""
    return "Nothing to download", "The server holds no bundle: headtail serve MODEL.bundle", ""


def storage_line(state: ModelsState) -> str:
    """How much of the room for models is taken."""
    return f"{byte_size(state.used)} of {byte_size(state.quota)} used"


def server_line(catalogue: CatalogueCard, now_s: float) -> str:
    """Whether the list is what the server holds now, and if not, of when it is."""
    if catalogue.reach is Reach.LIVE:
        return f"{_host(catalogue.server)}  \u00b7  up to date"
    if catalogue.reach is Reach.ASKING:
        return f"Asking {_host(catalogue.server)}"
    if catalogue.reach is Reach.NO_SERVER:
        return "No server is set"
    seen = f"last seen {_ago(catalogue.seen_s, now_s)}" if catalogue.seen_s else "never seen"
    return f"{_host(catalogue.server)}  \u00b7  {seen}"


def question(card: InstalledCard) -> tuple[str, str]:
    """Title and text of the question before a bundle is deleted."""
    again = "It can be downloaded again from a server that holds it."
    return f"Delete {card.name}?", f"This frees {byte_size(card.bytes)}. {again}"


def _installed(card: InstalledCard, state: ModelsState) -> CardView:
    task = card.task.replace("-", " ")
    when = f"installed {_ago(card.installed_s, state.now_s)}"
    parts = [part for part in (task, byte_size(card.bytes), when) if part]
    path = str(card.path)
    damaged = card.check is Check.DAMAGED
    buttons = [] if damaged else [Button("Open", "open", path)]
    if card.update and state.catalogue.reach is Reach.LIVE and not state.holds(card.update):
        buttons.append(Button("Update", "download", card.update, SERVER))
    if not damaged and card.check is not Check.CHECKING:
        buttons.append(Button("Verify", "verify", path, CALM))
    if card.artifacts:
        label = "Less" if path in state.expanded else "Details"
        buttons.append(Button(label, "toggle", path, CALM))
    buttons.append(Button("Delete", "ask_delete", path, DANGER))
    return CardView(
        key=path,
        title=card.name,
        subtitle="  \u00b7  ".join(parts),
        chips=_state_chips(card),
        kinds=tuple(_kind_chip(artifact) for artifact in card.artifacts),
        summary=_summary(card),
        rows=tuple(map(_artifact_row, card.artifacts)) if path in state.expanded else (),
        problem=card.problem,
        buttons=tuple(buttons),
    )


def _state_chips(card: InstalledCard) -> tuple[Chip, ...]:
    checks = {
        Check.LISTED: Chip("Not verified yet"),
        Check.CHECKING: Chip("Verifying"),
        Check.VERIFIED: Chip("Verified", GOOD),
        Check.DAMAGED: Chip("Damaged", DANGER),
    }
    chips = [checks[card.check]]
    if card.opened:
        chips.insert(0, Chip("Open now", GOOD))
    if card.update:
        chips.append(Chip("Update available", SERVER))
    if card.artifacts and not any(artifact.suitability.chosen for artifact in card.artifacts):
        chips.append(Chip("Does not run here", WARNING))
    return tuple(chips)


def _kind_chip(artifact: ArtifactCard) -> Chip:
    return Chip(_kind(artifact), GOOD if artifact.suitability.chosen else CALM)


def _summary(card: InstalledCard) -> str:
    """Of the artifact that runs here, or why none does."""
    chosen = next((a for a in card.artifacts if a.suitability.chosen), None)
    if chosen is not None:
        runs = f"Runs {_kind(chosen)} here, {byte_size(chosen.bytes)}"
        agreement = _agreement(chosen)
        return f"{runs}\n{agreement[0].upper()}{agreement[1:]}"
    reasons = dict.fromkeys(a.suitability.reason for a in card.artifacts)
    return "\n".join(reasons)


def _artifact_row(artifact: ArtifactCard) -> Row:
    fit = artifact.suitability
    detail = [byte_size(artifact.bytes), _agreement(artifact)]
    if fit.chosen:
        return Row(_kind(artifact), "  \u00b7  ".join(detail), f"Runs here on {fit.runs}", True)
    return Row(_kind(artifact), "  \u00b7  ".join(detail), fit.reason)


def _unfinished(card: UnfinishedCard) -> CardView:
    why = "Another process is downloading it." if card.busy else "No server offers it now."
    return CardView(
        key=str(card.path),
        title=card.name,
        subtitle=f"Unfinished download  \u00b7  {byte_size(card.held)}",
        progress=why,
        buttons=() if card.busy else (Button("Discard", "discard", card.digest, DANGER),),
    )


def _offer(offer: Offer, state: ModelsState) -> CardView:
    download = state.downloads.get(offer.bundle_id)
    held = state.holds(offer.bundle_id)
    live = state.catalogue.reach is Reach.LIVE
    key = offer.bundle_id
    details = Button("Less" if key in state.expanded else "Details", "toggle", key, CALM)
    names = [alias for alias in offer.aliases if alias != "latest"]
    parts = [offer.task.replace("-", " "), byte_size(offer.bytes), offer.bundle_id[:12]]
    chips = [Chip(name, SERVER) for name in names]
    if held:
        chips.append(Chip("On this device", GOOD))
    elif any(card.update == offer.bundle_id for card in state.installed or ()):
        chips.append(Chip("Newer version", SERVER))
    return CardView(
        key=key,
        title=offer.name,
        subtitle="  \u00b7  ".join(part for part in parts if part),
        chips=tuple(chips),
        kinds=tuple(
            Chip(_kind(a), CALM if a.verdict == "pass" else WARNING) for a in offer.artifacts
        ),
        rows=tuple(map(_offered_row, offer.artifacts)) if key in state.expanded else (),
        share=download.held / download.size if download else None,
        progress=_progress(download) if download else "",
        problem=download.problem if download else None,
        buttons=(*(() if held else _offer_buttons(offer, download, live=live)), details),
    )


def _offered_row(artifact: OfferedArtifact) -> Row:
    detail = [byte_size(artifact.bytes)]
    if artifact.samples:
        detail.append(_agreement(artifact))
    poor = "" if artifact.verdict == "pass" else f"Verdict: {artifact.verdict}"
    return Row(_kind(artifact), "  \u00b7  ".join(detail), poor)


def _offer_buttons(offer: Offer, download: Download | None, *, live: bool) -> tuple[Button, ...]:
    pause = Button("Pause", "pause", offer.bundle_id, CALM)
    resume = Button("Resume", "download", offer.bundle_id, SERVER)
    discard = Button("Cancel", "discard", offer.sha256, DANGER)
    if download is None:
        get = Button("Download", "download", offer.bundle_id, SERVER)
        return (get,) if live else ()
    if download.phase in (Phase.WAITING, Phase.RUNNING):
        return (pause,)
    if download.phase in (Phase.PAUSED, Phase.FAILED):
        return (resume, discard) if live else (discard,)
    return ()


def _progress(download: Download) -> str:
    got = f"{byte_size(download.held)} of {byte_size(download.size)}"
    if download.phase is Phase.RUNNING and download.mbit_s is not None:
        parts = [got, f"{download.mbit_s:.1f} Mbit/s"]
        if download.remaining_s is not None:
            parts.append(f"{_duration(download.remaining_s)} left")
        return "  \u00b7  ".join(parts)
    said = {
        Phase.WAITING: "Waiting",
        Phase.RUNNING: "Downloading",
        Phase.INSTALLING: "Checking and unpacking",
        Phase.PAUSED: "Paused",
        Phase.FAILED: "Stopped",
        Phase.ELSEWHERE: "Another process is downloading it",
    }
    return f"{said[download.phase]}  \u00b7  {got}"


def _kind(artifact: ArtifactCard | OfferedArtifact) -> str:
    return f"{RUNTIME_NAMES.get(artifact.format, artifact.format)} {artifact.precision}"


def _agreement(artifact: ArtifactCard | OfferedArtifact) -> str:
    """`agrees 0.980, 0.896 to 0.996 (n=50)`, or how near the outputs come."""
    count = f"(n={artifact.samples})"
    if artifact.agreement is None:
        snr = artifact.snr_db if isinstance(artifact, ArtifactCard) else math.inf
        return f"{snr:.1f} dB {count}" if math.isfinite(snr) else f"exact {count}"
    interval = ""
    if artifact.low is not None and artifact.high is not None:
        interval = f" [{artifact.low:.3f}, {artifact.high:.3f}]"
    return f"agrees {artifact.agreement:.3f}{interval} {count}"


def _ago(then_s: float, now_s: float) -> str:
    seconds = now_s - then_s
    if seconds < MINUTE_S:  # a clock that was set back too
        return "just now"
    steps: Sequence[tuple[int, str]] = ((DAY_S, "day"), (HOUR_S, "hour"), (MINUTE_S, "minute"))
    size, unit = next(step for step in steps if seconds >= step[0])
    count = int(seconds // size)
    return f"{count} {unit}{'' if count == 1 else 's'} ago"


def _duration(seconds: float) -> str:
    if seconds >= HOUR_S:
        return f"{seconds / HOUR_S:.1f} h"
    return f"{seconds / MINUTE_S:.0f} min" if seconds >= MINUTE_S else f"{math.ceil(seconds)} s"


def _host(address: str) -> str:
    return address.split("://", 1)[-1]
