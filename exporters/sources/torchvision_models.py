"""`torchvision:NAME`: a network of torchvision. https://docs.pytorch.org/vision/stable/models.html."""

from __future__ import annotations

import difflib
import inspect
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch

from exporters.sources.hub import Options, Weights
from exporters.sources.model import SourceModel, plain_name
from exporters.sources.timm_models import image_model
from exporters.sources.torchvision_ops import import_with_torchvision
from headtail.errors import MissingDependency, SourceFault, UnknownName
from headtail.preprocess import Preprocess

__all__ = ["load"]

_SEED = 0


def load(text: str, *, name: str = "", images: Path | None = None) -> SourceModel:
    """As `timm:NAME`, with torchvision's best weights."""
    options = Options.parse(text, ("pretrained",))
    models = _models()
    known = models.list_models()
    if options.name not in known:
        near = difflib.get_close_matches(options.name, known, n=8, cutoff=0.4) or known[:8]
        raise UnknownName("torchvision network", options.name, near)
    best = models.get_model_weights(options.name).DEFAULT
    preprocess = _preprocess(best.transforms(), options.name)
    address = urlsplit(best.url)
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(address.path).name
    asked = options.switch("pretrained")
    weights = Weights.decide(asked, cached=file.exists(), host=str(address.hostname))
    torch.manual_seed(_SEED)
    # segmentation networks fetch weights of their backbone unless told not to
    backbone = (
        {"weights_backbone": None} if "weights_backbone" in _parameters(models, options) else {}
    )
    chosen = best if weights.real else None
    return image_model(
        models.get_model(options.name, weights=chosen, **backbone).eval(),
        preprocess,
        weights,
        kind=f"torchvision:{options.name}",
        name=name or plain_name(options.name),
        labels=_labels(best) if weights.real else (),
        images=images,
    )


def _models() -> Any:
    try:
        return import_with_torchvision("torchvision").models
    except ImportError as error:
        raise MissingDependency(
            "torchvision",
            needed_for="sources torchvision:NAME",
            install="pip install torchvision, in the build that fits your torch",
        ) from error


def _parameters(models: Any, options: Options) -> set[str]:
    return set(inspect.signature(models.get_model_builder(options.name)).parameters)


def _labels(weights: Any) -> tuple[str, ...]:
    """Of classifiers: a segmentation network has its categories at every pixel."""
    classifies = type(weights.transforms()).__name__ == "ImageClassification"
    return tuple(weights.meta.get("categories", ())) if classifies else ()


def _preprocess(transforms: Any, name: str) -> Preprocess:
    if type(transforms).__name__ not in ("ImageClassification", "SemanticSegmentation"):
        raise SourceFault(
            f"The inputs of {name} are prepared by {type(transforms).__name__}.",
            expected="Classifiers and segmentation networks of torchvision go by name; other tasks "
            "need their own inputs.",
            remedy="Write a file.py with get_model(), get_args() and get_preprocess().",
        )
    whole = transforms.resize_size[0]
    side = getattr(transforms, "crop_size", [whole])[0]
    return Preprocess(
        height=side,
        width=side,
        colour="RGB",
        fit="crop",
        crop_fraction=side / whole,
        resize=transforms.interpolation.value,
        scale=1 / 255,
        mean=tuple(map(float, transforms.mean)),
        std=tuple(map(float, transforms.std)),
        layout="NCHW",
    )
