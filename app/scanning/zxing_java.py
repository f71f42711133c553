"""QR codes on Android, by ZXing's Java classes and pyjnius (https://github.com/zxing/zxing).

A frame crosses into Java as bytes: of a Python list each number would be an object. ZXing core is
plain Java, so the very classes of the APK run on a desk's JVM, where they are tested.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from app.scanning.readers import Luma
from headtail.errors import RuntimeUnavailable
from headtail.runtimes.base import Capability
from headtail.runtimes.java_bridge import find_class, java_exception, said

__all__ = ["ZXingJava"]

PACKAGE = "com.google.zxing:core"
# pixels; at a camera's size ZXing, which thinks in whole pixels, misses small and slanted modules
DOUBLED_UP_TO = 1100
NOTHING = "com.google.zxing.NotFoundException"
# whatever is met later is looked for by probe, on the main thread: Android finds them nowhere else
_CLASSES = {
    name.rpartition(".")[2]: name
    for name in (
        "com.google.zxing.PlanarYUVLuminanceSource",
        "com.google.zxing.common.HybridBinarizer",
        "com.google.zxing.BinaryBitmap",
        "com.google.zxing.multi.qrcode.QRCodeMultiReader",
        "com.google.zxing.DecodeHintType",
        "com.google.zxing.Result",
        "com.google.zxing.InvertedLuminanceSource",
        "com.google.zxing.LuminanceSource",
    )
}


class ZXingJava:
    """See `CodeReader`."""

    name = "zxing-java"

    def __init__(self) -> None:
        self._classes: dict[str, Any] = {}
        self._reader: Any = None
        self._hints: Any = None

    def probe(self) -> Capability:
        """Are the Java classes in this app? Ask on the main thread."""
        try:
            self._classes = {k: find_class(v, package=PACKAGE) for k, v in _CLASSES.items()}
            self._hints = find_class("java.util.HashMap", package="Android")()
        except RuntimeUnavailable as error:
            return Capability(False, reason=str(error))
        self._hints.put(self._classes["DecodeHintType"].TRY_HARDER, True)
        self._reader = self._classes["QRCodeMultiReader"]()
        return Capability(True, version=PACKAGE)

    def decode(self, luma: Luma) -> list[str]:
        """See `CodeReader.decode`."""
        return self._either(luma) or (
            self._either(_doubled(luma)) if max(luma.shape) <= DOUBLED_UP_TO else []
        )

    def leave_thread(self) -> None:
        """Detach the thread from the Java VM, which aborts the process if one ends attached."""
        import jnius

        jnius.detach()

    def _either(self, luma: Luma) -> list[str]:
        """Dark on light or, if there is nothing, light on dark."""
        height, width = luma.shape
        plane = self._classes["PlanarYUVLuminanceSource"]
        source = plane(luma.tobytes(), width, height, 0, 0, width, height, False)
        return self._texts(source) or self._texts(source.invert())

    def _texts(self, source: Any) -> list[str]:
        bitmap = self._classes["BinaryBitmap"](self._classes["HybridBinarizer"](source))
        try:
            results = self._reader.decodeMultiple(bitmap, self._hints)
        except java_exception() as error:
            if getattr(error, "classname", "") == NOTHING:
                return []
            raise RuntimeUnavailable(
                f"ZXing failed: {said(error)}.",
                expected="It reads a picture, or says that no code is in it.",
                remedy="Try again, or open the link with your camera app.",
            ) from None
        return list(dict.fromkeys(str(result.getText()) for result in results))


def _doubled(luma: Luma) -> Luma:
    """Twice as wide and high, smoothly."""
    from PIL import Image

    height, width = luma.shape
    mode = Image.BICUBIC  # type: ignore[attr-defined]  # kivy-ios' Pillow 8 has no Resampling
    return np.asarray(Image.fromarray(luma).resize((2 * width, 2 * height), mode), np.uint8)
