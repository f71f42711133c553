"""Core ML's model description: what Xcode shows and `MLModel.modelDescription.metadata` returns.

https://apple.github.io/coremltools/mlmodel/Format/Model.html#metadata. Only the description is
written, never the program: an `.mlpackage` computes the same with and without.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from exporters.metadata import USER_PREFIX, Metadata
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
    for function in spec.description.functions or [spec.description]:
        _describe_features(function.input, metadata.inputs)
        _describe_features(function.output, metadata.outputs)
    (package / MODEL).write_bytes(spec.SerializeToString(deterministic=True))


def _describe_features(features: Any, said: dict[str, str]) -> None:
    for feature in features:
        feature.shortDescription = said.get(feature.name, feature.shortDescription)
