"""What this app is made of: versions and licences."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable
from dataclasses import dataclass

import headtail
from headtail.runtimes.base import Runtime

__all__ = ["Part", "parts"]

LICENCE = "Apache-2.0"
LIBRARIES = (  # what a screen calls it, its package, its licence (SPDX)
    ("Kivy", "kivy", "MIT"),
    ("NumPy", "numpy", "BSD-3-Clause"),
    ("Pillow", "PIL", "MIT-CMU"),
)
RUNTIME_LICENCES = {  # by format; of the runtime library, not of our adapter
    "coreml": "part of the system",
    "executorch": "BSD-3-Clause",
    "litert": "Apache-2.0",
}


@dataclass(frozen=True)
class Part:
    """One line: a name, its version, its licence."""

    name: str
    version: str
    licence: str


def parts(runtimes: Iterable[Runtime]) -> tuple[Part, ...]:
    """Headtail first; runtimes only where they are here. Blocks while they are asked."""
    own = [
        Part("Headtail", headtail.__version__, LICENCE),
        Part("Python", platform.python_version(), "PSF-2.0"),
    ]
    libraries = [
        Part(name, sys.modules[package].__version__, licence)
        for name, package, licence in LIBRARIES
        if package in sys.modules  # kivy is not where there is no window
    ]
    return (*own, *libraries, *_runtimes(runtimes))


def _runtimes(runtimes: Iterable[Runtime]) -> Iterable[Part]:
    for runtime in runtimes:
        capability = runtime.probe()
        if capability.available:
            licence = RUNTIME_LICENCES.get(runtime.format, "see its publisher")
            yield Part(runtime.name, capability.version, licence)
