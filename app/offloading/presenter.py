"""Behind the Offload screen: takes each frame's answer and status, shows them some times a second.

Frames may come sixty times a second and nobody reads that fast: everything is kept, and while the
screen is seen a state is shown every `SHOWN_EVERY_S` at most, and none while it is not.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from app.ending import ENDS_S, ended
from app.live.state import LiveState, Result
from app.offloading.choices import cut_choices, usable_codecs
from app.offloading.export import Saved, TraceExport
from app.offloading.state import Decided, Moment, OffloadingState
from app.presenter import HandOver, Presenter
from app.problems import problem_of
from app.settings.preferences import Preferences, PreferenceStore
from headtail.bundle import open_bundle
from headtail.manifest import Artifact, Manifest
from headtail.offload.engine import OffloadStatus
from headtail.offload.trace import Trace

__all__ = ["KEPT_DECISIONS", "KEPT_MOMENTS", "OffloadingPresenter"]

T = TypeVar("T")
SHOWN_EVERY_S = 0.25
KEPT_MOMENTS = 300
KEPT_DECISIONS = 12


class OffloadingPresenter(Presenter[OffloadingState]):
    """`trace()` is the engine's, None while there is none."""

    def __init__(
        self,
        preferences: PreferenceStore,
        *,
        trace: Callable[[], Trace | None],
        exports: TraceExport,
        device: str,
        hand_over: HandOver,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(OffloadingState(device, preferences.state))
        self._preferences = preferences
        self._trace = trace
        self._exports = exports
        self._hand_over = hand_over
        self._clock = clock
        self._model: tuple[Manifest, Artifact] | None = None
        self._moments: deque[Moment] = deque(maxlen=KEPT_MOMENTS)
        self._decided: deque[Decided] = deque(maxlen=KEPT_DECISIONS)
        self._opened: tuple[Path, str, str] | None = None
        self._last: Result | None = None
        self._seen: OffloadStatus | None = None
        self._retry_s = 0.0
        self._on_screen = False
        self._shown_s = float("-inf")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="offloading")
        preferences.subscribe(self._prefer)

    def enter(self) -> None:
        """The screen is seen."""
        self._on_screen = True
        self._draw()

    def leave(self) -> None:
        """Another page took its place."""
        self._on_screen = False

    def tick(self) -> None:
        """Time went by while no frame came: the countdown goes on."""
        if self._on_screen and self.state.wait_s > 0:
            self._draw()

    def follow(self, live: LiveState) -> None:
        """The Live page shows something else: another bundle, or another frame's answer."""
        path, card = live.bundle_path, live.bundle
        key = (path, card.format, card.precision) if path and card else None
        if key != self._opened:
            self._opened = key
            self._forget()
            if key is not None:
                done = self._thread.submit(_read_model, *key)
                done.add_done_callback(
                    lambda done: self._later(done, lambda model: self._take_model(key, model))
                )
        if live.result is not None and live.result is not self._last:
            self._last = live.result
            self.observe(live.result)

    def open_model(self, manifest: Manifest, artifact: Artifact) -> None:
        """Another bundle is open; a chosen cut or codec that it lacks is given up."""
        self._model = (manifest, artifact)
        chosen = self.state.preferences
        codecs = usable_codecs(manifest, artifact)
        codec = chosen.codec if chosen.codec in codecs else ""
        cuts = {choice.id for choice in cut_choices(manifest, artifact, codec)}
        self._preferences.change(cut=chosen.cut if chosen.cut in cuts else "", codec=codec)
        self._prefer(self._preferences.state)

    def observe(self, result: Result) -> None:
        """A frame was answered."""
        now = self._clock()
        seen = self._seen = result.offload
        self._moments.append(_moment(now, result))
        self._note(Decided(result.badge, result.reason or seen.decision.reason, 1))
        self._retry_s = now + seen.wait_s
        if self._on_screen and now - self._shown_s >= SHOWN_EVERY_S:
            self._draw()

    def choose_mode(self, mode: str) -> None:
        """`off`, `auto` or `force`."""
        self._preferences.change(mode=mode)

    def choose_cut(self, cut: str) -> None:
        """A cut's id, "" if the planner shall choose."""
        self._preferences.change(cut=cut)

    def choose_codec(self, codec: str) -> None:
        """A codec's id, "" if the planner shall choose."""
        self._preferences.change(codec=codec)

    def export(self, copy: Callable[[str], None]) -> None:
        """Write the trace to a file and offer it: what was decided and from what, for a replay.

        `copy` puts a text on the clipboard.
        """
        trace = self._trace()
        if trace is not None:
            done = self._thread.submit(self._exports.save, trace)
            done.add_done_callback(
                lambda done: self._later(done, lambda saved: self._take_file(saved, copy))
            )

    def dismiss(self) -> None:
        """Put the error away."""
        self._show(replace(self.state, problem=None))

    def close(self, *, timeout_s: float = ENDS_S) -> bool:
        """End the thread once it has done what was asked of it; False if it is still at that after
        so many seconds."""
        self._thread.shutdown(wait=False)
        return ended(self._thread, timeout_s=timeout_s)

    def _forget(self) -> None:
        """What was seen of another bundle says nothing of this one, or of none."""
        self._model = self._seen = None
        self._moments.clear()
        self._decided.clear()
        self.state = replace(self.state, bundle="", cuts=(), codecs=())
        self._draw()

    def _prefer(self, preferences: Preferences) -> None:
        state = replace(self.state, preferences=preferences)
        if self._model is not None:
            cuts, codecs = cut_choices(*self._model, preferences.codec), usable_codecs(*self._model)
            state = replace(state, bundle=self._model[0].name, cuts=cuts, codecs=codecs)
        self.state = state
        self._draw()

    def _note(self, decided: Decided) -> None:
        if self._decided and self._decided[0].badge == decided.badge:
            self._decided[0] = replace(decided, frames=self._decided[0].frames + 1)
        else:
            self._decided.appendleft(decided)

    def _draw(self) -> None:
        self._shown_s = self._clock()
        seen = self._seen
        state = replace(
            self.state,
            moments=tuple(self._moments),
            decided=tuple(self._decided),
            decision=seen.decision if seen else None,
            candidates=tuple(seen.candidates) if seen else (),
            breaker=seen.breaker if seen else "",
            wait_s=max(0.0, self._retry_s - self._shown_s) if seen else 0.0,
        )
        self._show(state)

    def _take_file(self, saved: Saved, copy: Callable[[str], None]) -> None:
        self._show(replace(self.state, saved=self._exports.share(saved, copy)))

    def _take_model(self, opened: tuple[Path, str, str], model: tuple[Manifest, Artifact]) -> None:
        if opened == self._opened:  # or another one was opened meanwhile
            self.open_model(*model)

    def _later(self, done: Future[T], take: Callable[[T], None]) -> None:
        """Have the result of a thread's work taken on the UI thread; an error is shown."""

        def here() -> None:
            error = done.exception()
            if error is None:
                take(done.result())
            elif isinstance(error, Exception):
                self._show(replace(self.state, problem=problem_of(error)))

        self._hand_over(here)


def _moment(now: float, result: Result) -> Moment:
    seen = result.offload
    return Moment(
        time_s=now,
        total_ms=result.total_ms,
        local_ms=seen.local_ms,
        remote_ms=seen.remote_ms,
        rtt_ms=seen.rtt_ms,
        up_mbit_s=seen.uplink_mbit_s,
        down_mbit_s=seen.downlink_mbit_s,
        kilobytes_up=result.bytes_up / 1e3,
    )


def _read_model(path: Path, format_: str, precision: str) -> tuple[Manifest, Artifact]:
    # the Live page has checked its files; here the manifest is enough
    manifest = open_bundle(path, check=False).manifest
    running = (a for a in manifest.artifacts if (a.format, a.precision) == (format_, precision))
    return manifest, next(running)
