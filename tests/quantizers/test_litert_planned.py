"""Static ranges of a plan in LiteRT files: found by value, not measured again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from exporters.capture import flat_graph
from headtail.metrics import snr_db
from quantizers import litert_file
from quantizers.activation_ranges import observed
from quantizers.audit import audit
from quantizers.litert_backend import quantize_file
from quantizers.litert_planned import planned_ranges
from quantizers.placement import carried
from quantizers.plan import Range
from quantizers.recipe import recipe
from quantizers.static_graph import affine, reference_graph
from tests.quantizers.attending import Attending, inputs
from tests.quantizers.plans import rounded

pytestmark = [
    pytest.mark.slow,
    # torch and litert-torch use interfaces that torch deprecates
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec:FutureWarning"),
]


class Residual(nn.Module):
    """(1, 3, 32, 32) -> (1, 10): a bound, a depthwise kernel, a sum, a mean."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.stem = nn.Conv2d(3, 16, 3, 2, 1)
        self.stem.weight.data *= 4  # beyond the bound
        self.deep = nn.Conv2d(16, 16, 3, 1, 1, groups=16)
        self.point = nn.Conv2d(16, 16, 1)
        self.last = nn.Linear(16, 10)

    def forward(self, x):
        x = functional.relu6(self.stem(x))
        x = x + self.point(functional.relu(self.deep(x)))
        return self.last(x.mean((2, 3)))


class Masked(nn.Module):
    """(1, 16, 32) and places that count, (1, 16): attention whose scores get a mask."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.mix, self.last = nn.Linear(32, 96), nn.Linear(32, 8)

    def forward(self, x, counts):
        query, key, value = self.mix(x).chunk(3, -1)
        scores = query @ key.transpose(1, 2) / 32**0.5 + (1 - counts)[:, None] * -3e4
        return self.last(torch.softmax(scores, -1) @ value)


def made(net, samples, path, *, name="w8a8"):
    """The program of a net on its grids, its plan, and the float file of the program."""
    import litert_torch

    example = tuple(torch.from_numpy(array) for array in samples[0])
    graph, plan = rounded(flat_graph(torch.export.export(net.eval(), example)), recipe(name))
    plan = replace(plan, ranges=observed(graph, samples).ranges())
    litert_torch.signature("forward", graph, example).convert().export(str(path))
    return graph, plan, path


def run(path, sample):
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(path), num_threads=1).get_signature_runner("forward")
    given = {f"args_{place}": array for place, array in enumerate(sample)}
    return next(iter(runner(**given).values()))


def worst_db(graph, plan, path, samples):
    meant = reference_graph(graph, plan)
    with torch.no_grad():
        right = [meant(*map(torch.from_numpy, sample))[0].numpy() for sample in samples]
    pairs = zip(right, samples, strict=True)
    return min(snr_db(reference=one, candidate=run(path, sample)) for one, sample in pairs)


@pytest.fixture(scope="module")
def residual(tmp_path_factory):
    return made(Residual(), inputs(), tmp_path_factory.mktemp("residual") / "float.tflite")


@pytest.fixture(scope="module")
def attending(tmp_path_factory):
    return made(Attending(), inputs(), tmp_path_factory.mktemp("attending") / "float.tflite")


def test_the_file_has_the_plans_ranges_whatever_the_samples_say(residual, tmp_path):
    graph, plan, source = residual
    # nothing that was measured: another factor for each
    odd = {
        name: Range(one.low * (1 + i / 50), one.high * (1 + i / 70))
        for i, (name, one) in enumerate(plan.ranges.items())
    }
    plan, path = replace(plan, ranges=odd), tmp_path / "q.tflite"
    written = quantize_file(source, path, plan, {"forward": inputs()}, program=graph)
    assert written.measured_tensors == 0
    wanted = {affine(one) for one in odd.values()}
    assert len(wanted) >= 6
    model, _ = litert_file.read(path)
    held = {
        (float(t.quantization.scale[0]), int(t.quantization.zeroPoint[0]))
        for _, t in litert_file.tensors(model)
        if litert_file.dtype_name(t) == "INT8" and len(t.quantization.scale) == 1
    }
    # a convolution's own range is that of the bound it is fused with; each of the file's is planned
    for scale, zero in held:
        assert any(abs(scale / s - 1) < 1e-5 and abs(zero - z) <= 1 for s, z in wanted)
    assert len(held) >= 5
    given = worst_db(graph, plan, path, inputs())
    measured = tmp_path / "measured.tflite"
    assert quantize_file(source, measured, plan, {"forward": inputs()}).measured_tensors > 5
    assert given > 30
    assert given > worst_db(graph, plan, measured, inputs()) + 3


def test_every_value_is_found_in_its_layout(residual):
    graph, plan, source = residual
    samples = {"forward": [{"args_0": array} for (array,) in inputs()]}
    found = planned_ranges(graph, plan, source.read_bytes(), samples, {"forward": inputs()})
    model, data = litert_file.read(source)
    floats = [
        tensor.name.decode()
        for _, tensor in litert_file.tensors(model)
        if litert_file.dtype_name(tensor) == "FLOAT32"
        and not litert_file.constant_bytes(data, model.buffers[tensor.buffer])
    ]
    assert len(found) >= len(floats) - 3  # transposes and the like, which have that of their source
    assert set(found.values()) <= set(carried(graph, plan.ranges).values())
    other = [(1.1 * array,) for (array,) in inputs()]  # not what the file is run on
    assert planned_ranges(graph, plan, source.read_bytes(), samples, {"forward": other}) == {}


def test_what_the_plan_leaves_float_stays_float(attending, tmp_path):
    graph, plan, source = attending
    path, measured = tmp_path / "q.tflite", tmp_path / "measured.tflite"
    quantize_file(source, path, plan, {"forward": inputs()}, program=graph)
    quantize_file(source, measured, plan, {"forward": inputs()})
    assert {"rsqrt", "softmax"} <= audit(path, "litert").float_ops.keys()  # of norms, of attention
    assert worst_db(graph, plan, path, inputs()) > worst_db(graph, plan, measured, inputs()) + 1
    found = audit(path, "litert")
    found.check(recipe("w8a8"))
    assert found.products["i8"] > 20 * found.products["f32"]


def test_a_layer_whose_input_the_plan_does_not_know_is_measured_and_told(attending, tmp_path):
    # the converter folds the shift of a norm into the layer behind it: what it reads is new
    graph, plan, source = attending
    path = tmp_path / "q.tflite"
    written = quantize_file(source, path, plan, {"forward": inputs()}, program=graph)
    assert written.measured_tensors == 2
    (said,) = audit(path, "litert").remarks
    assert said == "2 tensors have ranges measured on the file: the plan has no such value"
    assert said in audit(path, "litert").sentence(recipe("w8a8"))


@pytest.mark.parametrize("planned", [True, False])
def test_scores_that_hold_a_mask_have_no_range(tmp_path, planned):
    draw = np.random.default_rng(0)
    counts = (np.arange(16) < 11).astype(np.float32)[None]
    samples = [(draw.standard_normal((1, 16, 32)).astype(np.float32), counts) for _ in range(4)]
    graph, plan, source = made(Masked(), samples, tmp_path / "float.tflite")
    path = tmp_path / "q.tflite"
    program = graph if planned else None
    quantize_file(source, path, plan, {"forward": samples}, program=program)
    assert "softmax" in audit(path, "litert").float_ops
    assert audit(path, "litert").products.keys() >= {"i8"}
    assert worst_db(graph, plan, path, samples) > 25
