"""`timm:NAME`: a network of pytorch-image-models. https://huggingface.co/docs/timm."""

from __future__ import annotations

import difflib
import importlib
from pathlib import Path
from typing import Any

import torch

from exporters.sources.hub import Options, Weights
from exporters.sources.model import SourceModel, from_module, plain_name
from exporters.sources.photos import PhotoSets
from exporters.sources.randomised import randomise
from exporters.sources.torchvision_ops import import_with_torchvision
from headtail.errors import MissingDependency, UnknownName
from headtail.preprocess import Frame, Preprocess

__all__ = ["image_model", "load"]

_HOST = "huggingface.co"
_SEED = 0
_SETTLING = 8  # photos from which random weights take their batch statistics
_RESIZE = {"bilinear": "bilinear", "bicubic": "bicubic", "nearest": "nearest"}
_FILES = ("model.safetensors", "pytorch_model.bin")


def load(text: str, *, name: str = "", images: Path | None = None) -> SourceModel:
    """Pretrained weights from the cache or the hub; random ones if it cannot be reached, said so.

    Raises `UnknownName` for a network that timm does not have.
    """
    options = Options.parse(text, ("pretrained",))
    timm = _timm()
    if not timm.is_model(options.name):
        known = timm.list_models()
        near = difflib.get_close_matches(options.name, known, n=8, cutoff=0.4) or known[:8]
        raise UnknownName("timm network", options.name, near)
    config = timm.get_pretrained_cfg(options.name, allow_unregistered=False)
    cached = _cached(config)
    weights = Weights.decide(options.switch("pretrained"), cached=cached is not None, host=_HOST)
    torch.manual_seed(_SEED)
    overlay = {"pretrained_cfg_overlay": {"file": cached}} if weights.real and cached else {}
    module = timm.create_model(options.name, pretrained=weights.real, **overlay).eval()
    return image_model(
        module,
        _preprocess(module.pretrained_cfg),
        weights,
        kind=f"timm:{options.name}",
        name=name or plain_name(options.name),
        labels=_labels(module) if weights.real else (),
        images=images,
    )


def image_model(  # noqa: PLR0913  # what every hub of image models has
    module: torch.nn.Module,
    preprocess: Preprocess,
    weights: Weights,
    *,
    kind: str,
    name: str,
    labels: tuple[str, ...],
    images: Path | None,
) -> SourceModel:
    """A network for photos, calibrated and judged on photos; random weights are made telling."""
    sets = PhotoSets.load(images, preprocess)
    if not weights.real:
        randomise(module, [(_batch(sets.calibration[:_SETTLING], preprocess),)], seed=_SEED)
    return from_module(
        module,
        (torch.from_numpy(preprocess(sets.evaluation[0])),),
        name=name,
        labels=labels,
        preprocess=preprocess,
        calibration=sets.calibration,
        evaluation=sets.evaluation,
        origin=f"{kind}, {weights.said}",
        judged_on=sets.source,
        remarks=() if weights.real else (weights.said,),
    )


def _batch(frames: list[Frame], preprocess: Preprocess) -> torch.Tensor:
    return torch.cat([torch.from_numpy(preprocess(frame)) for frame in frames])


def _timm() -> Any:
    try:
        return import_with_torchvision("timm")
    except ImportError as error:
        raise MissingDependency(
            "timm", needed_for="sources timm:NAME", install="pip install 'headtail[sources]'"
        ) from error


def _cached(config: Any) -> str | None:
    """The weights' file in the local cache of the hub."""
    from huggingface_hub import try_to_load_from_cache

    if not config.hf_hub_id:
        return None
    for file in _FILES:
        found = try_to_load_from_cache(config.hf_hub_id, config.hf_hub_filename or file)
        if isinstance(found, str):
            return found
    return None


def _preprocess(config: dict[str, Any]) -> Preprocess:
    """How the weights were trained: https://huggingface.co/docs/timm/reference/data."""
    _, height, width = config["input_size"]
    whole = config.get("crop_mode") == "squash"
    return Preprocess(
        height=height,
        width=width,
        colour="RGB",
        fit="squash" if whole else "crop",
        crop_fraction=1.0 if whole else float(config["crop_pct"]),
        resize=_RESIZE.get(config["interpolation"], "bicubic"),
        scale=1 / 255,
        mean=tuple(map(float, config["mean"])),
        std=tuple(map(float, config["std"])),
        layout="NCHW",
    )


def _labels(module: Any) -> tuple[str, ...]:
    data: Any = importlib.import_module("timm.data")
    subset = data.infer_imagenet_subset(module)
    if not subset:
        return ()
    info = data.ImageNetInfo(subset)
    return tuple(info.index_to_description(i) for i in range(info.num_classes()))
