"""The kinds of sources there are, and which module reads each; naming one imports nothing."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["KINDS", "PREFIXES", "Kind"]


@dataclass(frozen=True)
class Kind:
    """`prefix:` in front of a name, the module with its `load`, and what a person should know."""

    prefix: str
    module: str
    shown: str
    note: str


PREFIXES = (
    Kind(
        "timm",
        "exporters.sources.timm_models",
        "timm:NAME[?pretrained=0|1]",
        "a network of pytorch-image-models",
    ),
    Kind(
        "torchvision",
        "exporters.sources.torchvision_models",
        "torchvision:NAME[?pretrained=0|1]",
        "a network of torchvision",
    ),
    Kind(
        "hf",
        "exporters.sources.transformers_models",
        "hf:ID|FOLDER[?pretrained=0|1&length=N]",
        "a vision or text model of transformers; a folder needs config.json only",
    ),
    Kind(
        "keras",
        "exporters.sources.keras_models",
        "keras:FILE.keras|package.module:factory",
        "a Keras 3 model, on its torch backend",
    ),
)
# What has no prefix is told by what it is.
KINDS = (
    "path/to/file.py",
    "package.module",
    "package.module:factory",
    "path/to/program.pt2",
    "path/to/saved_model/",
    *(kind.shown for kind in PREFIXES),
)
