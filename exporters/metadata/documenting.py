"""A source's documentation: what its artifacts say about themselves, the same in every format."""

from __future__ import annotations

from exporters.metadata import USER_PREFIX, Metadata
from exporters.sources.model import SourceModel
from exporters.versions import tool_versions
from headtail.manifest import Entry
from headtail.preprocess import Preprocess
from headtail.tensors import TensorSpec

__all__ = ["metadata_of"]


def metadata_of(source: SourceModel, forward: Entry, *, digest: str) -> Metadata:
    """Documentation of `source`; `digest` is its program's SHA-256, `forward` the entry point.

    No source says who made it and under which licence, so neither is written.
    """
    version = tool_versions()["headtail"]
    labelled = forward.outputs[0].name if source.labels else ""
    return Metadata(
        source.name,
        f"{source.name} ({source.task}) from {source.origin}, exported by Headtail {version}",
        labels=source.labels,
        inputs=_inputs(forward.inputs, source.preprocess),
        outputs={
            spec.name: _scores(spec, source.labels) if spec.name == labelled else str(spec)
            for spec in forward.outputs
        },
        user={
            f"{USER_PREFIX}origin": source.origin,
            f"{USER_PREFIX}program": digest,
            f"{USER_PREFIX}task": source.task,
            f"{USER_PREFIX}version": version,
        },
        preprocess=source.preprocess,
        classes=labelled,
    )


def _inputs(specs: tuple[TensorSpec, ...], preprocess: Preprocess | None) -> dict[str, str]:
    said = {spec.name: str(spec) for spec in specs}
    if preprocess is not None:
        said[specs[0].name] += f": {preprocess.colour} picture, {_made(preprocess)}"
    return said


def _made(how: Preprocess) -> str:
    mean, std = ("[" + ", ".join(f"{v:.6g}" for v in side) + "]" for side in (how.mean, how.std))
    return (
        f"{how.fit} to {how.height}x{how.width} ({how.resize}), {how.layout}, "
        f"(byte * {how.scale:.6g} - {mean}) / {std}"
    )


def _scores(spec: TensorSpec, labels: tuple[str, ...]) -> str:
    return f"{spec}: a score for each of {len(labels)} classes"
