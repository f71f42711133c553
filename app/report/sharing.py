"""Handing a report to another app: the system's own share sheet, or the way to the file.

Android: an `ACTION_SEND` intent with plain text, which needs no permission and no file provider
(https://developer.android.com/training/sharing/send). Apple: `UIActivityViewController`
(https://developer.apple.com/documentation/uikit/uiactivityviewcontroller). Neither was tried on a
device yet.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

__all__ = ["AndroidSharing", "AppleSharing", "DeskSharing", "Sharing", "find_sharing"]

SUBJECT = "Headtail on this device"
MAX_TEXT = 100_000  # characters; an intent holds less than a megabyte


class Sharing(Protocol):
    """How text leaves the app here, because a person asked for it; on the UI thread."""

    def share(self, text: str, file: Path, copy: Callable[[str], None]) -> str:
        """Offer `text`, which also lies in `file`; what to tell the person, "" if they see it."""
        ...


class DeskSharing:
    """A desk has no share sheet: the file's path is copied, nothing is opened."""

    def share(self, text: str, file: Path, copy: Callable[[str], None]) -> str:
        """See `Sharing.share`."""
        del text  # it is in the file
        copy(str(file))
        return f"The report is {file}. Its path was copied."


class AndroidSharing:
    """`autoclass` is pyjnius' unless a test brings its own."""

    def __init__(self, autoclass: Callable[[str], Any] | None = None) -> None:
        self._given = autoclass

    def share(self, text: str, file: Path, copy: Callable[[str], None]) -> str:
        """See `Sharing.share`."""
        del file, copy
        from_java = self._classes()
        intent_class, string = from_java("android.content.Intent"), from_java("java.lang.String")
        intent = intent_class(intent_class.ACTION_SEND)
        intent.setType("text/plain")
        intent.putExtra(intent_class.EXTRA_SUBJECT, string(SUBJECT))
        intent.putExtra(intent_class.EXTRA_TEXT, string(text[:MAX_TEXT]))
        title = from_java("android.content.Intent").createChooser(intent, string(SUBJECT))
        from_java("org.kivy.android.PythonActivity").mActivity.startActivity(title)
        return ""

    def _classes(self) -> Callable[[str], Any]:
        if self._given is not None:
            return self._given
        from jnius import autoclass

        found: Callable[[str], Any] = autoclass
        return found


class AppleSharing:
    """`autoclass` is pyobjus' unless a test brings its own."""

    def __init__(self, autoclass: Callable[[str], Any] | None = None) -> None:
        self._given = autoclass

    def share(self, text: str, file: Path, copy: Callable[[str], None]) -> str:
        """See `Sharing.share`."""
        del file, copy
        from_objc = self._classes()
        words = from_objc("NSString").stringWithUTF8String_(text[:MAX_TEXT])
        items = from_objc("NSArray").arrayWithObject_(words)
        sheet = from_objc("UIActivityViewController").alloc()
        sheet = sheet.initWithActivityItems_applicationActivities_(items, None)
        window = from_objc("UIApplication").sharedApplication().keyWindow
        root = (window() if callable(window) else window).rootViewController
        root = root() if callable(root) else root
        root.presentViewController_animated_completion_(sheet, True, None)
        return ""

    def _classes(self) -> Callable[[str], Any]:
        if self._given is not None:
            return self._given
        from pyobjus import autoclass

        found: Callable[[str], Any] = autoclass
        return found


def find_sharing(platform: str) -> Sharing:
    """The sharing of a platform of `app.machine.PLATFORMS`."""
    if platform == "android":
        return AndroidSharing()
    return AppleSharing() if platform == "ios" else DeskSharing()
