"""Attention: written out, its projection split, its scale folded, its products flattened."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.exporters.prepare.rewriting import rewritten, targets

CHAIN = ("plain_shapes", "expand_attention", "split_projection", "fold_scale", "batched_matmul")


class Attention(nn.Module):
    """Multi-head attention in the ways that networks write it."""

    def __init__(self, layout, windows=1, mask=None, causal=False):
        super().__init__()
        self.projection = nn.Linear(12, 36)
        self.layout, self.windows, self.causal = layout, windows, causal
        if mask is not None:
            self.register_buffer("mask", mask)
        else:
            self.mask = None

    def forward(self, x):
        rows = self.projection(x.reshape(self.windows, -1, 12))
        windows, tokens, _ = rows.shape
        if self.layout == "unbind":
            parts = rows.reshape(windows, tokens, 3, 2, 6).permute(2, 0, 3, 1, 4).unbind(0)
        elif self.layout == "chunk":
            parts = rows.view(windows, tokens, 2, 18).transpose(1, 2).chunk(3, dim=3)
        else:
            parts = rows.view(windows, tokens, 2, 18).split([6, 6, 6], dim=3)
            parts = [part.permute(0, 2, 1, 3) for part in parts]
        query, key, value = parts
        out = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=self.mask, is_causal=self.causal
        )
        return out.transpose(1, 2).reshape(1, -1, 12)


@pytest.mark.parametrize("layout", ["unbind", "chunk", "split"])
@pytest.mark.parametrize("windows", [1, 4])
def test_attention_is_linears_and_two_products(layout, windows):
    graph, _ = rewritten(Attention(layout, windows), (torch.randn(1, 20, 12),), *CHAIN)
    calls = targets(graph)
    assert (calls["linear"], calls["bmm"], calls["softmax"]) == (3, 2, 1)
    assert set(calls) == {"linear", "bmm", "softmax", "reshape", "permute"}


def test_a_bias_of_one_image_is_added_without_a_copy_of_the_scores():
    module = Attention("unbind", mask=torch.randn(1, 2, 20, 20))
    graph, _ = rewritten(module, (torch.randn(1, 20, 12),), *CHAIN)
    scores = next(n for n in graph.graph.nodes if n.target is torch.ops.aten.softmax.int)
    assert scores.args[0].target is torch.ops.aten.add.Tensor
    assert scores.args[0].args[0].target is torch.ops.aten.bmm.default


@pytest.mark.parametrize(
    "options",
    [
        {"causal": True},
        {"mask": torch.ones(20, 20, dtype=torch.bool)},
        {"mask": torch.zeros(20, 20).index_fill(0, torch.tensor([3]), -torch.inf)},
    ],
    ids=["causal", "boolean", "a row masked out"],
)
def test_other_masks_stay(options):
    module = Attention("unbind", **options)
    graph, sites = rewritten(module, (torch.randn(1, 20, 12),), "plain_shapes", "expand_attention")
    assert sites == 0
    assert targets(graph)["scaled_dot_product_attention"] == 1


class Projected(nn.Module):
    def __init__(self, projection, function):
        super().__init__()
        self.projection, self.function = projection, function

    def forward(self, x):
        return self.function(self.projection(x))


@pytest.mark.parametrize(
    ("projection", "shape", "function", "parts"),
    [
        (
            nn.Linear(6, 9),
            (1, 5, 6),
            lambda y: torch.cat(y.split([6, 3], -1)[::-1], -1),
            2,
        ),
        (
            nn.Conv2d(6, 9, 1),
            (1, 6, 4, 5),
            lambda y: torch.cat(y.chunk(3, 1)[::-1], 2),
            3,
        ),
        (nn.Linear(6, 8, bias=False), (1, 5, 6), lambda y: y[..., :4] * y[..., 4:], 2),
    ],
)
def test_gates_get_projections_of_their_own(projection, shape, function, parts):
    graph, sites = rewritten(
        Projected(projection, function), (torch.randn(*shape),), "plain_shapes", "split_projection"
    )
    assert sites == 1
    assert targets(graph)["linear"] + targets(graph)["conv2d"] == parts


@pytest.mark.parametrize(
    ("projection", "shape", "function"),
    [
        (nn.Linear(6, 8), (1, 4, 6), lambda y: y[:, :2] * y[:, 2:]),  # positions, not rows
        (nn.Linear(6, 8), (1, 5, 6), lambda y: y[..., :4] * y[..., 4:] + y.sum()),  # read whole
        (nn.Conv2d(6, 8, 3, groups=2), (1, 6, 5, 5), lambda y: y[:, :4] * y[:, 4:]),
        (
            nn.Linear(6, 8),
            (1, 4, 6),
            lambda y: y.reshape(1, 8, 4)[:, :4] * y.reshape(1, 8, 4)[:, 4:],
        ),
    ],
)
def test_other_projections_stay_whole(projection, shape, function):
    module = Projected(projection, function)
    _, sites = rewritten(module, (torch.randn(*shape),), "plain_shapes", "split_projection")
    assert sites == 0


@pytest.mark.parametrize(
    ("function", "sites"),
    [
        (lambda y: y * 0.25, 1),
        (lambda y: y.reshape(1, 2, 20).permute(0, 2, 1) / 3.0, 1),
        (lambda y: y * 0.25 + y, 0),
        (lambda y: torch.relu(y) * 0.25, 0),
    ],
)
def test_a_number_goes_into_the_weights_before_it(function, sites):
    module = Projected(nn.Linear(6, 8), function)
    assert rewritten(module, (torch.randn(1, 5, 6),), "fold_scale")[1] == sites


@pytest.mark.parametrize("axis", [-1, 1, 2])
def test_a_softmax_of_four_axes_is_one_of_three(axis):
    module = Projected(nn.Identity(), lambda y: y.softmax(axis))
    graph, sites = rewritten(module, (torch.randn(1, 3, 4, 5),), "batched_matmul")
    assert sites == 1
    softmax = next(n for n in graph.graph.nodes if n.target is torch.ops.aten.softmax.int)
    assert softmax.meta["val"].ndim == 3
    assert softmax.args[1] == -1


def test_a_product_with_a_constant_is_a_linear_and_broadcast_batches_stay():
    matrix = torch.randn(5, 3)
    module = Projected(nn.Identity(), lambda y: y @ matrix)
    assert (
        targets(rewritten(module, (torch.randn(1, 2, 4, 5),), "batched_matmul")[0])["linear"] == 1
    )
    module = Projected(nn.Identity(), lambda y: y @ y[:, :1].transpose(2, 3).contiguous())
    assert rewritten(module, (torch.randn(1, 2, 4, 5),), "plain_shapes", "batched_matmul")[1] == 0
