"""`hf:ID` or `hf:FOLDER`: vision and text models of Hugging Face transformers.

A folder needs no more than `config.json`: without weights beside it the model has random ones, and
says so. https://huggingface.co/docs/transformers/main_classes/model
"""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from exporters.sources.hub import Options, Weights, reachable
from exporters.sources.model import SourceModel, from_module, plain_name
from exporters.sources.randomised import randomise
from exporters.sources.sentences import CALIBRATION_SENTENCES, EVALUATION_SENTENCES
from exporters.sources.timm_models import image_model
from exporters.sources.torchvision_ops import import_with_torchvision
from headtail.errors import HeadtailError, MissingDependency, SourceFault
from headtail.preprocess import Preprocess
from headtail.tensors import Array

__all__ = ["load"]

_HOST = "huggingface.co"
_SEED = 0
_LENGTH = 64  # tokens of a text model's input, padded; ?length=N
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
# PIL's numbers of resampling filters, as preprocessor_config.json has them
_RESAMPLE = {0: "nearest", 2: "bilinear", 3: "bicubic"}


def load(text: str, *, name: str = "", images: Path | None = None) -> SourceModel:
    """A vision model takes photos, a text model real sentences; raises `SourceFault` for others."""
    options = Options.parse(text, ("pretrained", "length"))
    transformers = _transformers()
    folder = Path(options.name)
    cached = bool(list(folder.glob(_WEIGHTS[0])) or list(folder.glob(_WEIGHTS[1])))
    if not folder.is_dir():
        cached = _in_cache(options.name)
    asked = options.switch("pretrained")
    if folder.is_dir() and not cached and asked is None:
        asked, reason = False, f"weights: random, seed {_SEED}, because {folder.name} holds none"
    else:
        reason = ""
    weights = Weights.decide(asked, cached=cached, host=_HOST, seed=_SEED)
    weights = Weights(weights.real, reason or weights.said)
    config = _config(transformers, options.name)
    torch.manual_seed(_SEED)
    module = _module(transformers, options.name, config, real=weights.real)
    label = name or plain_name(folder.name)
    if hasattr(config, "vocab_size"):
        return _text_model(transformers, module, options, weights, label)
    return image_model(
        _Named(module).eval(),
        _preprocess(options.name, config),
        weights,
        kind=f"hf:{options.name}",
        name=label,
        labels=_labels(module, config) if weights.real else (),
        images=images,
    )


class _Named(torch.nn.Module):
    """A vision model by its picture, with the outputs that are tensors."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> dict[str, torch.Tensor]:
        """The model's own output names."""
        return _tensors(self.model(pixel_values=pixel_values))


class _Text(torch.nn.Module):
    """A text model by its tokens; phones give int32."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """The model's own output names."""
        given = {"input_ids": input_ids.long(), "attention_mask": attention_mask.long()}
        return _tensors(self.model(**given))


def _tensors(output: Any) -> dict[str, torch.Tensor]:
    return {key: value for key, value in output.items() if isinstance(value, torch.Tensor)}


def _transformers() -> Any:
    with contextlib.suppress(ImportError):
        # transformers imports it later, from many places, if it is there at all
        import_with_torchvision("torchvision")
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise MissingDependency(
            "transformers", needed_for="sources hf:ID", install="pip install 'headtail[sources]'"
        ) from error


def _in_cache(name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(name, f) for f in ("model.safetensors", "pytorch_model.bin"))
    return any(isinstance(path, str) for path in found)


def _config(transformers: Any, name: str) -> Any:
    try:
        offline = not Path(name).is_dir() and not reachable(_HOST)
        return transformers.AutoConfig.from_pretrained(name, local_files_only=offline)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise SourceFault(
            f"transformers has no configuration for {name!r}: {reason[:200]}",
            expected="A model of the hub that can be reached or is cached, or a folder with its "
            "config.json.",
            remedy="Check the name; offline, save the model's config.json to a folder and name it.",
        ) from error


def _module(transformers: Any, name: str, config: Any, *, real: bool) -> torch.nn.Module:
    """The architecture that the configuration names, else the bare model."""
    wanted = (getattr(config, "architectures", None) or ["AutoModel"])[0]
    kind = getattr(transformers, wanted, transformers.AutoModel)
    config.use_cache = False  # a key-value cache is state between calls
    try:
        if real:
            return kind.from_pretrained(name, config=config).float().eval()  # type: ignore[no-any-return]  # transformers' own classes
        make = kind._from_config if hasattr(kind, "_from_config") else kind.from_config
        return make(config).float().eval()  # type: ignore[no-any-return]  # likewise
    except (OSError, ValueError, KeyError) as error:
        raise SourceFault(
            f"{wanted} cannot be made from {name!r}: {str(error)[:200]}",
            expected="The configuration is complete and its architecture is one of transformers'.",
            remedy="Load it in Python first, and write a file.py if it needs more than its name.",
        ) from error


