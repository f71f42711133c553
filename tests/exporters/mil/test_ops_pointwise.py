"""Elementwise operators and activations at points computed by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from .calling import call

X = torch.tensor([-2.0, -0.5, 0.0, 0.5, 8.0])


@pytest.mark.parametrize(
    ("name", "attributes", "expected"),
    [
        ("relu6", {}, [0, 0, 0, 0.5, 6]),
        ("clip", {"alpha": -1.0, "beta": 0.25}, [-1, -0.5, 0, 0.25, 0.25]),
        ("threshold", {"alpha": 0.1}, [0.1, 0.1, 0.1, 0.5, 8]),
        ("thresholded_relu", {"alpha": 0.5}, [0, 0, 0, 0.5, 8]),
        ("clamped_relu", {"alpha": 0.5, "beta": 1.0}, [-1, -0.25, 0, 0.5, 1]),
        ("leaky_relu", {"alpha": 0.5}, [-1, -0.25, 0, 0.5, 8]),
        ("linear_activation", {"alpha": 2.0, "beta": 1.0}, [-3, 0, 1, 2, 17]),
        ("sigmoid_hard", {"alpha": 0.25, "beta": 0.5}, [0, 0.375, 0.5, 0.625, 1]),
        ("softsign", {}, [-2 / 3, -1 / 3, 0, 1 / 3, 8 / 9]),
        ("elu", {"alpha": 2.0}, [2 * math.expm1(-2), 2 * math.expm1(-0.5), 0, 0.5, 8]),
        ("scaled_tanh", {"alpha": 2.0, "beta": 3.0}, [2 * math.tanh(3 * v) for v in X.tolist()]),
        ("softplus", {}, [math.log1p(math.exp(v)) for v in X.tolist()]),
        ("silu", {}, [v / (1 + math.exp(-v)) for v in X.tolist()]),
        ("gelu", {}, [v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in X.tolist()]),
        ("gelu", {"mode": "SIGMOID_APPROXIMATION"},
         [v / (1 + math.exp(-1.702 * v)) for v in X.tolist()]),
        ("gelu", {"mode": "TANH_APPROXIMATION"},
         [0.5 * v * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3)))
          for v in X.tolist()]),
        ("inverse", {"epsilon": 4.0}, [1 / (v + 4) for v in X.tolist()]),
        ("rsqrt", {"epsilon": 4.0}, [1 / math.sqrt(v + 4) for v in X.tolist()]),
        ("log", {"epsilon": 4.0}, [math.log(v + 4) for v in X.tolist()]),
        ("round", {}, [-2, 0, 0, 0, 8]),
        ("sign", {}, [-1, -1, 0, 1, 1]),
    ],
)  # fmt: skip
def test_pointwise(name: str, attributes: dict[str, Any], expected: list[float]) -> None:
    assert call(name, x=X, **attributes).tolist() == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_parameters_per_channel_lie_along_axis_one() -> None:
    x = torch.full((1, 2, 3), -1.0)
    y = call("prelu", x=x, alpha=torch.tensor([0.5, 0.25]))
    assert y[0, :, 0].tolist() == [-0.5, -0.25]
    one, two = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0])
    z = call("softplus_parametric", x=x, alpha=one, beta=two)
    assert z[0, :, 0].tolist() == pytest.approx(
        [math.log1p(math.exp(-1)), 2 * math.log1p(math.exp(-3))]
    )


def test_softmax_axis() -> None:
    x = torch.zeros(2, 4)
    assert call("softmax", x=x)[0, 0] == 0.25
    assert call("softmax", x=x, axis=0)[0, 0] == 0.5


@pytest.mark.parametrize(
    ("name", "x", "y", "expected"),
    [
        ("mod", -3.0, 2.0, 1.0),
        ("mod", -3, 2, 1),
        ("floor_div", -3.0, 2.0, -2.0),
        ("floor_div", -3, 2, -2),
        ("real_div", 3.0, 2.0, 1.5),
        ("pow", 2.0, 3.0, 8.0),
        ("sub", 2.0, 3.0, -1.0),
        ("maximum", 2, 3, 3),
        ("greater_equal", 3, 3, True),
        ("not_equal", 3, 3, False),
        ("logical_xor", True, True, False),
    ],
)
def test_binary(name: str, x: float, y: float, expected: float) -> None:
    assert call(name, x=x, y=y).item() == expected


def test_integers_and_floats_do_not_mix() -> None:
    with pytest.raises(TypeError, match=r"x is torch.float32 and y is torch.int32"):
        call("mul", x=1.5, y=2)


def test_cast_drops_the_fraction() -> None:
    assert call("cast", x=[-1.7, 1.7], dtype="int32").tolist() == [-1, 1]
    assert call("cast", x=[0, 3], dtype="bool").tolist() == [False, True]
    with pytest.raises(ValueError, match="dtype 'fp8' is not one of"):
        call("cast", x=[1.0], dtype="fp8")


def test_select() -> None:
    assert call("select", cond=[True, False], a=[1, 2], b=[3, 4]).tolist() == [1, 4]


def test_an_unknown_gelu_is_refused() -> None:
    with pytest.raises(ValueError, match="mode 'QUICK' is unknown"):
        call("gelu", x=X, mode="QUICK")
