"""Every cut of a net with skip connections is bit-exact, multi-tensor ones included."""

import pytest
import torch

from exporters.capture import capture, flat_graph
from exporters.splitting import choose_cuts, cut_points, find_cut, head_graph, tail_graph
from headtail.errors import UnknownName
from tests.exporters.nets import Residual, TwoOutputs, settle

IMAGE = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module", params=[Residual, TwoOutputs])
def captured(request):
    model = settle(request.param())
    graph = flat_graph(capture(model, (IMAGE,)))
    return model, graph, cut_points(graph, (IMAGE,))


def test_head_then_tail_is_the_model_bit_for_bit(captured):
    model, graph, points = captured
    expected = model(IMAGE)
    expected = expected if isinstance(expected, tuple) else (expected,)
    assert points
    for cut in points:
        boundary = head_graph(graph, cut)(IMAGE)
        assert [tuple(t.shape) for t in boundary] == [spec.shape for spec in cut.tensors]
        for right, seen in zip(expected, tail_graph(graph, cut)(*boundary), strict=True):
            assert torch.equal(right, seen), cut.id


def test_skip_connections_make_cuts_of_two_tensors(captured):
    assert {len(cut.tensors) for cut in captured[2]} >= {1, 2}


def test_both_sides_can_be_exported_again(captured):
    _, graph, points = captured
    for cut in points:
        boundary = head_graph(graph, cut)(IMAGE)
        capture(head_graph(graph, cut), (IMAGE,))
        capture(tail_graph(graph, cut), boundary)


def test_work_grows_towards_the_end(captured):
    shares = [cut.head_flops for cut in captured[2]]
    assert shares == sorted(shares)
    assert 0 <= shares[0] < shares[-1] <= 1


def test_chosen_cuts_are_no_worse_than_any_other(captured):
    points = captured[2]
    for chosen in choose_cuts(points, input_elements=IMAGE.numel(), most=100):
        assert not [
            other
            for other in points
            if other.elements <= chosen.elements
            and other.head_flops <= chosen.head_flops
            and (other.elements, other.head_flops) != (chosen.elements, chosen.head_flops)
        ]


def test_an_unknown_cut_lists_what_exists(captured):
    with pytest.raises(UnknownName, match="Known: "):
        find_cut(captured[2], "nowhere")


def test_a_cut_is_named_after_the_block_it_ends():
    graph = flat_graph(capture(settle(Residual()), (IMAGE,)))
    names = {cut.id for cut in cut_points(graph, (IMAGE,))}
    assert {"stem", "block", "down"} <= names
