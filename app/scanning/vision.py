"""QR codes on iOS, by Apple's Vision through the bridge in ios/pictures/.

https://developer.apple.com/documentation/vision/vndetectbarcodesrequest
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from app.scanning.readers import Luma
from app.sources.pictures_bridge import PicturesBridge, open_pictures
from headtail.errors import EnvironmentFault, RuntimeUnavailable
from headtail.runtimes.base import Capability

__all__ = ["VisionReader"]


class VisionReader:
    """See `CodeReader`. `library` is the bridge as a file; None where it is linked into the app."""

    name = "vision"

    def __init__(self, library: Path | None = None) -> None:
        self._library = library
        self._bridge: PicturesBridge | None = None

    def probe(self) -> Capability:
        """Is the bridge in this app?"""
        try:
            self._bridge = open_pictures(self._library)
        except RuntimeUnavailable as error:
            return Capability(False, reason=str(error))
        return Capability(True, version=self._bridge.system())

    def decode(self, luma: Luma) -> list[str]:
        """See `CodeReader.decode`."""
        assert self._bridge is not None  # probe comes first
        try:
            # Apple does not say that light on dark, or a mirrored code, is read: each is turned
            for turned in (luma, np.invert(luma), luma[:, ::-1]):
                texts = self._bridge.codes(turned)
                if texts:
                    return list(dict.fromkeys(texts))
        except EnvironmentFault as error:
            raise RuntimeUnavailable(
                error.what, expected=error.expected, remedy=error.remedy
            ) from None
        return []

    def leave_thread(self) -> None:
        """Vision keeps nothing for a thread."""
