"""Rewrites are proven on a real input; one that fails or changes the answer is taken back."""

import re

import pytest
import torch
from torch import nn

from exporters.capture import capture, flat_graph
from exporters.prepare.preparation import apply_rewrites
from exporters.prepare.table import REWRITES
from headtail.metrics import snr_db

EXAMPLE = (torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)),)


@pytest.fixture
def graph():
    torch.manual_seed(0)
    return flat_graph(capture(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval(), EXAMPLE))


def _louder(graph):
    conv = next(n for n in graph.graph.nodes if n.target is torch.ops.aten.conv2d.default)
    weight = conv.args[1].target
    graph.register_buffer("louder", graph.get_parameter(weight) * 1.001)
    with graph.graph.inserting_before(conv):
        conv.update_arg(1, graph.graph.get_attr("louder"))
    return 1


def _broken(graph):
    raise KeyError("val")


def _prepared(graph, *functions):
    return apply_rewrites(graph, EXAMPLE, [(f.__name__.strip("_"), f) for f in functions])


def test_a_rewrite_that_changes_the_answer_is_taken_back(graph):
    expected = graph(*EXAMPLE)[0]
    prepared = _prepared(graph, _louder)
    assert not prepared.applied
    assert prepared.undone[0].name == "louder"
    assert "60 dB only" in prepared.undone[0].reason
    assert torch.equal(prepared.graph(*EXAMPLE)[0], expected)


def test_a_rewrite_that_fails_leaves_the_others(graph):
    def drop_relu(graph):
        relu = next(n for n in graph.graph.nodes if n.target is torch.ops.aten.relu.default)
        with graph.graph.inserting_before(relu):
            same = graph.graph.call_function(torch.ops.aten.clamp_min.default, (relu.args[0], 0))
        relu.replace_all_uses_with(same)
        return 1

    prepared = _prepared(graph, _broken, drop_relu)
    assert [u.name for u in prepared.undone] == ["broken"]
    assert "KeyError" in prepared.undone[0].reason
    assert [(a.name, a.sites) for a in prepared.applied] == [("drop_relu", 1)]
    targets = {node.target for node in prepared.graph.graph.nodes}
    assert torch.ops.aten.relu.default not in targets  # dead code is gone


def test_what_was_done_and_what_was_not_is_told_in_sentences(graph):
    def doubled(graph):
        relu = next(n for n in graph.graph.nodes if n.target is torch.ops.aten.relu.default)
        with graph.graph.inserting_after(relu):
            again = graph.graph.call_function(relu.target, (relu,))
        relu.replace_all_uses_with(again, delete_user_cb=lambda user: user is not again)
        return 1

    def half_as_loud(graph):  # and twice as much before: equal but for rounding
        conv = next(n for n in graph.graph.nodes if n.target is torch.ops.aten.conv2d.default)
        for place, name in ((1, "weight_of_it"), (2, "bias_of_it")):
            held = graph.get_parameter(conv.args[place].target)
            graph.register_buffer(name, held * 3)
            with graph.graph.inserting_before(conv):
                conv.update_arg(place, graph.graph.get_attr(name))
        with graph.graph.inserting_after(conv):
            third = graph.graph.call_function(torch.ops.aten.div.Tensor, (conv, 3.0))
        conv.replace_all_uses_with(third, delete_user_cb=lambda user: user is not third)
        return 2

    steps = _prepared(graph, _louder, _broken, doubled, half_as_loud).steps
    assert steps[0] == "doubled: 1 place, outputs bit-equal"
    assert re.fullmatch(r"half_as_loud: 2 places, outputs equal to 1\d\d dB", steps[1])
    assert steps[2] == "louder taken back: its graph agrees to 60 dB only"
    assert steps[3] == "broken taken back: KeyError: 'val'"


class Cancels(nn.Module):
    """Its own float32 answer is far from the float64 one: large parts cancel."""

    def forward(self, x):
        return (x + 3e4).sum((2, 3)) - 64 * 3e4


def test_where_float32_itself_is_coarse_the_float64_answer_decides():
    graph = flat_graph(capture(Cancels().eval(), EXAMPLE))

    def reordered(graph):
        node = next(n for n in graph.graph.nodes if n.target is torch.ops.aten.sum.dim_IntList)
        with graph.graph.inserting_before(node):
            rows = graph.graph.call_function(node.target, (node.args[0], [3]))
            both = graph.graph.call_function(node.target, (rows, [2]))
        node.replace_all_uses_with(both)
        return 1

    def shifted(graph):
        node = next(n for n in graph.graph.nodes if n.target is torch.ops.aten.add.Tensor)
        node.update_arg(1, 3e4 + 0.5)
        return 1

    prepared = _prepared(graph, reordered, shifted)
    assert [a.name for a in prepared.applied] == ["reordered"]
    assert prepared.applied[0].snr_db < 100
    assert [u.name for u in prepared.undone] == ["shifted"]


def test_the_graph_that_was_given_stays_as_it_was(graph):
    before = graph.code
    _prepared(graph, _louder)
    assert graph.code == before
    assert not hasattr(graph, "louder")


@pytest.mark.parametrize("rewrite", REWRITES, ids=lambda rewrite: rewrite.name)
def test_every_rewrite_exists_has_reasons_and_leaves_a_plain_graph_alone(rewrite, graph):
    assert rewrite.targets
    assert set(rewrite.targets) <= {"litert", "executorch", "coreml"}
    assert all(len(reason) > 10 for reason in rewrite.targets.values())
    expected = graph(*EXAMPLE)[0]
    rewrite.function()(graph)
    graph.recompile()
    assert snr_db(reference=expected.numpy(), candidate=graph(*EXAMPLE)[0].numpy()) > 100


def test_weights_that_nothing_reads_any_more_go(graph):
    def copied(graph):
        conv = next(n for n in graph.graph.nodes if n.target is torch.ops.aten.conv2d.default)
        graph.register_buffer("copied", graph.get_parameter(conv.args[1].target).clone())
        with graph.graph.inserting_before(conv):
            conv.update_arg(1, graph.graph.get_attr("copied"))
        return 1

    made = _prepared(graph, copied).graph
    kept = {name for name, _ in [*made.named_parameters(), *made.named_buffers()]}
    assert kept == {node.target for node in made.graph.nodes if node.op == "get_attr"}
    assert len(kept) == 2
