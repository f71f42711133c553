"""The inference side: owns the open bundle, the loaded artifact and the link to the server.

Lives on the pipeline's thread. A request states what the page wants; whatever of it is already
there (same bundle, same server) is kept, so that a frame costs one preprocessing and one answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from app.live.model import LiveModel, load_model
from app.live.palette import painted
from app.live.request import Choices, Request
from app.live.state import Event, Failed, Opened, Paired, Place, Result, Window
from app.problems import problem_of
from app.servers import Servers, is_code
from headtail.errors import HeadtailError
from headtail.offload.client import Companion
from headtail.offload.engine import Answer, OffloadEngine
from headtail.offload.policy import Policy
from headtail.offload.trace import Trace
from headtail.postprocess import Mask
from headtail.preprocess import Frame, Preprocess
from headtail.runtimes.base import Runtime

__all__ = ["Inference"]

NO_SERVER = "No companion server is set, so nothing can be split."


class Inference:
    """Answers frames, one after the other, on one thread. `runtimes` are in order of preference."""

    def __init__(self, runtimes: Callable[[], Sequence[Runtime]], *, servers: Servers) -> None:
        self._runtimes = runtimes
        self._servers = servers
        self._loaded: tuple[Path, int, str] | None = None  # bundle, threads, accelerator
        self._model: LiveModel | None = None
        self._address = ""
        self._access: tuple[str | None, str | None] = (None, None)  # fingerprint and key
        self._companion: Companion | None = None
        self._engine: OffloadEngine | None = None
        self._choices = Choices()

    def prepare(self, request: Request) -> Iterator[Event]:
        """Open what has to be opened, and tell each step.

        Raises whatever stands in the way of an answer (`HeadtailError` for what is known); a server
        that is not there does not: the answers then come from here and say so.
        """
        choices = self._choices = request.choices
        model = self._opened(request.bundle, choices)
        if model is None:
            return
        yield Opened(request.ticket, model.card, model.samples)
        address = choices.server if choices.mode != "off" else ""
        try:
            if is_code(address):
                address = self._servers.pair(address)
                yield Paired(request.ticket, address)
            self._link(model, address)
        except HeadtailError as error:  # no address, or no server there to pair with: answer here
            yield Failed(request.ticket, problem_of(error), goes_on=True)
            self._link(model, "")

    def answer(self, frame: Frame, *, handed_s: float) -> Result | None:
        """See `Answerer.answer`."""
        model = self._model
        if model and self._address and self._servers.access(self._address) != self._access:
            self._link(model, self._address)  # paired again, or given another key
        engine = self._engine
        if model is None or engine is None:
            return None
        started_s = time.perf_counter()
        tensor = model.reading.preprocess(frame)
        prepare_ms = _since(started_s)
        answer = engine.answer([tensor])
        seen = model.reading(answer.outputs)
        return Result(
            seen=seen,
            window=_window(model.reading.preprocess, frame),
            place=_place(answer, self._choices),
            badge=f"split at {answer.cut}, {answer.codec}"
            if answer.where == "split"
            else answer.where,
            reason=self._reason(answer),
            prepare_ms=prepare_ms,
            head_ms=answer.head_ms,
            tail_ms=answer.tail_ms,
            local_ms=answer.local_ms,
            total_ms=answer.total_ms,
            frame_ms=_since(handed_s),
            bytes_up=answer.bytes_up,
            bytes_down=answer.bytes_down,
            offload=engine.status(),
            paint=painted(seen) if isinstance(seen, Mask) else None,
        )

    def trace(self) -> Trace | None:
        """What was decided so far, None before a bundle is open. May be called on any thread."""
        engine = self._engine
        return None if engine is None else engine.trace

    def close(self) -> None:
        """Give back the loaded artifact and the connection."""
        self._unlink()
        if self._model is not None:
            self._model.session.close()
        self._model = self._loaded = None

    def _opened(self, path: Path | None, choices: Choices) -> LiveModel | None:
        wanted = None if path is None else (path, choices.threads, choices.accelerator)
        if wanted != self._loaded:
            self.close()
            if wanted is not None:
                self._model = load_model(
                    wanted[0], self._runtimes(), threads=wanted[1], accelerator=wanted[2]
                )
                self._loaded = wanted
        return self._model

    def _link(self, model: LiveModel, address: str) -> None:
        # kept between requests: it remembers a dead server, so that the next frame does not wait
        policy = _policy(model, self._choices)
        access = self._servers.access(address) if address else (None, None)
        if self._engine is not None and (self._address, self._access) == (address, access):
            self._engine.set_policy(policy)
            return
        companion = self._servers.companion(address) if address else None
        self._unlink()
        self._companion, self._address, self._access = companion, address, access
        self._engine = OffloadEngine(
            model.bundle, model.artifact, model.session, companion=companion, policy=policy
        )

    def _unlink(self) -> None:
        if self._engine is not None:
            self._engine.close()
        if self._companion is not None:
            self._companion.close()
        self._engine = self._companion = None

    def _reason(self, answer: Answer) -> str:
        if self._choices.mode == "off":
            return ""
        if self._companion is None:
            return NO_SERVER
        return answer.reason or answer.decision.reason


def _policy(model: LiveModel, choices: Choices) -> Policy:
    """What the person chose; a cut that this bundle does not have is left to the planner."""
    return Policy(
        mode=choices.mode,
        cut=choices.cut if choices.cut in model.card.cuts else None,
        codec=choices.codec or None,
        deadline_ms=choices.deadline_ms,
        picture_may_leave=choices.picture_may_leave,
    )


def _place(answer: Answer, choices: Choices) -> Place:
    if answer.where == "split":
        return Place.SPLIT
    plain = answer.where == "local" and choices.mode != "force"
    return Place.DEVICE if plain else Place.FALLBACK


def _window(preprocess: Preprocess, frame: Frame) -> Window:
    height, width = frame.shape[:2]
    left, top, right, bottom = preprocess.window(width, height)
    return left / width, top / height, right / width, bottom / height


def _since(started_s: float) -> float:
    return (time.perf_counter() - started_s) * 1e3
