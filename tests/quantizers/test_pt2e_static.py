"""Static quantization for XNNPACK: where integers are, what ranges and scales they have."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from headtail.errors import ConversionFailed
from headtail.metrics import snr_db
from quantizers.plan import Grid, Plan, Range
from quantizers.pt2e_weights import grid_of, widened
from quantizers.recipe import Storage, recipe
from quantizers.static_graph import affine
from tests.quantizers.pte import levels_of, quantized, run_file, run_program, written

pytestmark = [
    # torch and executorch use interfaces that torch and Python deprecate
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:(open|read)_(text|binary) is deprecated:DeprecationWarning"),
    # executorch says so of its Python runtime at every import
    pytest.mark.filterwarnings("ignore:This API is experimental"),
]
W8A8 = recipe("w8a8")


class Layers(torch.nn.Module):
    """Two convolutions with what `function` does between them."""

    def __init__(self, function) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.first, self.second = torch.nn.Conv2d(4, 8, 1), torch.nn.Conv2d(8, 4, 1)
        self.function = function

    def forward(self, x):
        return self.second(self.function(self.first(x)))


class Branches(torch.nn.Module):
    """What four operators read and two of them make: a sum, a concatenation, a mean."""

    def __init__(self, small: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.first, self.other = torch.nn.Conv2d(4, 8, 1), torch.nn.Conv2d(8, 8, 1)
        self.last = torch.nn.Linear(16, 3)
        self.small = small

    def forward(self, x):
        x = functional.relu(self.first(x))
        added = x + self.other(x) * self.small
        return self.last(torch.cat([added, x], 1).mean((2, 3)))


@pytest.fixture(scope="module")
def inputs() -> list[tuple[np.ndarray]]:
    generator = np.random.default_rng(5)
    return [(generator.normal(size=(1, 4, 6, 6)).astype(np.float32),) for _ in range(6)]


def operators(program) -> list[str]:
    return [str(node.target) for node in program.graph.nodes if node.op == "call_function"]


def test_a_bound_gives_the_layer_before_it_its_range(inputs):
    # input, ReLU6, output: the convolution's own result is never an integer tensor
    program = quantized(Layers(lambda x: functional.relu6(20 * x)), Plan(W8A8), inputs)
    scales = levels_of(program)
    fused = quantized(Layers(functional.relu6), Plan(W8A8), inputs)
    assert len(levels_of(fused)) == 3
    assert affine(Range(0.0, 6.0)) in scales


def test_every_reader_dequantizes_for_itself(inputs):
    program = quantized(Branches(), Plan(W8A8), inputs)
    for node in program.graph.nodes:
        if "dequantize_per_tensor" in str(node.target):
            assert len(node.users) == 1


def test_parts_of_a_concatenation_have_its_scale(inputs):
    program = quantized(Branches(), Plan(W8A8), inputs)
    cat = next(node for node in program.graph.nodes if "cat.default" in str(node.target))
    behind = next(iter(cat.users))
    assert {part.args[1:3] for part in cat.all_input_nodes} == {behind.args[1:3]}


def test_hard_swish_spends_no_level_below_minus_three(inputs):
    net = Layers(lambda x: functional.hardswish(20 * x))
    program = quantized(net, Plan(W8A8), inputs)
    low = min((-128 - zero) * scale for scale, zero in levels_of(program)[2:3])
    assert -3.1 < low < -2.9


def test_between_float_operators_nothing_is_rounded(inputs):
    # a sum that only a layer norm reads stays float, the layers around it do not
    def residual(x):
        pixels = (x + functional.layer_norm(x, x.shape[1:])) * 2.0
        return functional.layer_norm(pixels, x.shape[1:])

    program = quantized(Layers(residual), Plan(W8A8), inputs)
    add = next(node for node in program.graph.nodes if "aten.add" in str(node.target))
    assert not any("quantize_per_tensor" in str(user.target) for user in add.users)
    assert operators(program).count("quantized_decomposed.dequantize_per_channel.default") == 2


def test_ranges_are_the_plans_and_the_rest_is_measured(inputs):
    given = {"relu": Range(0.0, 1.25), "conv2d": Range(-3.0, 3.0)}  # the convolution is fused
    net = Layers(functional.relu)
    program = quantized(net, Plan(W8A8, ranges=given), inputs)
    seen = np.concatenate([array for (array,) in inputs])
    assert levels_of(program)[:2] == [
        affine(Range(float(seen.min()), float(seen.max()))),
        affine(given["relu"]),
    ]


def test_a_range_of_nothing_is_refused(inputs):
    plan = Plan(W8A8, ranges={"relu_7": Range(0.0, 1.0)})
    with pytest.raises(ConversionFailed, match=r"relu_7, which the program does not compute"):
        quantized(Layers(functional.relu), plan, inputs)


def grid_for(weight: torch.Tensor, seed: int) -> Grid:
    """Levels that rounding to nearest would not choose: none of them is 127."""
    generator = np.random.default_rng(seed)
    levels = generator.integers(-80, 80, size=tuple(weight.shape), dtype=np.int8)
    scale = generator.uniform(1e-3, 2e-3, size=(len(weight), 1, 1, 1)).astype(np.float32)
    return Grid(Storage("i8"), levels, scale)


def test_levels_and_scales_are_the_plans(inputs):
    net = Layers(functional.relu)
    grids = {
        f"{n}.weight": grid_for(getattr(net, n).weight, i)
        for i, n in enumerate(("first", "second"))
    }
    off = Plan(W8A8, grids)
    with pytest.raises(ConversionFailed, match=r"'first.weight' is not on its grid \(i8\)"):
        quantized(net, off, inputs)
    held = {name: torch.from_numpy(grid.values()) for name, grid in grids.items()}
    net.load_state_dict(net.state_dict() | held)
    program = quantized(net, Plan(W8A8, grids), inputs)
    found = [value.detach().numpy() for value in program.state_dict.values()]
    for grid in grids.values():
        assert any(np.array_equal(value, grid.levels) for value in found)
        assert any(np.array_equal(value, grid.scale.ravel()) for value in found)


def test_scales_grow_until_the_bias_fits():
    levels = np.full((2, 4, 1, 1), 100, np.int8)
    grid = Grid(Storage("i8"), levels, np.array([1e-14, 1e-3], np.float32).reshape(2, 1, 1, 1))
    bias = np.array([5.0, 5.0], np.float32)
    made = widened(grid, bias, 0.01, axis=0)
    integers = bias / (0.01 * made.scale.ravel().astype(np.float64))
    assert integers.max() < 2**31
    assert bias[0] / (0.01 * 1e-14) > 2**31  # it did not fit
    assert np.array_equal(made.levels[1], levels[1])
    assert made.scale.ravel()[1] == np.float32(1e-3)
    # the weights of the first channel are worth nothing on the new scale
    assert np.array_equal(made.levels[0], np.zeros_like(levels[0]))


def test_a_weight_that_needs_no_wider_scale_is_kept():
    grid = Grid(Storage("i8"), np.ones((1, 1, 1, 1), np.int8), np.ones((1, 1, 1, 1), np.float32))
    assert widened(grid, np.ones(1, np.float32), 1.0, axis=0) is grid


@pytest.mark.slow
def test_a_dead_channel_and_a_faint_branch_in_the_file(inputs, tmp_path):
    net = Branches(small=1e-5)
    with torch.no_grad():
        # a batch norm switched it off, and left a bias
        net.first.weight[3] *= 1e-12
        net.first.state_dict()["bias"][3] = 5.0
    program = quantized(net, Plan(W8A8), inputs)
    path = written(program, tmp_path / "dead.pte")
    for (array,) in inputs:
        with torch.no_grad():
            expected = net(torch.from_numpy(array)).numpy()
        found = run_file(path, array)
        assert snr_db(reference=expected, candidate=found) > 25
        assert snr_db(reference=run_program(program, array), candidate=found) > 35


@pytest.mark.slow
def test_what_executorchs_own_quantizer_loses(inputs):
    """Channels with small weights, and a bound far below what comes before it."""
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    net = Layers(functional.relu6).eval()
    with torch.no_grad():
        net.first.weight *= 12
        net.second.load_state_dict({k: 2e-3 * v for k, v in net.second.state_dict().items()})
    example = tuple(torch.from_numpy(array) for array in inputs[0])
    quantizer = XNNPACKQuantizer()
    quantizer.set_global(get_symmetric_quantization_config(is_per_channel=True))
    theirs = prepare_pt2e(torch.export.export(net, example).module(), quantizer)
    for (array,) in inputs:
        theirs(torch.from_numpy(array))
    theirs = convert_pt2e(theirs)
    ours = quantized(net, Plan(W8A8), inputs)
    gains = []
    for (array,) in inputs:
        with torch.no_grad():
            expected = net(torch.from_numpy(array)).numpy()
            other = theirs(torch.from_numpy(array)).numpy()
        mine = snr_db(reference=expected, candidate=run_program(ours, array))
        gains.append(mine - snr_db(reference=expected, candidate=other))
    assert np.mean(gains) > 10, gains


def test_a_grid_is_found_by_its_values_where_rows_were_split_and_reshaped():
    generator = np.random.default_rng(3)
    levels = generator.integers(-80, 80, size=(12, 4), dtype=np.int8)
    scale = generator.uniform(1e-3, 2e-3, size=(12, 1)).astype(np.float32)
    grid = Grid(Storage("i8"), levels, scale)
    net = torch.nn.Conv2d(4, 5, 1)
    net.weight = torch.nn.Parameter(torch.from_numpy(grid.values()[3:8].reshape(5, 4, 1, 1)))
    module = torch.export.export(net.eval(), (torch.zeros(1, 4, 6, 6),)).module()
    layer = next(node for node in module.graph.nodes if "conv2d" in str(node.target))
    found = grid_of(module, layer, Plan(W8A8, {"qkv.weight": grid}))
    assert found is not None
    assert np.array_equal(found.levels, levels[3:8].reshape(5, 4, 1, 1))
    assert np.array_equal(found.scale, scale[3:8])
    other = Grid(Storage("i8"), -levels, scale)
    assert grid_of(module, layer, Plan(W8A8, {"qkv.weight": other})) is None
