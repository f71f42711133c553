"""Every runtime that can prove an artifact on this machine, Core ML's included."""

from __future__ import annotations

from headtail.errors import UnknownName
from headtail.runtimes import Runtime, desk_runtimes

__all__ = ["runtime_for"]


def runtime_for(format: str) -> Runtime:  # noqa: A002  # the field's word
    """The runtime for `format`.

    Core ML is evaluated by the reference interpreter everywhere: it reads the file as the MIL
    specification says; it is not Apple hardware, and its name in every report says so.
    """
    if format == "coreml":
        from exporters.mil.runtime import MilRuntime  # it computes with torch, the others need none

        return MilRuntime()
    runtimes = desk_runtimes()
    if format not in runtimes:
        raise UnknownName("format", format, {*runtimes, "coreml"})
    return runtimes[format]
