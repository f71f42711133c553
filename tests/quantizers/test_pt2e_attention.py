"""Networks with attention in ExecuTorch: what stays float is one partition with the integers."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from exporters.capture import flat_graph
from exporters.prepare import Prepared, prepare
from headtail.metrics import snr_db
from quantizers.audit import audit
from quantizers.plan import Plan
from quantizers.pt2e_backend import quantize_entries
from quantizers.pt2e_unrounded import run_unrounded
from quantizers.recipe import recipe
from tests.quantizers.attending import Attending, inputs, on_its_grids
from tests.quantizers.pte import run_file, written

pytestmark = [
    # torch and executorch use interfaces that torch and Python deprecate
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:(open|read)_(text|binary) is deprecated:DeprecationWarning"),
    # executorch says so of its Python runtime at every import
    pytest.mark.filterwarnings("ignore:This API is experimental"),
]
EXAMPLE = (torch.from_numpy(inputs(1)[0][0]),)


@pytest.fixture(scope="module")
def program():
    return torch.export.export(on_its_grids(Attending()), EXAMPLE)


def prepared(graph, told=None):
    found = prepare(graph, EXAMPLE, "executorch", run=run_unrounded)
    if told is not None:
        told.append(found)
    return found.graph


@pytest.mark.parametrize("name", ["w8a8", "w8a8d"])
def test_without_rounding_a_quantized_program_is_the_float_one(program, name):
    made = quantize_entries({"forward": program}, Plan(recipe(name)), inputs())["forward"]
    graph = flat_graph(made)
    (exact,) = run_unrounded(graph, EXAMPLE)
    with torch.no_grad():
        reference = program.module()(*EXAMPLE).numpy()
        (rounded,) = graph(*EXAMPLE)
    # static: the bias is rounded to the integers that the file holds
    assert snr_db(reference=reference, candidate=exact) > 70
    assert snr_db(reference=reference, candidate=rounded.numpy()) < 50


@pytest.mark.parametrize("name", ["w8", "w8a8", "w8a8d"])
def test_rewrites_behind_quantization_are_proven_and_leave_the_integers(program, name):
    told: list[Prepared] = []
    entries, plan = {"forward": program}, Plan(recipe(name))
    before = quantize_entries(entries, plan, inputs())["forward"]
    after = quantize_entries(entries, plan, inputs(), rewrite=partial(prepared, told=told))
    (found,) = told
    names = {done.name for done in found.applied}
    assert {"expand_attention", "expand_layer_norm", "batched_matmul"} <= names
    assert found.undone == ()
    assert min(done.snr_db for done in found.applied) >= 100
    levels = [
        {key: value for key, value in made.state_dict.items() if value.dtype == torch.int8}
        for made in (before, after["forward"])
    ]
    assert len(levels[0]) >= 5
    assert levels[0].keys() == levels[1].keys()
    assert all(torch.equal(value, levels[1][key]) for key, value in levels[0].items())


@pytest.fixture(scope="module")
def whole(program, tmp_path_factory):
    """Static integers, rewritten, as a file."""
    plan = Plan(recipe("w8a8"))
    made = quantize_entries({"forward": program}, plan, inputs(), rewrite=prepared)["forward"]
    return written(made, tmp_path_factory.mktemp("attention") / "whole.pte")


@pytest.mark.slow
def test_the_file_is_one_partition_and_gives_the_same(program, whole, tmp_path):
    plain = quantize_entries({"forward": program}, Plan(recipe("w8a8")), inputs())["forward"]
    apart = written(plain, tmp_path / "apart.pte")
    assert partitions(apart) > 3
    assert partitions(whole) == 1
    for (array,) in inputs(3):
        given = [run_file(path, array) for path in (apart, whole)]
        assert snr_db(reference=given[0], candidate=given[1]) > 25
    assert "native_layer_norm" in audit(apart, "executorch").float_ops
    assert "native_layer_norm" not in audit(whole, "executorch").float_ops


@pytest.mark.slow
def test_products_of_two_activations_stay_float_and_are_told(program, whole):
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        program.module()(*EXAMPLE)
    layers = flops.get_total_flops() // 2  # it does not know attention on a CPU
    tokens, width = 16, 64
    attention = 2 * tokens * tokens * width  # queries with keys, weights with values
    means = (2 * 2 + 1) * tokens * width  # two in each norm, and that of all tokens
    found = audit(whole, "executorch")
    assert found.products == {"f32": attention + means, "i8": layers}
    found.check(recipe("w8a8"))
    said = found.sentence(recipe("w8a8"))
    assert f"{100 * layers / (layers + attention + means):.1f} % int8 products" in said
    assert said.endswith("(attention's batchmatrixmultiply) in float only")


def partitions(path) -> int:
    from executorch.exir._serialize._program import deserialize_pte_binary

    (plan,) = deserialize_pte_binary(path.read_bytes()).program.execution_plan
    return len(plan.delegates)
