"""The inference side: owns the open bundle, the loaded artifact and the link to the server.

Lives on the worker's thread. A request states what the screen wants; whatever of it is already
there (same bundle, same server) is kept, so that a request costs one preprocessing and one answer.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from app.live.selection import check_classifier, choose_artifact, choose_cut, usable_formats
from app.live.state import (
    Answered,
    BundleCard,
    Event,
    Failed,
    Mode,
    Opened,
    Paired,
    Picture,
    Pictured,
    Place,
    Request,
    Result,
)
from app.problems import problem_of
from app.servers import Servers, is_code
from app.sources.photo import Photo, bundled_photos, shrunk
from headtail.bundle import Bundle, open_bundle
from headtail.errors import HeadtailError
from headtail.manifest import Artifact
from headtail.offload.client import Companion
from headtail.offload.engine import SplitEngine
from headtail.postprocess import top_k
from headtail.preprocess import Preprocess
from headtail.runtimes.base import Runtime, Session
from headtail.tensors import Array

__all__ = ["CODEC", "Inference"]

CODEC = "aq8t+deflate"
NO_CUT = "No cut of this bundle sends less than the photo itself."
DEADLINE_MS = 1000.0  # a person who tapped waits a second; then the local answer counts


@dataclass(frozen=True)
class _Model:
    """An open bundle with the artifact that was chosen and loaded."""

    path: Path
    bundle: Bundle
    artifact: Artifact
    session: Session
    preprocess: Preprocess
    samples: tuple[Photo, ...]

    def card(self) -> BundleCard:
        agreement = self.artifact.agreement
        return BundleCard(
            name=self.bundle.manifest.name,
            format=self.artifact.format,
            precision=self.artifact.precision,
            bytes=self.artifact.bytes,
            agreement=agreement.top1,
            samples=agreement.n,
        )


@dataclass(frozen=True)
class _Link:
    """The engine for one address; `why_local` says why a server that was named is not used."""

    address: str
    companion: Companion | None
    engine: SplitEngine
    why_local: str


class Inference:
    """Answers requests, one after the other, on one thread."""

    def __init__(
        self,
        runtimes: Mapping[str, Runtime],
        *,
        servers: Servers,
        deadline_ms: float = DEADLINE_MS,
    ) -> None:
        self._runtimes = runtimes
        self._servers = servers
        self._deadline_ms = deadline_ms
        self._model: _Model | None = None
        self._link: _Link | None = None

    def answer(self, request: Request) -> Iterator[Event]:
        """Open what has to be opened, classify, and tell each step.

        Raises whatever stands in the way of an answer (`HeadtailError` for what is known); a server
        that is not there does not: the answer then comes from here and says so.
        """
        if request.bundle is None:
            return
        model = self._opened(request.bundle)
        yield Opened(request.ticket, model.card(), model.samples)
        if request.photo is None:
            return
        frame = request.photo.load()
        yield Pictured(request.ticket, Picture(shrunk(frame)))
        started = time.perf_counter()
        tensor = model.preprocess(frame)
        prepare_ms = (time.perf_counter() - started) * 1e3
        try:
            server = request.server
            if request.mode is Mode.OFFLOAD and is_code(server):
                server = self._servers.pair(server)
                yield Paired(request.ticket, server)
            link = self._link_for(model, request.mode, server)
        except HeadtailError as error:  # an address that is no address: answer here, and say so
            yield Failed(request.ticket, problem_of(error))
            link = self._link_for(model, Mode.LOCAL, "")
        yield Answered(request.ticket, _result(model, link, tensor, prepare_ms))

    def close(self) -> None:
        """Give back the loaded artifact and the connection."""
        self._unlink()
        if self._model is not None:
            self._model.session.close()
            self._model = None

    def _opened(self, path: Path) -> _Model:
        if self._model is None or self._model.path != path:
            model = self._load(path)
            self.close()
            self._model = model
        return self._model

    def _load(self, path: Path) -> _Model:
        bundle = open_bundle(path)
        manifest = bundle.manifest
        check_classifier(manifest)
        artifact = choose_artifact(manifest, usable_formats(self._runtimes))
        session = self._runtimes[artifact.format].load(
            bundle.artifact_path(artifact),
            entries={entry.name: (entry.inputs, entry.outputs) for entry in artifact.entries},
        )
        assert manifest.preprocess is not None  # check_classifier refused a bundle without it
        return _Model(
            path, bundle, artifact, session, manifest.preprocess, bundled_photos(bundle.golden())
        )

    def _link_for(self, model: _Model, mode: Mode, server: str) -> _Link:
        # kept between requests: it remembers a dead server, so that the next photo does not wait
        address = server if mode is Mode.OFFLOAD else ""
        if self._link is None or self._link.address != address:
            companion = self._servers.companion(address) if address else None
            self._unlink()
            self._link = self._linked(model, address, companion)
        return self._link

    def _linked(self, model: _Model, address: str, companion: Companion | None) -> _Link:
        heads = [entry.name for entry in model.artifact.entries]
        cut = choose_cut(model.bundle.manifest, heads, CODEC) if companion else None
        engine = SplitEngine(
            model.bundle,
            model.session,
            companion=companion,
            cut=cut.id if cut else None,
            codec=CODEC,
            deadline_ms=self._deadline_ms,
        )
        return _Link(address, companion, engine, NO_CUT if companion and cut is None else "")

    def _unlink(self) -> None:
        if self._link is not None:
            self._link.engine.close()
            if self._link.companion is not None:
                self._link.companion.close()
            self._link = None


def _result(model: _Model, link: _Link, tensor: Array, prepare_ms: float) -> Result:
    answer = link.engine.answer([tensor])
    split = answer.where == "split"
    place = Place.SPLIT if split else Place.DEVICE if answer.where == "local" else Place.FALLBACK
    return Result(
        ranked=top_k(answer.outputs[0], model.bundle.manifest.labels),
        place=place,
        badge=f"split at {answer.cut}, {answer.codec}" if split else answer.where,
        reason=answer.reason or link.why_local,
        prepare_ms=prepare_ms,
        head_ms=answer.head_ms,
        tail_ms=answer.tail_ms,
        total_ms=answer.total_ms,
        bytes_up=answer.bytes_up,
        bytes_down=answer.bytes_down,
    )
