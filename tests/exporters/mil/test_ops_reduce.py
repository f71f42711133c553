"""Reductions, norms and products, by formula."""

from __future__ import annotations

import pytest
import torch

from .calling import call, image

X = image(2, 3) + 1  # 1 2 3 / 4 5 6


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("reduce_sum", [6, 15]),
        ("reduce_mean", [2, 5]),
        ("reduce_max", [3, 6]),
        ("reduce_min", [1, 4]),
        ("reduce_prod", [6, 120]),
        ("reduce_l1_norm", [6, 15]),
        ("reduce_l2_norm", [14**0.5, 77**0.5]),
        ("reduce_sum_square", [14, 77]),
        ("reduce_log_sum", [1.791759, 2.708050]),
        ("reduce_log_sum_exp", [3.407606, 6.407606]),
    ],
)
def test_reductions(name: str, expected: list[float]) -> None:
    assert call(name, x=X, axes=[-1]).tolist() == pytest.approx(expected, rel=1e-5)
    assert call(name, x=X, axes=[1], keep_dims=True).shape == (2, 1)
    assert call(name, x=X).shape == ()


def test_positions() -> None:
    assert call("reduce_argmax", x=X).tolist() == [2, 2]
    assert call("reduce_argmin", x=X, axis=0, keep_dims=True).tolist() == [[0, 0, 0]]
    with pytest.raises(ValueError, match="output_dtype 'int8'"):
        call("reduce_argmax", x=X, output_dtype="int8")


def test_cumsum() -> None:
    assert call("cumsum", x=image(4)).tolist() == [0, 1, 3, 6]
    assert call("cumsum", x=image(4), exclusive=True).tolist() == [0, 0, 1, 3]
    assert call("cumsum", x=image(4), reverse=True).tolist() == [6, 6, 5, 3]
    assert call("cumsum", x=image(4), reverse=True, exclusive=True).tolist() == [6, 5, 3, 0]


def test_batch_norm() -> None:
    x = torch.tensor([[[1.0], [2.0]]])
    two = torch.tensor([2.0, 2.0])
    y = call("batch_norm", x=x, mean=two / 2, variance=two, gamma=two, beta=two, epsilon=2.0)
    assert y.flatten().tolist() == [2.0, 3.0]


def test_layer_norm_over_axes_that_are_not_the_last() -> None:
    x, gamma = torch.randn(2, 3, 4), torch.randn(3)
    y = call("layer_norm", x=x, axes=[1], gamma=gamma, beta=gamma, epsilon=0.1)
    moved = torch.nn.functional.layer_norm(x.transpose(1, 2), [3], gamma, gamma, 0.1)
    assert torch.allclose(y, moved.transpose(1, 2), atol=1e-6)


def test_norms_without_parameters() -> None:
    x = torch.tensor([[[[3.0, 4.0]]]])
    assert call("l2_norm", x=x, epsilon=0.0).flatten().tolist() == pytest.approx([0.6, 0.8])
    assert call("instance_norm", x=x, epsilon=0.0).flatten().tolist() == pytest.approx([-1, 1])
    assert call("layer_norm", x=x, epsilon=0.0).flatten().tolist() == pytest.approx([-1, 1])


def test_products() -> None:
    y = call("matmul", x=X, y=X, transpose_y=True)
    assert y.tolist() == [[14, 32], [32, 77]]
    assert call("matmul", x=X, y=X, transpose_x=True).shape == (3, 3)
    assert call("linear", x=X, weight=X, bias=[1.0, 2.0]).tolist() == [[15, 34], [33, 79]]
    assert call("einsum", values=(X, X), equation="ab,cb->ac").tolist() == y.tolist()


def test_attention_masks() -> None:
    q = torch.randn(1, 2, 4)
    only_first = torch.tensor([[True, False], [True, False]])
    y = call("scaled_dot_product_attention", query=q, key=q, value=q, attn_mask=only_first)
    assert torch.allclose(y, q[:, :1].expand(1, 2, 4))
    added = torch.zeros(2, 2).masked_fill(~only_first, -1e9)
    z = call("scaled_dot_product_attention", query=q, key=q, value=q, attn_mask=added)
    assert torch.allclose(y, z)
