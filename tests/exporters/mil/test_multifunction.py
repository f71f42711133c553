"""One package with `forward` and a head, written by coremltools: both run, weights are shared."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from exporters.mil import MilRuntime
from headtail.metrics import snr_db
from headtail.tensors import TensorSpec

from .conftest import quiet
from .nets import build, photos

pytestmark = pytest.mark.slow  # runs the real converter

FP32_GATE_DB = 85.0
FP16_GATE_DB = 40.0
CUT = 4  # the head is the stem of the net: convolution, norm, relu, pooling


@pytest.mark.parametrize(
    ("precision", "gate_db"), [("FLOAT32", FP32_GATE_DB), ("FLOAT16", FP16_GATE_DB)]
)
def test_both_functions_run(
    convert: Any, coremltools: Any, tmp_path: Any, precision: str, gate_db: float
) -> None:
    net, image = build("resnet"), photos()[:1]
    head = nn.Sequential(*list(net.children())[:CUT])
    parts = {"forward": net, "head_b4": head}
    joined = coremltools.utils.MultiFunctionDescriptor()
    for name, part in parts.items():
        path = convert(part, (image,), name, precision=precision)
        joined.add_function(str(path), src_function_name="main", target_function_name=name)
    joined.default_function_name = "forward"
    package = tmp_path / "net.mlpackage"
    with quiet():
        coremltools.utils.save_multifunction(joined, str(package))
    with torch.no_grad():
        wanted = {name: part(image) for name, part in parts.items()}
    given = TensorSpec("image", "f32", tuple(image.shape))
    entries = {
        name: ([given], [TensorSpec("result", "f32", tuple(result.shape))])
        for name, result in wanted.items()
    }
    session = MilRuntime().load(package, entries=entries)
    assert list(session.entry_points()) == ["forward", "head_b4"]
    for name, result in wanted.items():
        (got,) = session.run(name, [image.numpy()])
        assert snr_db(reference=result.numpy(), candidate=got) >= gate_db
