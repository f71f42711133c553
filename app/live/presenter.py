"""Between screen and inference: gestures in, states out. Every method runs on the UI thread.

The inference thread's events come back through `hand_over`, which the screen implements with its
own event loop (kivy's Clock) and a test with a queue. Nothing here blocks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from app.live.inference import Inference
from app.live.pipeline import Worker
from app.live.state import (
    Event,
    Failed,
    LiveState,
    Mode,
    Opened,
    PhotoCard,
    Picture,
    Request,
    Thumbnailed,
    after,
)
from app.presenter import HandOver, Presenter
from app.problems import problem_of
from app.servers import Servers
from app.sources.photo import Photo, photo_file, square
from headtail.errors import ImageFault
from headtail.runtimes.base import Runtime

__all__ = ["LivePresenter"]


class LivePresenter(Presenter[LiveState]):
    """Holds the current state and the two threads behind it.

    `paired` is the file of the servers that this device was paired with; without it they are
    forgotten at the end.
    """

    def __init__(
        self,
        runtimes: Mapping[str, Runtime],
        *,
        device: str,
        paired: Path | None = None,
        hand_over: HandOver,
    ) -> None:
        super().__init__(LiveState(device=device))
        self._hand_over = hand_over
        classifier = Inference(runtimes, servers=Servers(paired))
        self._worker: Worker[Request, Event] = Worker(
            classifier.answer, deliver=self._deliver, failed=_failed, finish=classifier.close
        )
        self._thumbnails = ThreadPoolExecutor(1, thread_name_prefix="thumbnails")

    def open_bundle(self, path: Path) -> None:
        """Open a bundle's folder or .zip; its first photo is classified at once."""
        fresh = dataclasses.replace(self.state, bundle=None, samples=())
        if fresh.chosen not in {card.photo for card in fresh.own}:
            fresh = dataclasses.replace(fresh, chosen=None, preview=None)
        self._ask(fresh.asking(bundle_path=path, result=None))

    def add_photos(self, photos: Sequence[Photo]) -> None:
        """Put photos in front of the strip and choose the first of those that were not there."""
        known = {card.photo.key for card in self.state.own}
        new = [photo for photo in photos if photo.key not in known]
        own = tuple(PhotoCard(photo) for photo in new) + self.state.own
        self.state = dataclasses.replace(self.state, own=own)
        self._draw_thumbnails(new)
        if new:
            self.choose(new[0])

    def drop(self, path: Path) -> None:
        """Something was dropped on the window: a folder or .zip is a bundle, a file is a photo."""
        if path.is_dir() or path.suffix.lower() == ".zip":
            self.open_bundle(path)
        else:
            self.add_photos([photo_file(path)])

    def choose(self, photo: Photo) -> None:
        """Classify `photo`; the one already chosen is classified again."""
        self._ask(self.state.choosing(photo))

    def set_mode(self, mode: Mode) -> None:
        """Answer here, or split with the server."""
        if mode is not self.state.mode:
            self._ask(self.state.asking(mode=mode))

    def set_server(self, address: str) -> None:
        """Use the companion server at `address`, for example `https://192.168.1.20:8707`.

        A pairing code is redeemed when it is needed; its server's address then takes its place.
        """
        if address.strip() != self.state.server:
            self._ask(self.state.asking(server=address.strip()))

    def fail(self, error: Exception) -> None:
        """Show an error that arose outside the inference thread."""
        self._show(dataclasses.replace(self.state, problem=problem_of(error)))

    def dismiss(self) -> None:
        """Put the error away."""
        self._show(dataclasses.replace(self.state, problem=None))

    def close(self) -> bool:
        """Stop both threads; False if an inference is still running after five seconds."""
        self._thumbnails.shutdown(wait=True, cancel_futures=True)
        return self._worker.stop()

    def _ask(self, state: LiveState) -> None:
        waits = state.bundle_path is not None
        self._show(state if waits else dataclasses.replace(state, busy=False))
        if waits:
            self._worker.submit(state.request())

    def _deliver(self, event: Event) -> None:
        self._hand_over(lambda: self._take(event))

    def _take(self, event: Event) -> None:
        before = self.state
        self._show(after(before, event))
        if isinstance(event, Opened) and self.state.samples != before.samples:
            self._draw_thumbnails(event.samples)
        if isinstance(event, Opened) and self.state.chosen is None and self.state.photos:
            self.choose(self.state.photos[0].photo)

    def _draw_thumbnails(self, photos: Sequence[Photo]) -> None:
        for photo in photos:
            self._thumbnails.submit(self._draw_thumbnail, photo)

    def _draw_thumbnail(self, photo: Photo) -> None:
        try:
            picture = Picture(square(photo.load()))
        except ImageFault:  # said in full when somebody chooses it
            picture = None
        self._deliver(Thumbnailed(photo, picture))


def _failed(request: Request, error: Exception) -> Event:
    return Failed(request.ticket, problem_of(error))
