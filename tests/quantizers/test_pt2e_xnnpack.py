"""What XNNPACK computes through our hooks into executorch: each one by running a file."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from headtail.metrics import snr_db
from quantizers.audit import audit
from quantizers.plan import Grid, Plan
from quantizers.recipe import Storage, recipe
from tests.quantizers.pte import quantized, run_file, run_program, written

pytestmark = [
    pytest.mark.slow,
    # torch and executorch use interfaces that torch and Python deprecate
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:(open|read)_(text|binary) is deprecated:DeprecationWarning"),
    # executorch says so of its Python runtime at every import
    pytest.mark.filterwarnings("ignore:This API is experimental"),
]


class Tables(torch.nn.Module):
    """Every function that is tabulated, between layers, and what is spelled out for it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Conv2d(8, 8, 1) for _ in range(8))

    def forward(self, x):
        kinds: tuple[Any, ...] = (
            functional.hardswish, torch.sigmoid, torch.tanh, functional.gelu, functional.silu,
            functional.hardsigmoid, lambda x: functional.leaky_relu(x, 0.1), functional.relu6,
        )  # fmt: skip
        for layer, function in zip(self.layers, kinds, strict=True):
            x = function(3 * layer(x))
        return x.mean((2, 3))


class Mixed(torch.nn.Module):
    """A stem, a depthwise kernel, pointwise layers with and without bias, and a linear one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = torch.nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.deep = torch.nn.Conv2d(16, 16, 3, groups=16, padding=1)
        self.wide = torch.nn.Conv2d(16, 64, 1)
        self.thin = torch.nn.Conv2d(64, 32, 1, bias=False)
        self.last = torch.nn.Linear(32, 10)

    def forward(self, x):
        x = functional.relu6(self.deep(functional.relu6(self.stem(x))))
        x = functional.relu(self.thin(functional.relu6(self.wide(x))))
        return self.last(x.mean((2, 3)))


@pytest.fixture(scope="module")
def inputs() -> list[tuple[np.ndarray]]:
    generator = np.random.default_rng(5)
    return [(generator.normal(size=(1, 8, 12, 12)).astype(np.float32),) for _ in range(6)]


@pytest.fixture(scope="module")
def tables(inputs):
    torch.manual_seed(1)
    return quantized(Tables(), Plan(recipe("w8a8")), inputs)


@pytest.fixture(scope="module")
def mixed() -> Mixed:
    torch.manual_seed(2)
    return Mixed().eval()


def test_functions_of_one_value_are_integers_and_exact(tables, inputs, tmp_path):
    path = written(tables, tmp_path / "tables.pte")
    found = audit(path, "executorch")
    assert found.float_ops == {}
    for (array,) in inputs:
        # the same integers but for single steps of leaky ReLU's rounding
        assert snr_db(reference=run_program(tables, array), candidate=run_file(path, array)) > 40


def test_without_our_configs_they_are_float(tables, tmp_path):
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner

    path = written(tables, tmp_path / "plain.pte", by=XnnpackPartitioner())
    floats = audit(path, "executorch").float_ops
    assert {"gelu", "hardswish", "leakyrelu", "sigmoid", "tanh"} <= set(floats)


@pytest.mark.parametrize(("name", "dtype"), [("w8", "i8"), ("w4", "i4")])
def test_integer_weights_beside_float_activations(name, dtype, mixed, inputs, tmp_path):
    program = quantized(mixed, Plan(recipe(name)), inputs)
    path = written(program, tmp_path / "weights.pte")
    found = audit(path, "executorch")
    assert found.weight_elements[dtype] == 16 * 64 + 64 * 32 + 32 * 10
    assert set(found.activation_tensors) == {"f32"}
    for (array,) in inputs:
        # the file is the program: nothing but the order of float32 sums differs
        assert snr_db(reference=run_program(program, array), candidate=run_file(path, array)) > 110


def test_a_plans_levels_and_scales_are_the_files(mixed, inputs, tmp_path):
    generator = np.random.default_rng(0)
    levels = generator.integers(-90, 90, size=(64, 16, 1, 1), dtype=np.int8)
    scale = generator.uniform(0.01, 0.02, size=(64, 1, 1, 1)).astype(np.float32)
    grid = Grid(Storage("i8"), levels, scale)
    net = Mixed()
    net.load_state_dict(mixed.state_dict() | {"wide.weight": torch.from_numpy(grid.values())})
    program = quantized(net, Plan(recipe("w8"), {"wide.weight": grid}), inputs)
    held = {key: value.detach().numpy() for key, value in program.state_dict.items()}
    assert any(np.array_equal(value, levels) for value in held.values())
    assert any(np.array_equal(value, scale.ravel()) for value in held.values())
    path = written(program, tmp_path / "plan.pte")
    assert audit(path, "executorch").weight_elements["i8"] == levels.size
    for (array,) in inputs:
        with torch.no_grad():
            expected = net.eval()(torch.from_numpy(array)).numpy()
        assert snr_db(reference=expected, candidate=run_file(path, array)) > 110


def test_a_stem_that_reads_grey_pictures_has_no_dynamic_kernel(tmp_path):
    """executorch takes one input channel for a depthwise convolution, and leaves it."""
    generator = torch.Generator().manual_seed(0)
    grey = [(torch.randn(1, 1, 16, 16, generator=generator).numpy(),) for _ in range(2)]
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 3))
    program = quantized(net.eval(), Plan(recipe("w8a8d")), grey)
    path = written(program, tmp_path / "grey.pte")
    assert audit(path, "executorch").weight_elements["i8"] == 9 * 8 * 4
    for (array,) in grey:
        seen = run_program(program, array)
        assert snr_db(reference=seen, candidate=run_file(path, array)) > 25


def test_ranges_of_each_input(mixed, inputs, tmp_path):
    program = quantized(mixed, Plan(recipe("w8a8d")), inputs)
    path = written(program, tmp_path / "dynamic.pte")
    found = audit(path, "executorch")
    # all but the depthwise kernel, for which XNNPACK has no dynamic one
    assert found.weight_elements["i8"] == 9 * 8 * 16 + 16 * 64 + 64 * 32 + 32 * 10
    for (array,) in inputs:
        loud = 30 * array  # no range was measured for it
        for given in (array, loud):
            with torch.no_grad():
                expected = mixed(torch.from_numpy(given)).numpy()
            assert snr_db(reference=expected, candidate=run_file(path, given)) > 25
            # pixels have ranges of their own in the runtime where the program has the picture's
            seen = run_program(program, given)
            assert snr_db(reference=seen, candidate=run_file(path, given)) > 25
