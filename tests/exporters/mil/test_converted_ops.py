"""Single operators: PyTorch -> coremltools -> package on disk -> interpreter, against PyTorch.

fp32 for iOS18 at 85 dB; fp16 for iOS17, whose operators differ, at 45 dB in the declared mode.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pytest
import torch

from exporters.mil import Program
from headtail.metrics import snr_db

from .families import FAMILIES, INPUT, Family

pytestmark = pytest.mark.slow  # runs the real converter

FP32_GATE_DB = 85.0
FP16_GATE_DB = 45.0
# Rounding x * 3.3 to float16 moves it across an integer now and then.
STEPPED = {"floor", "ceil", "round", "sign", "int_cast", "remainder", "floor_divide"}
EQUALITY = {"eq", "ne", "le", "ge", "gt", "lt"}
CASES = [(family, name) for family, members in FAMILIES.items() for name in members]


@pytest.fixture(scope="session")
def outputs(convert: Any):
    """outputs(family, precision) -> {operator: (PyTorch's result, the interpreter's)}."""

    @lru_cache
    def run(family: str, precision: str) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        net = Family(FAMILIES[family]).eval()
        target = "iOS18" if precision == "FLOAT32" else "iOS17"
        path = convert(net, (INPUT,), family, precision=precision, target=target)
        function = Program(path).function("main")
        with torch.no_grad():
            wanted = net(INPUT)
        got = function.run([INPUT])
        return dict(zip(FAMILIES[family], zip(wanted, got, strict=True), strict=True))

    return run


def snr(pair: tuple[torch.Tensor, torch.Tensor]) -> float:
    wanted, got = pair
    return snr_db(reference=wanted.numpy(), candidate=got.reshape(wanted.shape).numpy())


@pytest.mark.parametrize(("family", "name"), CASES)
def test_fp32_equals_torch(outputs: Any, family: str, name: str) -> None:
    assert snr(outputs(family, "FLOAT32")[name]) >= FP32_GATE_DB


@pytest.mark.parametrize(("family", "name"), [c for c in CASES if c[1] not in STEPPED | EQUALITY])
def test_fp16_is_near_torch(outputs: Any, family: str, name: str) -> None:
    assert snr(outputs(family, "FLOAT16")[name]) >= FP16_GATE_DB


@pytest.mark.parametrize(
    ("member", "lowest", "highest"),
    [
        (torch.reciprocal, 40, 80),  # written as `inverse` with its default epsilon of 1e-4
        (torch.nn.GELU("tanh"), 40, 80),  # the keyword is dropped: written as mode EXACT
    ],
)
def test_two_faults_of_coremltools_9_are_found(
    convert: Any, member: Any, lowest: int, highest: int
) -> None:
    """Both conversions succeed without a word; the fp32 gate is what notices."""
    net = Family({"faulty": lambda x: member(x.abs() + 0.1)})
    path = convert(net, (INPUT,), "faulty")
    (got,) = Program(path).function("main").run([INPUT])
    assert lowest < snr((net(INPUT)[0], got)) < highest < FP32_GATE_DB
