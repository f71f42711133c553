"""Which artifact runs here and where the network is cut, from the manifest alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from headtail.errors import RuntimeUnavailable, UsageFault
from headtail.manifest import Artifact, Cut, Manifest, head_entry
from headtail.runtimes.base import Runtime

__all__ = ["check_classifier", "choose_artifact", "choose_cut", "usable_formats"]


def check_classifier(manifest: Manifest) -> None:
    """Raise `UsageFault` unless the model takes one image and gives one row of class scores."""
    shapes = [spec.shape for spec in manifest.outputs]
    one_row = [shape[:-1] for shape in shapes] == [(1,)]
    if manifest.preprocess is None or len(manifest.inputs) != 1 or not one_row:
        raise UsageFault(
            f"{manifest.name} is a {manifest.task} model with outputs {[list(s) for s in shapes]}.",
            expected="This screen shows models that take one image and give [1, classes].",
            remedy="Run it with headtail run, or open the bundle of an image classifier.",
        )


def usable_formats(runtimes: Mapping[str, Runtime]) -> dict[str, str]:
    """Format -> why its runtime cannot be used here, or an empty string where it can."""
    probes = {name: runtime.probe() for name, runtime in runtimes.items()}
    return {name: "" if probe.available else probe.reason for name, probe in probes.items()}


def choose_artifact(manifest: Manifest, formats: Mapping[str, str]) -> Artifact:
    """The artifact to run: of the first usable format with one that passed, the smallest.

    `formats` is `usable_formats()`; its order is the platform's preference. An artifact with the
    verdict `poor` is never chosen unasked. Raises `RuntimeUnavailable` with the
    reason for each artifact that was passed over.
    """
    good = [a for a in manifest.artifacts if a.verdict == "pass" and formats.get(a.format) == ""]
    if good:
        preference = list(formats)
        return min(good, key=lambda a: (preference.index(a.format), a.bytes, a.precision))
    raise RuntimeUnavailable(
        f"No artifact of {manifest.name} can run here.",
        expected="; ".join(_objection(a, formats) for a in manifest.artifacts)
        or "The bundle holds no artifact.",
        remedy="Install a runtime named above, or export the bundle for one that is here.",
    )


def _objection(artifact: Artifact, formats: Mapping[str, str]) -> str:
    name = f"{artifact.format} {artifact.precision}"
    if artifact.verdict != "pass":
        return f"{name}: verdict {artifact.verdict}"
    return f"{name}: {formats.get(artifact.format, 'no runtime for this format here')}"


def choose_cut(manifest: Manifest, entries: Collection[str], codec: str) -> Cut | None:
    """The cut that puts the fewest bytes on the wire, among those with a head in the artifact.

    None if there is none, or if its tensors cost more than the model's own input would as float32:
    then splitting there saves nothing that a bundle could promise.
    """
    cuts = [c for c in manifest.cuts if head_entry(c.id) in entries and codec in c.wire_bytes]
    whole = sum(spec.nbytes for spec in manifest.inputs)
    cheap = [c for c in cuts if c.wire_bytes[codec] < whole]
    return min(cheap, key=lambda c: (c.wire_bytes[codec], c.head_flops, c.id), default=None)
