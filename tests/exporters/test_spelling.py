"""Synonyms and casts are spelled one way, and the graph computes what it computed."""

import pytest
import torch
from torch import nn

from exporters.capture import capture, flat_graph
from exporters.spelling import _OVERLOADS, _SYNONYMS
from tests.exporters.awkward import IMAGE

aten = torch.ops.aten


class Calls(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


CASES = {
    "absolute": torch.absolute,
    "arccos": lambda x: torch.arccos(x.clamp(-1, 1)),
    "arccosh": lambda x: torch.arccosh(x.abs() + 1),
    "arcsin": lambda x: torch.arcsin(x.clamp(-1, 1)),
    "arcsinh": torch.arcsinh,
    "arctan": torch.arctan,
    "arctan2": lambda x: torch.arctan2(x, x + 1),
    "arctanh": lambda x: torch.arctanh(x.clamp(-0.9, 0.9)),
    "clip": lambda x: torch.clip(x, -0.5, 0.5),
    "concat": lambda x: torch.concat([x, x + 1], 1),
    "concatenate": lambda x: torch.concatenate([x, x + 1], 1),
    "divide": lambda x: torch.divide(x, 3, rounding_mode="floor"),
    "fix": lambda x: torch.fix(x * 3),
    "greater": lambda x: torch.greater(x, 0.5).float(),
    "greater_equal": lambda x: torch.greater_equal(x, x * 2).float(),
    "less": lambda x: torch.less(x, 0.5).float(),
    "less_equal": lambda x: torch.less_equal(x, x * 2).float(),
    "multiply": lambda x: torch.multiply(x, x + 1),
    "negative": torch.negative,
    "not_equal": lambda x: torch.not_equal(x, 0.0).float(),
    "special_expit": torch.special.expit,
    "special_log_softmax": lambda x: torch.special.log_softmax(x, 1),
    "special_softmax": lambda x: torch.special.softmax(x, 1),
    "subtract": lambda x: torch.subtract(x, x * x, alpha=2),
    "swapaxes": lambda x: torch.swapaxes(x, 1, 3),
    "swapdims": lambda x: torch.swapdims(x, 1, 3),
    "true_divide": lambda x: torch.true_divide(x, x + 9),
    "__and__": lambda x: ((x > 0) & (x < 1)).float() + ((x.int() & 3) + 1),
    "__or__": lambda x: ((x < 0) | (x > 1)).float() + (x.int() | 3),
    "__xor__": lambda x: ((x < 0) ^ (x > 1)).float() + (x.int() ^ 3),
}


def test_every_synonym_has_a_case():
    assert set(CASES) == set(_SYNONYMS) | {name for name, _ in _OVERLOADS}


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_synonym_gets_the_usual_name(name):
    model = Calls(CASES[name]).eval()
    graph = flat_graph(capture(model, (IMAGE,)))
    names = {getattr(n.target, "overloadpacket", n.target) for n in graph.graph.nodes}
    assert getattr(aten, name) not in names
    assert torch.equal(graph(IMAGE)[0], model(IMAGE))


def targets(function, *example):
    graph = flat_graph(capture(Calls(function).eval(), example or (IMAGE,)))
    return [node.target for node in graph.graph.nodes if node.op == "call_function"]


def test_masks_are_combined_logically_and_integers_bitwise():
    assert aten.logical_and.default in targets(lambda x: ((x > 0) & (x < 1)).float())
    assert aten.logical_not.default in targets(lambda x: (~(x > 0)).float())
    assert aten.bitwise_not.default in targets(lambda x: (~x.int()).float())


@pytest.mark.parametrize(
    "cast",
    [
        lambda x: x.to(torch.float32),
        lambda x: x.to("cpu"),
        lambda x: x.to(device="cpu", dtype=torch.float32, copy=False),
        lambda x: x.float(),
    ],
)
def test_a_cast_to_what_is_there_is_dropped(cast):
    assert targets(lambda x: cast(x) + 1) == [aten.add.Tensor]


def test_other_casts_are_spelled_one_way():
    found = targets(lambda x: x.to("cpu", torch.int32) + x.int() + x.type(torch.int32))
    assert set(found) == {aten.to.dtype, aten.add.Tensor}


def test_filled_tensors_need_no_other_tensor():
    def fills(x):
        return x + x.new_ones(3, 1, 1) + x.new_zeros([1]) + x.new_full((1,), 2.0)

    assert set(targets(fills)) == {aten.full.default, aten.add.Tensor}
    model = Calls(fills).eval()
    assert torch.equal(flat_graph(capture(model, (IMAGE,)))(IMAGE)[0], model(IMAGE))
