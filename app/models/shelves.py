"""From what lies in the folder to the cards that the page shows of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.figures import drawable
from app.live.selection import usable_runtimes
from app.models.catalogue import newer
from app.models.fitness import Suitability, suitability
from app.models.library import Found, Library, Shelf
from app.models.state import (
    ArtifactCard,
    CatalogueCard,
    Check,
    Download,
    InstalledCard,
    Phase,
    UnfinishedCard,
)
from app.problems import Problem, problem_of
from headtail.errors import SchemaFault
from headtail.manifest import Artifact
from headtail.runtimes.base import Runtime

__all__ = ["Looked", "installed_cards", "look", "resumable", "unfinished_of"]


@dataclass(frozen=True)
class Looked:
    """The folder as it was looked at, and for each bundle's path what of it runs here."""

    shelf: Shelf
    artifacts: Mapping[Path, tuple[ArtifactCard, ...]]


def look(library: Library, runtimes: Sequence[Runtime]) -> Looked:
    """Read the folder and ask the runtimes; blocks."""
    shelf = library.look()
    usable = usable_runtimes(runtimes)
    artifacts = {
        found.path: tuple(
            _artifact(artifact, fit)
            for artifact, fit in zip(
                found.manifest.artifacts, suitability(found.manifest, usable), strict=True
            )
        )
        for found in shelf.found
        if found.manifest is not None
    }
    return Looked(shelf, artifacts)


def installed_cards(
    looked: Looked,
    checks: Mapping[Path, tuple[Check, Problem | None]],
    opened: Path | None,
    catalogue: CatalogueCard,
) -> tuple[InstalledCard, ...]:
    """A card for each bundle, whole or damaged, in the folder's order."""
    cards = []
    for found in looked.shelf.found:
        check, problem = checks.get(found.path, (Check.LISTED, None))
        if found.fault is not None:
            foreign = isinstance(found.fault, SchemaFault)
            check = Check.FOREIGN if foreign else Check.DAMAGED
            problem = problem_of(found.fault)
        cards.append(_card(found, looked, check, problem))
    return tuple(
        dataclasses.replace(card, opened=card.path == opened, update=newer(card, catalogue.offers))
        for card in cards
    )


def unfinished_of(
    looked: Looked, catalogue: CatalogueCard, downloads: Mapping[str, Download]
) -> tuple[UnfinishedCard, ...]:
    """The unfinished downloads that are not among `downloads`."""
    shown = {offer.sha256 for offer in catalogue.offers if offer.bundle_id in downloads}
    return tuple(
        UnfinishedCard(p.path, drawable(p.destination.stem), p.digest, p.held, p.busy)
        for p in looked.shelf.parts
        if p.digest not in shown
    )


def resumable(looked: Looked, catalogue: CatalogueCard, library: Library) -> dict[str, Download]:
    """The downloads that were begun, now or in an earlier life of the app, of what is offered."""
    found = {}
    for part in looked.shelf.parts:
        for offer in catalogue.offers:
            place = library.destination(offer.name, offer.bundle_id)
            if offer.sha256 == part.digest and place == part.destination:
                phase = Phase.ELSEWHERE if part.busy else Phase.PAUSED
                begun = Download(offer.bundle_id, offer.name, offer.bytes, part.held, phase)
                found[offer.bundle_id] = begun
    return found


def _card(found: Found, looked: Looked, check: Check, problem: Problem | None) -> InstalledCard:
    manifest = found.manifest
    return InstalledCard(
        path=found.path,
        name=manifest.name if manifest else drawable(found.path.name),
        bytes=found.bytes,
        installed_s=found.installed_s,
        bundle_id=manifest.bundle_id if manifest else "",
        task=manifest.task if manifest else "",
        artifacts=looked.artifacts.get(found.path, ()),
        check=check,
        problem=problem,
    )


def _artifact(artifact: Artifact, fit: Suitability) -> ArtifactCard:
    agreement = artifact.agreement
    return ArtifactCard(
        format=artifact.format,
        precision=artifact.precision,
        bytes=artifact.bytes,
        agreement=agreement.top1,
        low=agreement.low,
        high=agreement.high,
        samples=agreement.n,
        snr_db=agreement.snr_db_mean,
        suitability=fit,
    )
