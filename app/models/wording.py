"""The Models page in words and numbers: for each card its lines, chips and buttons; no kivy."""

from __future__ import annotations

from app.figures import byte_size
from app.models.phrases import DOT, ago, agreement, duration, kind
from app.models.state import (
    ArtifactCard,
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
from app.models.views import CALM, DANGER, GOOD, SERVER, WARNING, Button, CardView, Chip, Row
from app.problems import Problem

__all__ = ["catalogue_views", "device_views"]


def device_views(state: ModelsState) -> tuple[CardView, ...]:
    """The cards of what is on this device."""
    installed = tuple(_installed(card, state) for card in state.installed or ())
    return installed + tuple(_unfinished(card) for card in state.unfinished)


def catalogue_views(state: ModelsState) -> tuple[CardView, ...]:
    """The cards of what the server offers."""
    return tuple(_offer(offer, state) for offer in state.catalogue.offers)


def _installed(card: InstalledCard, state: ModelsState) -> CardView:
    task = card.task.replace("-", " ")
    when = f"installed {ago(card.installed_s, state.now_s)}"
    parts = [part for part in (task, byte_size(card.bytes), when) if part]
    path = str(card.path)
    damaged = card.check in (Check.DAMAGED, Check.FOREIGN)
    buttons = [] if damaged else [Button("Open", "open", path)]
    if card.update and state.catalogue.reach is Reach.LIVE and not state.holds(card.update):
        buttons.append(Button("Update", "download", card.update, SERVER))
    offered = any(offer.bundle_id == card.bundle_id for offer in state.catalogue.offers)
    if damaged and offered and state.catalogue.reach is Reach.LIVE:
        buttons.append(Button("Repair", "repair", path, SERVER))
    if not damaged and card.check is not Check.CHECKING:
        buttons.append(Button("Verify", "verify", path, CALM))
    passed_over = any(a.suitability.chosen and a.suitability.reason for a in card.artifacts)
    if len(card.artifacts) > 1 or passed_over:
        label = "Less" if path in state.expanded else "Details"
        buttons.append(Button(label, "toggle", path, CALM))
    if card.problem is not None:
        buttons.append(_copy(card.problem))
    buttons.append(Button("Delete", "ask_delete", path, DANGER))
    return CardView(
        key=path,
        title=card.name,
        subtitle=DOT.join(parts),
        chips=_state_chips(card, updated=state.holds(card.update)),
        kinds=tuple(map(_kind_chip, card.artifacts)) if len(card.artifacts) > 1 else (),
        summary="" if damaged else _summary(card),
        rows=tuple(map(_artifact_row, card.artifacts)) if path in state.expanded else (),
        problem=card.problem,
        buttons=tuple(buttons),
    )


def _copy(problem: Problem) -> Button:
    return Button("Copy error", "copy", problem.full_text, CALM)


def _state_chips(card: InstalledCard, *, updated: bool) -> tuple[Chip, ...]:
    checks = {
        Check.LISTED: Chip("Not verified yet"),
        Check.CHECKING: Chip("Verifying"),
        Check.VERIFIED: Chip("Verified", GOOD),
        Check.DAMAGED: Chip("Damaged", DANGER),
        Check.FOREIGN: Chip("For another version", WARNING),
    }
    chips = [checks[card.check]]
    if card.opened:
        chips.insert(0, Chip("Open now", GOOD))
    if card.update:
        newer = "A newer version is here" if updated else "Update available"
        chips.append(Chip(newer, SERVER))
    if (
        card.check is not Check.DAMAGED
        and card.artifacts
        and not any(artifact.suitability.chosen for artifact in card.artifacts)
    ):
        chips.append(Chip("Does not run here", WARNING))
    return tuple(chips)


def _kind_chip(artifact: ArtifactCard) -> Chip:
    return Chip(kind(artifact), GOOD if artifact.suitability.chosen else CALM)


def _summary(card: InstalledCard) -> str:
    """Of the artifact that runs here, or why none does."""
    chosen = next((a for a in card.artifacts if a.suitability.chosen), None)
    if chosen is not None:
        runs = f"Runs {kind(chosen)}, {byte_size(chosen.bytes)}, on {chosen.suitability.runs}"
        said = agreement(chosen)
        return f"{runs}\n{said[0].upper()}{said[1:]}"
    reasons = dict.fromkeys(a.suitability.reason for a in card.artifacts)
    return "\n".join(reasons)


def _artifact_row(artifact: ArtifactCard) -> Row:
    fit = artifact.suitability
    detail = [byte_size(artifact.bytes), agreement(artifact)]
    if fit.chosen:
        note = "\n".join(filter(None, (f"Runs here on {fit.runs}", fit.reason)))
        return Row(kind(artifact), DOT.join(detail), note, True)
    return Row(kind(artifact), DOT.join(detail), fit.reason)


def _unfinished(card: UnfinishedCard) -> CardView:
    why = "Another process is downloading it." if card.busy else "No server offers it now."
    return CardView(
        key=str(card.path),
        title=card.name,
        subtitle=f"Unfinished download{DOT}{byte_size(card.held)}",
        progress=why,
        buttons=() if card.busy else (Button("Discard", "discard", str(card.path), DANGER),),
    )


def _offer(offer: Offer, state: ModelsState) -> CardView:
    download = state.downloads.get(offer.bundle_id)
    held = state.holds(offer.bundle_id)
    live = state.catalogue.reach is Reach.LIVE
    key = offer.bundle_id
    label = "Less" if key in state.expanded else "Details"
    told = any(artifact.samples for artifact in offer.artifacts)
    details = [Button(label, "toggle", key, CALM)] if told else []
    copy = [_copy(download.problem)] if download and download.problem else []
    names = [alias for alias in offer.aliases if alias != "latest"]
    parts = [offer.task.replace("-", " "), byte_size(offer.bytes), offer.bundle_id[:12]]
    chips = [Chip(name, SERVER) for name in names]
    if held:
        chips.append(Chip(f"On {state.device}", GOOD))
    elif any(card.update == offer.bundle_id for card in state.installed or ()):
        chips.append(Chip("Newer version", SERVER))
    return CardView(
        key=key,
        title=offer.name,
        subtitle=DOT.join(part for part in parts if part),
        chips=tuple(chips),
        kinds=tuple(
            Chip(kind(a), CALM if a.verdict == "pass" else WARNING) for a in offer.artifacts
        ),
        rows=tuple(map(_offered_row, offer.artifacts)) if key in state.expanded else (),
        share=download.held / download.size if download else None,
        progress=_progress(download) if download else "",
        problem=download.problem if download else None,
        buttons=(*(() if held else _offer_buttons(offer, download, live=live)), *details, *copy),
    )


def _offered_row(artifact: OfferedArtifact) -> Row:
    detail = [byte_size(artifact.bytes)]
    if artifact.samples:
        detail.append(agreement(artifact))
    poor = "" if artifact.verdict == "pass" else f"Verdict: {artifact.verdict}"
    return Row(kind(artifact), DOT.join(detail), poor)


def _offer_buttons(offer: Offer, download: Download | None, *, live: bool) -> tuple[Button, ...]:
    pause = Button("Pause", "pause", offer.bundle_id, CALM)
    resume = Button("Resume", "download", offer.bundle_id, SERVER)
    cancel = Button("Cancel", "cancel", offer.bundle_id, DANGER)
    if download is None:
        get = Button("Download", "download", offer.bundle_id, SERVER)
        return (get,) if live else ()
    if download.phase in (Phase.WAITING, Phase.RUNNING):
        return pause, cancel
    if download.phase in (Phase.PAUSED, Phase.FAILED):
        return (resume, cancel) if live else (cancel,)
    return ()


def _progress(download: Download) -> str:
    got = f"{byte_size(download.held)} of {byte_size(download.size)}"
    if download.phase is Phase.RUNNING and download.mbit_s is not None:
        parts = [got, f"{download.mbit_s:.1f} Mbit/s"]
        if download.remaining_s is not None:
            parts.append(f"{duration(download.remaining_s)} left")
        return DOT.join(parts)
    said = {
        Phase.WAITING: "Waiting",
        Phase.RUNNING: "Downloading",
        Phase.INSTALLING: "Checking and unpacking",
        Phase.PAUSED: "Paused",
        Phase.FAILED: "Stopped",
        Phase.ELSEWHERE: "Another process is downloading it",
    }
    return f"{said[download.phase]}{DOT}{got}"
