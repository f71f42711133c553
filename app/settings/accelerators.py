"""What a model can be run on here: the accelerators that the runtimes of this machine offer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from headtail.runtimes.base import CPU, Runtime

__all__ = ["Offered", "offered_accelerators"]


@dataclass(frozen=True)
class Offered:
    """`names` can be chosen, `cpu` first; `reasons` say what else there is and why not that."""

    names: tuple[str, ...] = (CPU,)
    reasons: tuple[str, ...] = ()


def offered_accelerators(runtimes: Iterable[Runtime]) -> Offered:
    """Ask every runtime; blocks for as long as their libraries take to load."""
    names: dict[str, list[str]] = {CPU: []}
    absent = []
    for runtime in runtimes:
        capability = runtime.probe()
        if not capability.available:
            absent.append(f"{runtime.name}: {capability.reason}")
            continue
        for name in runtime.accelerators:
            names.setdefault(name, []).append(runtime.name)
    offers = [f"{name}: {', '.join(by)}" for name, by in names.items() if by]
    return Offered(tuple(names), (*offers, *absent))
