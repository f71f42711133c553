"""Which artifact of a bundle runs here, and why the others do not, from the manifest alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from headtail.manifest import Artifact, Manifest
from headtail.runtimes.base import Runtime

__all__ = ["Probed", "Suitability", "probe_all", "suitability"]

NO_RUNTIME = "This device has no runtime for this format."
POOR = "It agrees too little with the PyTorch model to be chosen unasked."
NOT_PREFERRED = "Another artifact is preferred here."


@dataclass(frozen=True)
class Probed:
    """A runtime of this device: `name` with its version, and `reason`, "" if it can be used."""

    format: str
    name: str
    reason: str


@dataclass(frozen=True)
class Suitability:
    """`runs` is the runtime that takes the artifact, "" if none does; `chosen` if this artifact is
    the one that is run, otherwise `reason` says why not.
    """

    runs: str = ""
    chosen: bool = False
    reason: str = ""


def probe_all(runtimes: Iterable[Runtime]) -> tuple[Probed, ...]:
    """Ask each whether it can be used; blocks, because a library may be loaded for that."""
    found = []
    for runtime in runtimes:
        probe = runtime.probe()
        name = f"{runtime.name} {probe.version}".strip()
        found.append(Probed(runtime.format, name, "" if probe.available else probe.reason))
    return tuple(found)


def suitability(manifest: Manifest, probed: Sequence[Probed]) -> tuple[Suitability, ...]:
    """For each artifact, in the manifest's order.

    Of the first usable runtime that there is an artifact for, the smallest is chosen; `probed` is
    in the platform's order of preference. An artifact with the verdict `poor` is never chosen
    unasked.
    """
    usable = [
        (rank, artifact.bytes, artifact.precision, place)
        for place, artifact in enumerate(manifest.artifacts)
        for rank in [_rank(artifact, probed)]
        if artifact.verdict == "pass" and rank < len(probed)
    ]
    chosen = min(usable)[-1] if usable else -1
    return tuple(
        _said(artifact, probed, chosen=place == chosen)
        for place, artifact in enumerate(manifest.artifacts)
    )


def _rank(artifact: Artifact, probed: Sequence[Probed]) -> int:
    """The place of the first runtime that takes it, `len(probed)` if none does."""
    takers = (i for i, p in enumerate(probed) if p.format == artifact.format and not p.reason)
    return next(takers, len(probed))


def _said(artifact: Artifact, probed: Sequence[Probed], *, chosen: bool) -> Suitability:
    rank = _rank(artifact, probed)
    if rank == len(probed):
        reasons = dict.fromkeys(p.reason for p in probed if p.format == artifact.format)
        return Suitability(reason=" ".join(reasons) or NO_RUNTIME)
    name = probed[rank].name
    if chosen:
        return Suitability(name, chosen=True)
    return Suitability(name, reason=POOR if artifact.verdict != "pass" else NOT_PREFERRED)
