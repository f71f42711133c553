"""QR codes on a desk, by zxing-cpp (https://github.com/zxing-cpp/zxing-cpp), if it is installed."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util

from app.scanning.readers import Luma
from headtail.errors import MissingDependency
from headtail.runtimes.base import Capability

__all__ = ["ZXingDesk"]

PACKAGE = "zxing-cpp"


class ZXingDesk:
    """See `CodeReader`."""

    name = "zxing-cpp"

    def probe(self) -> Capability:
        """Is the package installed?"""
        if importlib.util.find_spec("zxingcpp") is None:
            absent = MissingDependency(
                PACKAGE, needed_for="reading QR codes", install=f"pip install {PACKAGE}"
            )
            return Capability(False, reason=str(absent))
        return Capability(True, version=importlib.metadata.version(PACKAGE))

    def decode(self, luma: Luma) -> list[str]:
        """See `CodeReader.decode`."""
        library = importlib.import_module("zxingcpp")
        found = library.read_barcodes(luma, formats=library.BarcodeFormat.QRCode)
        return list(dict.fromkeys(str(code.text) for code in found))

    def leave_thread(self) -> None:
        """It keeps nothing for a thread."""
