"""Behind the Live page: gestures in, states out. Every method runs on the UI thread.

Events of the source and of the inference thread come back through `hand_over`, which the app
implements with its own event loop (kivy's Clock) and a test with a queue. Nothing here blocks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from app.ending import ENDS_S, close_all
from app.live.inbox import Inbox
from app.live.inference import Inference
from app.live.pipeline import Pipeline
from app.live.readings import Counts
from app.live.request import Choices
from app.live.sources import SourceRack
from app.live.state import (
    Event,
    Failed,
    LiveState,
    Opened,
    Paired,
    PhotoCard,
    SourceKind,
    Stopped,
    after,
)
from app.live.thumbnails import Thumbnails
from app.platforms import Platform
from app.presenter import HandOver, Presenter
from app.problems import problem_of
from app.servers import Servers
from app.settings.preferences import Preferences, PreferenceStore
from app.sources.photo import Photo, photo_file
from app.sources.replay import is_replay
from headtail.errors import HeadtailError

__all__ = ["LivePresenter"]

MANIFEST = "manifest.json"


class LivePresenter(Presenter[LiveState]):
    """Holds the current state and what is behind it: source, inference thread, thumbnails."""

    def __init__(
        self,
        platform: Platform,
        preferences: PreferenceStore,
        servers: Servers,
        *,
        hand_over: HandOver,
    ) -> None:
        state = LiveState(device=platform.device, choices=Choices.of(preferences.state))
        super().__init__(dataclasses.replace(state, can_pick=platform.picker is not None))
        self._platform = platform
        self._preferences = preferences
        self._inbox = Inbox(hand_over, self._take)
        inference = Inference(platform.runtimes, servers=servers)
        self.trace = inference.trace
        self._pipeline = Pipeline(inference, tell=self._inbox.put)
        self._thumbnails = Thumbnails(self._inbox.put)
        self._rack = SourceRack(platform)
        self._here = True  # whether the page is looked at
        self._end = preferences.subscribe(self._prefer)

    def open_bundle(self, path: Path) -> None:
        """Open a bundle's folder or .zip; what the source shows is answered at once."""
        fresh = dataclasses.replace(self.state, bundle=None, samples=())
        if fresh.chosen not in {card.photo for card in fresh.own}:
            fresh = dataclasses.replace(fresh, chosen=None, picture=None)
        self._ask(fresh.asking(bundle_path=path, result=None))

    def close_bundle(self) -> None:
        """Let go of the open bundle, so that its folder may be deleted."""
        fresh = dataclasses.replace(self.state, bundle=None, samples=(), chosen=None, picture=None)
        self._ask(fresh.asking(bundle_path=None, result=None))

    def add_photos(self, photos: Sequence[Photo]) -> None:
        """Put photos in front of the strip and choose the first of those that were not there."""
        known = {card.photo.key for card in self.state.own}
        new = [photo for photo in photos if photo.key not in known]
        own = tuple(PhotoCard(photo) for photo in new) + self.state.own
        self.state = dataclasses.replace(self.state, own=own)
        self._thumbnails.draw(new)
        if new:
            self.choose(new[0])

    def drop(self, path: Path) -> None:
        """Something was dropped on the window: a bundle, a photo, or what plays by itself."""
        if (path / MANIFEST).exists() or path.suffix.lower() == ".zip" or not path.exists():
            self.open_bundle(path)
        elif path.is_dir() or is_replay(path):
            self.replay(path)
        else:
            self.add_photos([photo_file(path)])

    def choose(self, photo: Photo) -> None:
        """Show `photo` and answer it; the one already chosen is answered again."""
        state = self.state
        same = photo is state.chosen and state.source is SourceKind.PHOTOS
        thumbnail = next((c.thumbnail for c in state.photos if c.photo is photo), None)
        changes: dict[str, object] = {"chosen": photo, "source": SourceKind.PHOTOS}
        if same:
            self._start(state.starting(**changes, result=state.result))
        else:
            self._start(state.starting(**changes, picture=thumbnail))

    def choose_source(self, kind: SourceKind) -> None:
        """Take frames from there; the source already chosen begins anew."""
        self._start(self.state.starting(source=kind, picture=None))

    def replay(self, path: Path) -> None:
        """Play a folder of photos, an animated image or a video, over and over."""
        try:
            name = self._rack.load_replay(path)
        except HeadtailError as error:
            self.fail(error)
        else:
            self._start(self.state.starting(source=SourceKind.REPLAY, replay=name, picture=None))

    def pick_photo(self) -> None:
        """Let the person choose one of their photos; without a picker the page says how else."""
        if self._platform.picker is not None:
            self._platform.picker().pick(
                lambda photo: self._inbox.call(lambda: self.add_photos([photo])),
                lambda error: self._inbox.call(lambda: self.fail(error)),
            )

    def play(self, *, playing: bool) -> None:
        """Go on with the frames, or leave the last one standing."""
        if playing and not self.state.playing:
            self._start(self.state.starting(result=self.state.result))
        elif not playing and self.state.playing:
            self._rack.stop()
            self._show(dataclasses.replace(self.state, playing=False, busy=False))

    def set_mode(self, mode: str) -> None:
        """`off`, `auto` or `force`, as in the preferences, where it is written."""
        self._preferences.change(mode=mode)

    def enter(self) -> None:
        """The page is looked at (again): what was left begins anew."""
        if not self._here:
            self._here = True
            self._resume()

    def leave(self) -> None:
        """Nobody looks: the camera and every other source is given back until `enter`."""
        self._here = False
        self._rack.stop()

    def hold(self, by: str) -> None:
        """The page called `by` needs the whole device: no frame is taken until `release`."""
        self._rack.stop()
        self._show(dataclasses.replace(self.state, held=by))

    def release(self) -> None:
        """Go on, if anybody looks."""
        self._show(dataclasses.replace(self.state, held=""))
        self._resume()

    def counts(self) -> Counts:
        """What became of every frame since the start."""
        return self._pipeline.counts()

    def fail(self, error: Exception) -> None:
        """Show an error that arose outside the inference thread."""
        self._show(dataclasses.replace(self.state, problem=problem_of(error)))

    def dismiss(self) -> None:
        """Put the error away."""
        self._show(dataclasses.replace(self.state, problem=None))

    def close(self, *, timeout_s: float = ENDS_S) -> bool:
        """Stop every thread; False if one was still at work after so many seconds.

        Closing twice is closing.
        """
        self._end()
        self._end = _nothing
        self._rack.stop()
        parts = (self._thumbnails.close, self._pipeline.stop)
        return close_all(parts, timeout_s=timeout_s)

    def _prefer(self, preferences: Preferences) -> None:
        choices = Choices.of(preferences)
        if choices != self.state.choices:
            self._ask(self.state.asking(choices=choices))

    def _ask(self, state: LiveState) -> None:
        """What is shown is to be answered otherwise."""
        if state.source is SourceKind.PHOTOS and state.chosen is not None:
            self._start(dataclasses.replace(state, run=state.run + 1))
            return
        waits = state.bundle_path is not None
        self._show(state if waits else dataclasses.replace(state, busy=False))
        self._pipeline.ask(state.request())

    def _start(self, state: LiveState) -> None:
        """Frames are to come from elsewhere."""
        self._rack.stop()
        waits = state.bundle_path is not None
        self._show(state if waits else dataclasses.replace(state, busy=False))
        self._pipeline.ask(state.request())
        self._resume()

    def _resume(self) -> None:
        state = self.state
        if state.held or not (self._here and state.playing):
            return
        run, ticket = state.run, state.ticket

        def failed(error: Exception) -> None:
            problem = problem_of(error)
            still = state.source is SourceKind.PHOTOS
            self._inbox.put(Failed(ticket, problem) if still else Stopped(run, problem))

        try:
            source = self._rack.source_for(state)
        except HeadtailError as error:
            failed(error)
            return
        if source is not None:
            source.start(lambda frame: self._pipeline.hand_in(run, frame), failed)

    def _take(self, events: list[Event]) -> None:
        before = self.state
        state = before
        for event in events:
            state = after(state, event)
        self._show(state)
        for event in events:
            self._follow(event, before)

    def _follow(self, event: Event, before: LiveState) -> None:
        """What an event leads to, beside what it shows."""
        if isinstance(event, Opened) and event.ticket == self.state.ticket:
            if self.state.samples != before.samples:
                self._thumbnails.draw(event.samples)
            self._preferences.change(bundle=str(self.state.bundle_path))
            if not self.state.moving and self.state.chosen is None and self.state.photos:
                self.choose(self.state.photos[0].photo)
            elif self.state.moving and self.state.playing and before.samples != self.state.samples:
                self._rack.stop()
                self._resume()  # a replay of the samples has others now
        if isinstance(event, Paired):
            self._preferences.change(server=event.address)
        if (
            isinstance(event, Failed)
            and not event.goes_on
            and self.state.moving
            and event.ticket == self.state.ticket
        ):
            self.play(playing=False)


def _nothing() -> None:
    """What ends a subscription that has ended."""
