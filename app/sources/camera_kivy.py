"""The camera of a phone, by kivy's provider for it: android.hardware.Camera, or AVFoundation.

The provider lives on the UI thread and tells there when it has a picture. Nothing but the copy of
its bytes is done there, and that only when the last picture was taken; turning bytes into RGB is
done on a thread of our own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from app.sources.base import Deliver, Failed, SourceFrame
from app.sources.sensor import nv21_pixels, rgba_pixels
from headtail.errors import EnvironmentFault

__all__ = ["Facing", "PhoneCamera"]

SIZE = (640, 480)  # what every camera has; models want less
Facing = Callable[[], tuple[int, bool]]
Ask = Callable[[Callable[[bool], None]], None]
Raw = tuple[Callable[[bytes, int, int], Any], bytes, tuple[int, int]]
Turned = tuple[int, bool]


class PhoneCamera:
    """`ask` asks the person for the camera, and tells whether it may be used, on any thread.
    `facing()` is the (rotation, mirror) of the pictures now. `provider` makes kivy's camera, and
    `later` runs a call on the UI thread: kivy's own where they are not given.
    """

    name = "camera"
    still = False

    def __init__(
        self,
        *,
        ask: Ask,
        facing: Facing,
        provider: Callable[..., Any] | None = None,
        later: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        self._ask = ask
        self._later = later or _on_ui_thread
        self._facing = facing
        self._provider = provider
        self._run: _Run | None = None

    def start(self, deliver: Deliver, failed: Failed) -> None:
        """See `FrameSource.start`."""
        self.stop()
        run = self._run = _Run(deliver, failed)
        self._ask(lambda granted: self._later(lambda: self._permitted(run, granted)))

    def stop(self) -> None:
        """See `FrameSource.stop`; the camera itself is released before this returns."""
        run, self._run = self._run, None
        if run is not None:
            run.end()

    def _permitted(self, run: _Run, granted: bool) -> None:  # Android's answer
        if run is not self._run:  # stopped while the person was asked
            return
        if not granted:
            run.failed(
                EnvironmentFault(
                    "The camera may not be used.",
                    expected="A camera needs the permission of the person who holds the phone.",
                    remedy="Allow it under Apps, Headtail, Permissions in the phone's settings, "
                    "or choose photos instead.",
                )
            )
            return
        try:
            camera = (self._provider or _kivy_provider())(resolution=SIZE, stopped=True)
            run.begin(camera, self._facing)
        except Exception as error:  # a provider raises whatever its platform does
            run.failed(error if isinstance(error, EnvironmentFault) else _no_camera(error))


class _Run:
    """One start: the provider's camera and the thread that makes RGB of its bytes."""

    def __init__(self, deliver: Deliver, failed: Failed) -> None:
        self.failed = failed
        self._deliver = deliver
        self._camera: Any = None
        self._wake = threading.Condition()
        self._waiting: tuple[Raw, Turned] | None = None
        self._idle = True
        self._ended = False

    def begin(self, camera: Any, facing: Facing) -> None:
        self._camera, self._facing = camera, facing
        camera.bind(on_texture=self._taken)
        threading.Thread(target=self._loop, name="camera", daemon=True).start()
        camera.start()

    def end(self) -> None:
        with self._wake:
            self._ended = True
            self._wake.notify()
        if self._camera is not None:
            self._camera.unbind(on_texture=self._taken)
            self._camera.stop()
            release = getattr(self._camera, "_release_camera", None)
            if release is not None:  # or Android keeps it for this app, and other apps get none
                release()
            self._camera = None

    def _taken(self, camera: Any) -> None:
        if not self._idle or camera.texture is None:
            return
        try:
            raw = _raw_of(camera)
            # asked here: a thread of ours would have to be bound to Java's machine for it
            waiting = None if raw is None else (raw, self._facing())
        except Exception as error:  # a provider raises whatever its platform does
            self._idle = False  # no frame follows
            self.failed(_no_picture(error))
            return
        with self._wake:
            self._waiting, self._idle = waiting, waiting is None
            self._wake.notify()

    def _loop(self) -> None:
        number = 0
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._waiting is not None or self._ended)
                waiting, self._waiting = self._waiting, None
            if self._ended or waiting is None:
                return
            (read, data, size), (rotation, mirror) = waiting
            try:
                pixels = read(data, *size)
                self._deliver(SourceFrame(pixels, time.monotonic(), number, rotation, mirror))
            except Exception as error:  # a picture that is none: it would stand still unsaid
                if not self._ended:
                    self.failed(_no_picture(error))
                return
            number += 1
            self._idle = True


def _raw_of(camera: Any) -> Raw | None:
    """The newest picture's bytes and what reads them; None if the camera has none yet."""
    if hasattr(camera, "grab_frame"):  # Android: the buffer itself, nothing comes from the GPU
        data = camera.grab_frame()
        return None if data is None else (nv21_pixels, data, camera.resolution)
    return rgba_pixels, camera.texture.pixels, camera.texture.size


def _on_ui_thread(call: Callable[[], None]) -> None:
    from kivy.clock import Clock

    Clock.schedule_once(lambda _dt: call())


def _kivy_provider() -> Callable[..., Any]:
    from kivy.core.camera import Camera

    if Camera is None:
        raise _no_camera("kivy has no provider here")
    provider: Callable[..., Any] = Camera
    return provider


def _no_camera(why: object) -> EnvironmentFault:
    return EnvironmentFault(
        f"The camera cannot be opened: {why}".rstrip(".") + ".",
        expected="A camera that is there and that no other app uses.",
        remedy="Close the other app and try again, or choose photos instead.",
    )


def _no_picture(why: Exception) -> EnvironmentFault:
    return EnvironmentFault(
        f"The camera gives no picture: {why}".rstrip(".") + ".",
        expected="A camera that goes on until it is left.",
        remedy="Choose the camera again, or choose photos instead.",
    )
