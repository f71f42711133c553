"""Norms and reductions written out; scale and shift go into what reads them where that is exact."""

import pytest
import torch
from torch import nn

from tests.exporters.prepare.rewriting import rewritten, targets

TOKENS, IMAGE = (1, 7, 6), (1, 6, 5, 4)


@pytest.fixture(params=["expand_layer_norm", "layer_norm_means"])
def rewrite(request):
    """The two ways to write LayerNorm out: with products, and with means."""
    return request.param


class Normed(nn.Module):
    def __init__(self, norm, after, *modules):
        super().__init__()
        self.norm, self.after = norm, after
        self.rest = nn.ModuleList(modules)

    def forward(self, x):
        return self.after(self.norm(x * 3 + 2), *self.rest)


def _affine(graph):
    """Multiplications and additions by a constant of six numbers, which folding leaves none of."""
    nodes = [n for n in graph.graph.nodes if n.op == "get_attr" and n.meta["val"].numel() == 6]
    users = [user for node in nodes for user in node.users]
    return sum(
        user.target in (torch.ops.aten.mul.Tensor, torch.ops.aten.add.Tensor) for user in users
    )


@pytest.mark.parametrize(
    ("after", "modules"),
    [
        (lambda y, a: a(y), [nn.Linear(6, 4)]),
        (lambda y, a: a(y), [nn.Linear(6, 4, bias=False)]),
        (lambda y, a, b: a(y) * b(y), [nn.Linear(6, 4), nn.Linear(6, 4)]),
        (lambda y, a: a(torch.roll(y.reshape(1, 7, 1, 6), 2, 1)), [nn.Linear(6, 4)]),
        (lambda y, a: a(y.permute(0, 2, 1).reshape(1, 6, 7, 1)), [nn.Conv2d(6, 4, 1)]),
        (
            lambda y, a: a(nn.functional.avg_pool2d(y.mT.reshape(1, 6, 7, 1), (2, 1))),
            [nn.Conv2d(6, 4, 1)],
        ),
    ],
)
def test_scale_and_shift_go_into_the_projections(after, modules, rewrite):
    module = Normed(nn.LayerNorm(6), after, *modules)
    graph, sites = rewritten(module, (torch.randn(*TOKENS),), "plain_shapes", rewrite)
    assert sites == 1
    assert "layer_norm" not in targets(graph)
    assert _affine(graph) == 0


@pytest.mark.parametrize(
    ("norm", "after", "modules"),
    [
        (nn.LayerNorm(6), lambda y, a: a(y) + y, [nn.Linear(6, 6)]),
        (nn.LayerNorm(6), lambda y: y, []),
        (nn.LayerNorm(6), lambda y, a: a(y.reshape(1, 7, 3, 2)), [nn.Linear(2, 4)]),
        (
            nn.LayerNorm(6),
            lambda y, a: a(y.mT.reshape(1, 6, 7, 1)),
            [nn.Conv2d(6, 4, 3, padding=1)],
        ),
        (nn.LayerNorm(6), lambda y, a: a(y.mT.reshape(1, 6, 7, 1)), [nn.Conv2d(6, 6, 1, groups=6)]),
        (nn.LayerNorm(6), lambda y, a: a(torch.cat([y, y * 2], 1)), [nn.Linear(6, 4)]),
        (nn.LayerNorm(6, bias=False), lambda y: y, []),
    ],
)
def test_otherwise_they_stay(norm, after, modules, rewrite):
    module = Normed(norm, after, *modules)
    graph, sites = rewritten(module, (torch.randn(*TOKENS),), "plain_shapes", rewrite)
    assert sites == 1
    assert _affine(graph)


@pytest.mark.parametrize(
    "norm", [nn.LayerNorm(6, elementwise_affine=False), nn.LayerNorm(6, eps=0.3)]
)
def test_norms_with_nothing_to_fold_and_with_a_large_epsilon(norm, rewrite):
    graph, _ = rewritten(Normed(norm, torch.relu), (torch.randn(*TOKENS),), rewrite)
    assert "layer_norm" not in targets(graph)


def test_a_norm_over_two_axes_stays(rewrite):
    module = Normed(nn.LayerNorm((7, 6)), torch.relu)
    assert rewritten(module, (torch.randn(*TOKENS),), rewrite)[1] == 0


@pytest.mark.parametrize(
    ("groups", "after", "modules", "sites"),
    [
        (1, lambda y, a: a(y), [nn.Conv2d(6, 4, 1)], 1),
        (1, lambda y, a: a(y), [nn.Conv2d(6, 4, 3, padding=1)], 1),
        (1, lambda y: y, [], 1),
        (2, lambda y: y, [], 0),
    ],
)
def test_group_norm_of_one_group(groups, after, modules, sites):
    module = Normed(nn.GroupNorm(groups, 6), after, *modules)
    assert rewritten(module, (torch.randn(*IMAGE),), "expand_group_norm")[1] == sites


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.sum(-1),
        lambda x: x.sum(-1, keepdim=True),
        lambda x: x.sum(1, keepdim=True),
        lambda x: x.mean((2, 3)),
        lambda x: x.mean((1, 2)),
        lambda x: x.mean(2, keepdim=True),
        lambda x: x.sum((0, 1, 2, 3)),
        lambda x: torch.nn.functional.normalize(x, dim=-1),
        lambda x: torch.nn.functional.normalize(x, dim=1),
        lambda x: torch.linalg.vector_norm(x, dim=(2, 3)),
    ],
)
def test_reductions_are_products(function):
    module = Normed(nn.Identity(), function)
    graph, sites = rewritten(module, (torch.randn(*IMAGE),), "plain_shapes", "expand_reductions")
    assert sites == 1
    assert not set(targets(graph)) & {"sum", "linalg_vector_norm"}


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.mean((2, 3), keepdim=True),  # delegated as it is
        lambda x: x.sum((1, 3)),
        lambda x: torch.linalg.vector_norm(x, ord=1, dim=-1),
        lambda x: (x > 2).sum(-1).int(),
    ],
)
def test_other_reductions_stay(function):
    module = Normed(nn.Identity(), function)
    assert rewritten(module, (torch.randn(*IMAGE),), "expand_reductions")[1] == 0


def test_the_approximate_gelu_is_written_out_and_the_exact_one_is_not():
    module = Normed(nn.Identity(), nn.GELU(approximate="tanh"))
    assert rewritten(module, (torch.randn(*IMAGE),), "tanh_gelu")[1] == 1
    assert rewritten(Normed(nn.Identity(), nn.GELU()), (torch.randn(*IMAGE),), "tanh_gelu")[1] == 0


@pytest.mark.parametrize(
    ("function", "sites"),
    [(lambda x: x / 2, 3), (lambda x: x * 2.0, 2), (lambda x: (x.int() * 2).float(), 2)],
)
def test_whole_numbers_in_float_arithmetic(function, sites):
    module = Normed(nn.Identity(), function)  # has two of its own
    assert rewritten(module, (torch.randn(*IMAGE),), "float_scalars")[1] == sites
