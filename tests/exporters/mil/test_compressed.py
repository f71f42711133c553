"""Every way coremltools compresses weights: decoded constants equal its own decoder's bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from exporters.mil import Function, Mode, Program
from headtail.metrics import snr_db

from .conftest import quiet
from .families import randomise

pytestmark = pytest.mark.slow  # runs the real converter

EXACT_GATE_DB = 100.0


class Net(nn.Module):
    """Two layers with more than the 2,048 weights below which coremltools leaves a layer alone."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(16, 32, 3, padding=1), nn.Linear(32, 96)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.head(torch.relu(self.conv(x)).mean((2, 3)))
        return y


def int8(cto: Any, **options: Any) -> Callable[[Any], Any]:
    config = cto.OptimizationConfig(global_config=cto.OpLinearQuantizerConfig(**options))
    return lambda model: cto.linear_quantize_weights(model, config)


def palette(cto: Any, **options: Any) -> Callable[[Any], Any]:
    config = cto.OptimizationConfig(global_config=cto.OpPalettizerConfig(mode="kmeans", **options))
    return lambda model: cto.palettize_weights(model, config)


def prune(cto: Any, then: Callable[[Any], Any] | None = None) -> Callable[[Any], Any]:
    config = cto.OptimizationConfig(global_config=cto.OpMagnitudePrunerConfig(target_sparsity=0.5))
    return lambda model: (then or (lambda m: m))(cto.prune_weights(model, config))


def joint(cto: Any, kind: str) -> Callable[[Any], Any]:
    """Pruned, then quantized or palettized: the sparse operators of iOS18."""
    if kind == "int8":
        config = cto.OptimizationConfig(global_config=cto.OpLinearQuantizerConfig())
        second = lambda model: cto.linear_quantize_weights(model, config, joint_compression=True)  # noqa: E731
    else:
        config = cto.OptimizationConfig(
            global_config=cto.OpPalettizerConfig(mode="kmeans", nbits=4)
        )
        second = lambda model: cto.palettize_weights(model, config, joint_compression=True)  # noqa: E731
    return prune(cto, second)


CASES: dict[str, tuple[str, Callable[[Any], Callable[[Any], Any]], str]] = {
    "int8_ios16": ("iOS16", int8, "constexpr_affine_dequantize"),
    "uint8_ios16": (
        "iOS16",
        lambda c: int8(c, mode="linear", dtype="uint8"),
        "constexpr_affine_dequantize",
    ),
    "int8": ("iOS18", int8, "constexpr_blockwise_shift_scale"),
    "int4_block": (
        "iOS18",
        lambda c: int8(c, dtype="int4", granularity="per_block", block_size=8),
        "constexpr_blockwise_shift_scale",
    ),
    "palette4_ios16": ("iOS16", lambda c: palette(c, nbits=4), "constexpr_lut_to_dense"),
    "palette6_ios16": ("iOS16", lambda c: palette(c, nbits=6), "constexpr_lut_to_dense"),
    "palette1": ("iOS18", lambda c: palette(c, nbits=1), "constexpr_lut_to_dense"),
    "palette3": ("iOS18", lambda c: palette(c, nbits=3), "constexpr_lut_to_dense"),
    "palette4_grouped": (
        "iOS18",
        lambda c: palette(c, nbits=4, granularity="per_grouped_channel", group_size=8),
        "constexpr_lut_to_dense",
    ),
    "palette4_vector": (
        "iOS18",
        lambda c: palette(c, nbits=4, cluster_dim=2),
        "constexpr_lut_to_dense",
    ),
    "sparse_ios16": ("iOS16", prune, "constexpr_sparse_to_dense"),
    "sparse": ("iOS18", prune, "constexpr_sparse_to_dense"),
    "sparse_int8": ("iOS18", lambda c: joint(c, "int8"), "constexpr_sparse_blockwise_shift_scale"),
    "sparse_palette": ("iOS18", lambda c: joint(c, "palette"), "constexpr_lut_to_sparse"),
}


@pytest.mark.parametrize("case", CASES)
def test_decoded_weights_equal_coremltools(convert: Any, coremltools: Any, case: str) -> None:
    target, make, operator = CASES[case]
    cto, kept = coremltools.optimize.coreml, []
    net, x = Net(), torch.randn(1, 16, 6, 6)
    randomise(net)

    def compress(model: Any) -> Any:
        kept.append(make(cto)(model))
        return kept[-1]

    path = convert(net, (x,), case, precision="FLOAT16", target=target, compress=compress)
    function = Program(path).function("main")
    assert function.code.counts[operator] == 2
    with quiet():
        plain = cto.decompress_weights(kept[-1])._mil_program.functions["main"]
    adopt(net, function, plain)
    with torch.no_grad():
        wanted = net(x)
    (got,) = function.run([x], mode=Mode.FP32)
    assert snr_db(reference=wanted.numpy(), candidate=got.numpy()) >= EXACT_GATE_DB


def adopt(net: Net, function: Function, plain: Any) -> None:
    """Check both weights against coremltools' decoder and give them to the PyTorch net."""
    steps = {step.operation.name: step for step in function.code.steps}
    layers: dict[str, nn.Conv2d | nn.Linear] = {"conv": net.conv, "linear": net.head}
    for kind, layer in layers.items():
        (reference,) = plain.find_ops(op_type=kind)
        weight = function.constant(str(steps[kind].bindings["weight"])).numpy()
        assert np.array_equal(weight, np.asarray(reference.weight.val, np.float32)), kind
        layer.weight.data = torch.from_numpy(weight.copy())
        layer.bias = nn.Parameter(torch.from_numpy(np.array(reference.bias.val, np.float32)))
