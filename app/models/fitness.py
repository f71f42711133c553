"""Which artifact of a bundle runs here, and why the others do not, from the manifest alone.

The choice is that of the Live page (`app.live.selection`); this says it in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.live.selection import Usable, choose_artifact
from headtail.errors import RuntimeUnavailable
from headtail.manifest import Artifact, Manifest

__all__ = ["Suitability", "suitability"]

NO_RUNTIME = "This device has no runtime for this format."
POOR = "It agrees too little with the PyTorch model to be chosen unasked."
NOT_PREFERRED = "Another artifact is preferred here."


@dataclass(frozen=True)
class Suitability:
    """`runs` is the runtime that takes the artifact, with its version, "" if none does; `chosen` if
    this artifact is the one that is run. `reason` says why it is not run, or which runtimes the one
    that runs it was preferred to because they are of no use here.
    """

    runs: str = ""
    chosen: bool = False
    reason: str = ""


def suitability(manifest: Manifest, usable: Sequence[Usable]) -> tuple[Suitability, ...]:
    """For each artifact, in the manifest's order."""
    try:
        chosen = choose_artifact(manifest, usable)
    except RuntimeUnavailable:
        chosen = None
    return tuple(_said(artifact, usable, chosen) for artifact in manifest.artifacts)


def _said(artifact: Artifact, usable: Sequence[Usable], chosen: Artifact | None) -> Suitability:
    fitting = [item for item in usable if item.runtime.format == artifact.format]
    takers = [item for item in fitting if not item.reason]
    passed_over = [f"{item.runtime.name}: {item.reason}" for item in fitting if item.reason]
    if not takers:
        return Suitability(reason="\n".join(passed_over) or NO_RUNTIME)
    name = f"{takers[0].runtime.name} {takers[0].version}".strip()
    if artifact is chosen:
        return Suitability(name, chosen=True, reason="\n".join(passed_over))
    return Suitability(name, reason=POOR if artifact.verdict != "pass" else NOT_PREFERRED)