def _text_model(
    transformers: Any, model: torch.nn.Module, options: Options, weights: Weights, name: str
) -> SourceModel:
    length = min(options.count("length", _LENGTH), _longest(model))
    encode, said = _encoder(transformers, options.name, model, length)
    calibration = [encode(sentence) for sentence in CALIBRATION_SENTENCES]
    evaluation = [encode(sentence) for sentence in EVALUATION_SENTENCES]
    module = _Text(model).eval()
    example = tuple(torch.from_numpy(array) for array in evaluation[0])
    if not weights.real:
        randomise(module, [example], seed=_SEED)
    remarks = [said] if weights.real else [weights.said, said]
    return from_module(
        module,
        example,
        name=name,
        calibration=calibration,
        evaluation=evaluation,
        origin=f"hf:{options.name}, {weights.said}",
        judged_on=f"English sentences, {said}",
        remarks=remarks,
    )


def _longest(model: Any) -> int:
    return int(getattr(model.config, "max_position_embeddings", None) or _LENGTH)


def _encoder(transformers: Any, name: str, model: Any, length: int) -> Any:
    """A function from a sentence to (ids, mask), int32 [1, length]; and what it does."""
    try:
        offline = Path(name).is_dir() or not reachable(_HOST)
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, local_files_only=offline)
    except (OSError, ValueError, HeadtailError):
        tokenizer = None
    if tokenizer is not None and _blind(tokenizer):
        tokenizer = None
    if tokenizer is None:
        size = int(model.config.vocab_size)
        return (
            lambda sentence: _padded([byte % size for byte in sentence.encode()], length, 0),
            "tokens: there is no tokenizer, so they are the UTF-8 bytes of the sentences",
        )
    padding = tokenizer.pad_token_id or 0
    return (
        lambda sentence: _padded(tokenizer(sentence)["input_ids"], length, padding),
        "tokens: by the model's own tokenizer",
    )


def _blind(tokenizer: Any) -> bool:
    """Made from a folder without a vocabulary, it reads every sentence as the same tokens."""
    first, second = (tokenizer(text)["input_ids"] for text in EVALUATION_SENTENCES[:2])
    return len({*first, *second}) <= len(tokenizer.all_special_ids)


def _padded(ids: Sequence[int], length: int, padding: int) -> tuple[Array, Array]:
    kept = list(ids)[:length]
    rest = length - len(kept)
    tokens = np.array([kept + [padding] * rest], np.int32)
    return tokens, np.array([[1] * len(kept) + [0] * rest], np.int32)


def _preprocess(name: str, config: Any) -> Preprocess:
    """As preprocessor_config.json says, else ImageNet's mean and deviation at the config's size."""
    said = _processor_config(name)
    size = said.get("crop_size") or said.get("size") or getattr(config, "image_size", 224)
    height, width = _sides(size)
    resized = _sides(said.get("size") or size)
    cropped = bool(said.get("do_center_crop"))
    return Preprocess(
        height=height,
        width=width,
        colour="RGB",
        fit="crop" if cropped else "squash",
        crop_fraction=min(1.0, height / min(resized)) if cropped else 1.0,
        resize=_RESAMPLE.get(said.get("resample", 3), "bicubic"),
        scale=float(said.get("rescale_factor", 1 / 255)),
        mean=tuple(map(float, said.get("image_mean", (0.485, 0.456, 0.406)))),
        std=tuple(map(float, said.get("image_std", (0.229, 0.224, 0.225)))),
        layout="NCHW",
    )


def _processor_config(name: str) -> dict[str, Any]:
    from huggingface_hub import try_to_load_from_cache

    path = Path(name) / "preprocessor_config.json"
    if not path.is_file():
        cached = try_to_load_from_cache(name, path.name) if not Path(name).is_dir() else None
        if not isinstance(cached, str):
            return {}
        path = Path(cached)
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _sides(size: Any) -> tuple[int, int]:
    if isinstance(size, dict):
        if "shortest_edge" in size:
            return int(size["shortest_edge"]), int(size["shortest_edge"])
        return int(size["height"]), int(size["width"])
    if isinstance(size, (list, tuple)):
        return int(size[0]), int(size[-1])
    return int(size), int(size)


def _labels(model: torch.nn.Module, config: Any) -> tuple[str, ...]:
    if "ForImageClassification" not in type(model).__name__:
        return ()
    return tuple(str(config.id2label[index]) for index in range(len(config.id2label)))
