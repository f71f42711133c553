"""Looks into a built APK: `python android/check_apk.py headtail-0.1.0-arm64-v8a-debug.apk`.

Holds it against what a build can get wrong without a word: libraries for another processor, ones
that are not aligned to 16 KB pages and so are refused by phones that have such pages
(https://developer.android.com/guide/practices/page-sizes), a runtime that Gradle left out, a model
that was packed. Exits 1 if it finds any of them. Standard library only.
"""

from __future__ import annotations

import re
import struct
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

PAGE = 16384  # bytes
ABI = "arm64-v8a"
RUNTIMES = ("libLiteRt.so", "libexecutorch.so")
MODELS = (".tflite", ".pte", ".mlpackage")
LIBRARY = re.compile(r"lib/([^/]+)/([^/]+\.so)")
ELF64 = b"\x7fELF\x02\x01"  # 64 bits, little-endian
PT_LOAD = 1


def load_alignments(library: bytes) -> list[int]:
    """Alignment in bytes of each loaded segment of a 64-bit ELF file; empty if it is none.

    https://refspecs.linuxfoundation.org/elf/gabi4+/ch5.pheader.html
    """
    if not library.startswith(ELF64) or len(library) < 64:
        return []
    (table,) = struct.unpack_from("<Q", library, 32)
    size, count = struct.unpack_from("<HH", library, 54)
    headers = [library[table + i * size :][:56] for i in range(count)]
    fields = [struct.unpack("<IIQQQQQQ", header) for header in headers if len(header) == 56]
    return [field[7] for field in fields if field[0] == PT_LOAD]


def complaints(apk: Path) -> Iterator[str]:
    """What is wrong with it, a sentence each."""
    found: set[str] = set()
    with zipfile.ZipFile(apk) as archive:
        for name in archive.namelist():
            if name.endswith(MODELS):
                yield f"{name} is a model; models are downloaded, never packed."
            match = LIBRARY.fullmatch(name)
            if match is None:
                continue
            abi, library = match.groups()
            found.add(library)
            content = archive.read(name)
            if abi != ABI:
                yield f"{name} is for {abi}; the app is built for {ABI}."
            elif content[:4] == ELF64[:4]:  # p4a packs an archive as libpybundle.so
                yield from _misaligned(name, load_alignments(content))
    for name in RUNTIMES:
        if name not in found:
            yield f"{name} is missing; see android.gradle_dependencies."


def _misaligned(name: str, alignments: list[int]) -> Iterator[str]:
    least = min(alignments, default=0)
    if least < PAGE:
        yield f"{name} is aligned to {least} bytes; phones with 16 KB pages refuse it."


def main(arguments: list[str]) -> int:
    """Print what is wrong, or that nothing is."""
    if len(arguments) != 1 or not zipfile.is_zipfile(arguments[0]):
        print("usage: python android/check_apk.py APK", file=sys.stderr)
        return 2
    found = list(complaints(Path(arguments[0])))
    print("\n".join(found) or "right processor, 16 KB pages, both runtimes, no model inside")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
