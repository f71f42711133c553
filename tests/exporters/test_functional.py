"""In-place calls out of place: the same values, and nothing renamed that somebody would miss."""

import pytest
import torch
from torch import nn

from exporters.functional import is_mutable, rename_in_place


class Net(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body, self.weight = body, nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))

    def forward(self, x):
        return self.body(x, self.weight)


def chained(x, weight):
    y = x * weight
    y += 1.0
    y.relu_()
    return y + x


def residual(x, weight):
    y = (x * weight).clamp_(-1, 1)
    return y.mul_(weight).add_(y)


def sliced(x, weight):
    """The view that is written to is all that is used again."""
    y = torch.cat([x, x * weight])[:2]
    y += weight
    return y.sigmoid_()


def reshaped(x, weight):
    return (x * weight).reshape(3, 2).relu_().flatten()


GOOD = (chained, residual, sliced, reshaped)


def seen_through_a_view(x, weight):
    y = x * weight
    row = y[0]
    y.relu_()
    return row + y


def seen_in_the_base(x, weight):
    y = x * weight
    y[0].relu_()
    return y * 2


def seen_in_the_first_name(x, weight):
    y = x * weight
    z = y.add_(1.0)
    row = y.view(-1)
    z.relu_()
    return row * 2


def a_piece(x, weight):
    first, second = (x * weight).split(1)
    first.relu_()
    return first + second


def narrowed(x, weight):
    """In place there is no promotion to float64."""
    y = x * weight
    y.add_(torch.full((3,), 0.1, dtype=torch.float64))
    return y


def through_dropout(x, weight):
    y = x * weight
    z = nn.functional.dropout(y, training=False)
    z.relu_()
    return y


def an_input(x, weight):
    x.relu_()
    return x * weight


BAD = (
    seen_through_a_view,
    seen_in_the_base,
    seen_in_the_first_name,
    a_piece,
    narrowed,
    through_dropout,
    an_input,
)


def exported(body):
    with torch.no_grad():  # autograd has rules of its own for writing to views
        return torch.export.export(Net(body).eval(), (torch.zeros(2, 3),))


@pytest.mark.parametrize("body", GOOD)
def test_renamed_and_the_same(body):
    program = exported(body)
    assert any(map(is_mutable, program.graph.nodes))
    x = torch.linspace(-1, 2, 6).reshape(2, 3)
    expected = program.module()(x.clone())
    assert rename_in_place(program.graph)
    assert not any(map(is_mutable, program.graph.nodes))
    assert torch.equal(program.module()(x.clone()), expected)


@pytest.mark.parametrize("body", BAD)
def test_left_alone(body):
    program = exported(body)
    before = [str(node.target) for node in program.graph.nodes]
    assert not rename_in_place(program.graph)
    assert [str(node.target) for node in program.graph.nodes] == before
