"""Ranges become operators that round exactly where they are named, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from exporters.capture import capture, flat_graph, node_spec
from exporters.splitting import head_at
from headtail.errors import ConversionFailed, UnknownName, UsageFault
from quantizers.plan import Grid, Plan, Range
from quantizers.recipe import Storage, recipe
from quantizers.static_graph import affine, part_of, reference_graph, with_ranges

HEAD_AND_TAIL = ("head.stem.0.weight", "classify.weight")


@pytest.fixture(scope="module")
def graph(net):
    return flat_graph(capture(net, (torch.zeros(1, 3, 32, 32),)))


def values(graph, sample):
    """Name -> result of every node."""

    class Recorder(torch.fx.Interpreter):
        def run_node(self, n):
            found[n.name] = super().run_node(n)
            return found[n.name]

    found: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        Recorder(graph).run(sample)
    return found


def test_integers_reach_both_ends_and_hold_zero():
    scale, zero = affine(Range(-1.0, 3.0))
    assert scale == float(np.float32(4 / 255))
    assert zero == -64  # -128 + 63.75, halves never arise here
    assert abs((-128 - zero) * scale + 1.0) < scale
    assert abs((127 - zero) * scale - 3.0) < scale
    assert affine(Range(0.0, 6.0)) == (float(np.float32(6 / 255)), -128)
    assert affine(Range(-2.0, 0.0))[1] == 127


def test_sixteen_bits_are_symmetric():
    assert affine(Range(-1.0, 3.0), "i16") == (float(np.float32(3 / 32767)), 0)


def test_a_value_that_is_always_zero_has_a_scale():
    assert affine(Range(0.0, 0.0)) == (1.0, -128)
    assert affine(Range(0.0, 0.0), "i16") == (1.0, 0)


@pytest.mark.parametrize("found", [Range(0.5, 2.0), Range(-2.0, -0.5), Range(float("nan"), 1.0)])
def test_a_range_without_zero_is_refused(found):
    with pytest.raises(UsageFault, match="Zero lies inside"):
        affine(found)


def test_only_readers_see_the_rounded_value(graph, samples):
    name = next(n.name for n in graph.graph.nodes if n.target is torch.ops.aten.hardtanh.default)
    made = with_ranges(graph, {name: Range(0.0, 6.0)})
    sample = torch.from_numpy(samples[0][0])
    before, after = values(graph, sample), values(made, sample)
    scale, zero = affine(Range(0.0, 6.0))
    rounded = torch.clamp(torch.round(before[name] / scale) + zero, -128, 127).to(torch.int8)
    assert torch.equal(after[name], before[name])
    assert torch.equal(after[f"{name}_quantized"], rounded)
    assert torch.equal(after[f"{name}_dequantized"], (rounded.float() - zero) * scale)
    assert not torch.equal(after["output"][0], before["output"][0])


def test_names_metadata_and_weights_stay(graph):
    names = [node.name for node in graph.graph.nodes]
    made = with_ranges(graph, {"x": Range(-1.0, 1.0), names[-2]: Range(-9.0, 9.0)})
    kept = [node.name for node in made.graph.nodes if "quantized" not in node.name]
    assert kept == names
    assert [node.name for node in graph.graph.nodes] == names  # the given graph is left alone
    output = next(node for node in made.graph.nodes if node.op == "output")
    assert output.meta["names"] == ("output",)
    assert str(output.args[0][0].target) == "quantized_decomposed.dequantize_per_tensor.default"
    specs = {node.name: node_spec(node) for node in made.graph.nodes if "quantized" in node.name}
    assert specs["x_quantized"].dtype == "i8"
    assert specs["x_dequantized"].shape == (1, 3, 32, 32)
    for path, weight in graph.named_parameters():
        assert made.get_parameter(path) is weight


def test_it_can_be_exported_again(graph, samples):
    made = with_ranges(graph, {"x": Range(-1.0, 1.0)})
    sample = torch.from_numpy(samples[0][0])
    with torch.no_grad():
        program = torch.export.export(made, (sample,))
        assert torch.equal(program.module()(sample)[0], made(sample)[0])
    assert any("quantize_per_tensor" in str(node.target) for node in program.graph.nodes)


def test_two_inputs_stay_before_every_call():
    class Sum(torch.nn.Module):
        def forward(self, x, y):
            return x + y

    example = (torch.rand(1, 4), torch.rand(1, 4))
    plain = flat_graph(capture(Sum(), example))
    made = with_ranges(plain, {"x": Range(0.0, 1.0), "y": Range(0.0, 1.0)})
    made.graph.lint()
    assert [node.op for node in made.graph.nodes][:2] == ["placeholder", "placeholder"]
    assert torch.allclose(made(*example)[0], plain(*example)[0], atol=1 / 255)


def test_more_bits_are_nearer(graph, samples):
    names = [n.name for n in graph.graph.nodes if n.op == "call_function"]
    ranges = {name: Range(-8.0, 8.0) for name in names}
    sample = torch.from_numpy(samples[0][0])
    with torch.no_grad():
        errors = [
            (with_ranges(graph, ranges, dtype=d)(sample)[0] - graph(sample)[0]).abs().max()
            for d in ("i8", "i16")
        ]
    assert errors[1] < errors[0] / 50


def test_what_does_not_exist_is_refused(graph):
    with pytest.raises(UnknownName, match=r"conv2d_9.*Known: "):
        with_ranges(graph, {"conv2d_9": Range(0.0, 1.0)})
    with pytest.raises(UnknownName, match="Known: i16, i8"):
        with_ranges(graph, {}, dtype="i4")


def test_integers_are_not_quantized():
    class Rows(torch.nn.Module):
        def forward(self, tokens):
            return tokens + 1

    plain = flat_graph(capture(Rows(), (torch.zeros(1, 4, dtype=torch.int32),)))
    with pytest.raises(UsageFault, match="'tokens' is int32"):
        with_ranges(plain, {"tokens": Range(0.0, 1.0)})


def test_a_head_takes_its_part_and_the_whole_takes_all(graph):
    grids = {n: grid_of(graph.get_parameter(n).numpy()) for n in HEAD_AND_TAIL}
    plan = Plan(recipe("w8a8"), grids, {"x": Range(-1.0, 1.0), "linear": Range(-9.0, 9.0)})
    stem = next(n.name for n in graph.graph.nodes if n.target is torch.ops.aten.hardtanh.default)
    part = part_of(plan, head_at(graph, [stem]))
    assert (list(part.grids), list(part.ranges)) == (["head.stem.0.weight"], ["x"])
    assert part_of(plan, graph, whole=True) == plan
    with pytest.raises(ConversionFailed, match=r"2 weights and values of w8a8.*'classify\.weight'"):
        part_of(plan, head_at(graph, [stem]), whole=True)


def grid_of(weight):
    scale = np.abs(weight).reshape(len(weight), -1).max(1) / 127
    scale = scale.reshape(-1, *[1] * (weight.ndim - 1)).astype(np.float32)
    return Grid(Storage("i8"), np.round(weight / scale).astype(np.int8), scale)


def test_the_reference_is_the_plans_own_program(graph, samples):
    weight = graph.get_parameter("classify.weight")
    grid = grid_of(weight.numpy())
    plan = Plan(recipe("w8a8"), {"classify.weight": grid}, {"x": Range(-1.0, 1.0)})
    with pytest.raises(ConversionFailed, match=r"'classify\.weight' is not on its grid \(i8\)"):
        reference_graph(graph, plan)
    solved = with_ranges(graph, {})  # a copy
    values = torch.nn.Parameter(torch.from_numpy(grid.values()), requires_grad=False)
    solved.get_submodule("classify").weight = values
    made = reference_graph(solved, plan)
    sample = torch.from_numpy(samples[0][0])
    with torch.no_grad():
        scale, zero = affine(plan.ranges["x"])
        rounded = ((sample / scale).round() + zero).clamp(-128, 127).sub(zero) * scale
        assert torch.equal(made(rounded)[0], made(sample)[0])
        assert torch.equal(made(sample)[0], solved(rounded)[0])
        assert torch.allclose(made(sample)[0], with_ranges(solved, plan.ranges)(sample)[0])
        only_weights = reference_graph(solved, Plan(recipe("w8"), plan.grids))
        assert torch.equal(only_weights(sample)[0], solved(sample)[0])
    with pytest.raises(UnknownName, match=r"classify\.bias"):
        reference_graph(solved, Plan(recipe("w8"), {"classifier.weight": grid}))
