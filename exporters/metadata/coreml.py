"""Core ML's model description: what Xcode shows and `MLModel.modelDescription.metadata` returns.

https://apple.github.io/coremltools/mlmodel/Format/Model.html#metadata. Only the description is
written, never the program: an `.mlpackage` computes the same with and without.
"""

from __future__ import annotations

import json
from pathlib import Path

from exporters.metadata import USER_PREFIX, Metadata
from headtail.manifest import FORWARD
from headtail.strictjson import canonical_bytes
from quantizers.coreml_file import MODEL, read_spec

__all__ = ["CLASSES", "PREPROCESS", "describe"]

CLASSES = "classes"  # the key under which detectors exported for Vision keep their class names
PREPROCESS = f"{USER_PREFIX}preprocess"


def describe(package: Path, metadata: Metadata) -> None:
    """Write `metadata` into the package in place; what was there under other keys stays."""
    spec = read_spec(package)
    said = spec.description.metadata
    said.shortDescription = metadata.description
    said.author, said.license = metadata.author, metadata.licence
    said.versionString = metadata.version
    for key, value in metadata.user.items():
        said.userDefined[key] = value
    if metadata.labels:
        said.userDefined[CLASSES] = json.dumps(metadata.labels, ensure_ascii=False)
    if metadata.preprocess is not None:
        said.userDefined[PREPROCESS] = canonical_bytes(metadata.preprocess).decode()
    for function in spec.description.functions:
        for feature in function.input:
            feature.shortDescription = metadata.inputs.get(feature.name, "")
        if function.name == FORWARD:  # outputs are named after values of the graph: by position
            for feature, sentence in zip(function.output, metadata.outputs.values(), strict=True):
                feature.shortDescription = sentence
    (package / MODEL).write_bytes(spec.SerializeToString(deterministic=True))
