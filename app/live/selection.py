"""Which artifact runs here, and on which runtime: from the manifest and what this device has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app.figures import RUNTIME_NAMES
from headtail.errors import RuntimeUnavailable
from headtail.manifest import Artifact, Manifest
from headtail.runtimes.base import CPU, Runtime

__all__ = ["Usable", "choose_artifact", "usable_runtimes", "ways"]


@dataclass(frozen=True)
class Usable:
    """A runtime of this device and whether it can be used: `reason` is why not, "" if it can."""

    runtime: Runtime
    version: str
    reason: str


def usable_runtimes(runtimes: Sequence[Runtime]) -> tuple[Usable, ...]:
    """All of them, in the platform's order of preference."""
    probes = [(runtime, runtime.probe()) for runtime in runtimes]
    return tuple(
        Usable(runtime, probe.version, "" if probe.available else probe.reason or "not here")
        for runtime, probe in probes
    )


def choose_artifact(manifest: Manifest, usable: Sequence[Usable]) -> Artifact:
    """The artifact to run: of the first usable format with one that passed, the smallest.

    An artifact with the verdict `poor` is never chosen unasked. Raises `RuntimeUnavailable` with
    the reason for each artifact that was passed over.
    """
    formats = [item.runtime.format for item in usable if not item.reason]
    good = [a for a in manifest.artifacts if a.verdict == "pass" and a.format in formats]
    if good:
        return min(good, key=lambda a: (formats.index(a.format), a.bytes, a.precision))
    raise RuntimeUnavailable(
        f"No artifact of {manifest.name} can run here.",
        expected="; ".join(_objection(a, usable) for a in manifest.artifacts)
        or "The bundle holds no artifact.",
        remedy="Install a runtime named above, or export the bundle for one that is here.",
    )


def ways(
    artifact: Artifact, usable: Sequence[Usable], accelerator: str
) -> Iterator[tuple[Usable, str]]:
    """How the artifact may be loaded, as (runtime, accelerator), the best first.

    The accelerator that was asked for on every runtime that knows it comes before the processor.
    """
    fitting = [u for u in usable if u.runtime.format == artifact.format and not u.reason]
    for wanted in dict.fromkeys((accelerator, CPU)):
        for item in fitting:
            if wanted in item.runtime.accelerators:
                yield item, wanted


def _objection(artifact: Artifact, usable: Sequence[Usable]) -> str:
    name = f"{RUNTIME_NAMES.get(artifact.format, artifact.format)} {artifact.precision}"
    if artifact.verdict != "pass":
        return f"{name}: verdict {artifact.verdict}"
    reasons = [
        f"{item.runtime.name}: {item.reason}"
        for item in usable
        if item.runtime.format == artifact.format
    ]
    return f"{name}: {', '.join(reasons) or 'no runtime for this format here'}"
