"""An open bundle with one of its artifacts loaded, and how its outputs are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.live.selection import Usable, choose_artifact, usable_runtimes, ways
from app.live.state import BundleCard
from app.sources.photo import Photo, bundled_photos
from headtail.bundle import Bundle, open_bundle
from headtail.errors import HeadtailError, RuntimeUnavailable
from headtail.manifest import Artifact
from headtail.offload.options import cuts_with_heads
from headtail.postprocess import Reading, reading_of
from headtail.runtimes.base import Runtime, Session

__all__ = ["LiveModel", "load_model"]


@dataclass(frozen=True, eq=False)
class LiveModel:
    """See the module docstring; `session` belongs to the thread that loaded it."""

    bundle: Bundle
    artifact: Artifact
    session: Session
    reading: Reading
    samples: tuple[Photo, ...]
    card: BundleCard


@dataclass(frozen=True)
class _Loaded:
    session: Session
    way: tuple[Usable, str]
    notes: tuple[str, ...]


def load_model(
    path: Path, runtimes: Sequence[Runtime], *, threads: int, accelerator: str
) -> LiveModel:
    """Open and check the bundle, choose, load.

    What was passed over on the way is in the card's notes. Raises what `open_bundle` does,
    `UsageFault` for a model that the app cannot show, and `RuntimeUnavailable` with every reason
    where nothing runs it.
    """
    bundle = open_bundle(path)
    reading = reading_of(bundle.manifest)
    usable = usable_runtimes(runtimes)
    artifact = choose_artifact(bundle.manifest, usable)
    loaded = _load(bundle, artifact, usable, threads=threads, accelerator=accelerator)
    return LiveModel(
        bundle,
        artifact,
        loaded.session,
        reading,
        bundled_photos(bundle.golden()),
        _card(bundle, artifact, loaded, reading, threads),
    )


def _load(
    bundle: Bundle,
    artifact: Artifact,
    usable: Sequence[Usable],
    *,
    threads: int,
    accelerator: str,
) -> _Loaded:
    entries = {entry.name: (entry.inputs, entry.outputs) for entry in artifact.entries}
    notes = [
        f"{item.runtime.name} was passed over: {item.reason}"
        for item in usable
        if item.reason and item.runtime.format == artifact.format
    ]
    path = bundle.artifact_path(artifact)
    fault: HeadtailError | None = None
    for item, wanted in ways(artifact, usable, accelerator):
        try:
            session = item.runtime.load(path, entries=entries, threads=threads, accelerator=wanted)
        except RuntimeUnavailable as error:  # the next one may do; the note says why it was taken
            notes.append(f"{item.runtime.name} on {wanted} was passed over: {error.what}")
            fault = error
            continue
        if wanted != accelerator and not fault:
            notes.append(f"No runtime of this format here runs on {accelerator}.")
        return _Loaded(session, (item, wanted), tuple(notes))
    raise fault or RuntimeUnavailable(
        f"{path.name} cannot be loaded here.",
        expected=" ".join(notes) or "A runtime of its format.",
        remedy="Choose another bundle.",
    )


def _card(
    bundle: Bundle, artifact: Artifact, loaded: _Loaded, reading: Reading, threads: int
) -> BundleCard:
    item, accelerator = loaded.way
    return BundleCard(
        name=bundle.manifest.name,
        format=artifact.format,
        precision=artifact.precision,
        bytes=artifact.bytes,
        agreement=artifact.agreement.top1,
        samples=artifact.agreement.n,
        runtime=item.runtime.name,
        version=item.version,
        accelerator=accelerator,
        threads=threads,
        task=reading.task,
        cuts=tuple(cuts_with_heads(bundle.manifest, loaded.session.entry_points())),
        notes=loaded.notes,
    )
