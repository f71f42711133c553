"""Plans in real files: converted by litert-torch, quantized, re-read and run by the interpreter."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headtail.errors import UsageFault
from headtail.metrics import snr_db
from quantizers import litert_file, litert_ranges, litert_static
from quantizers.audit import audit
from quantizers.litert_backend import quantize_file, refusal
from quantizers.litert_match import match
from quantizers.litert_weights import constants
from quantizers.plan import Grid, Plan
from quantizers.recipe import Recipe, Rule, Storage, recipe

pytestmark = [
    pytest.mark.slow,
    # torch and litert-torch use interfaces that torch deprecates
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec:FutureWarning"),
    # ai-edge-quantizer reads every inner tensor, for which LiteRT warns that it takes memory
    pytest.mark.filterwarnings("ignore:.*experimental_preserve_all_tensors:UserWarning"),
]

FAITHFUL_DB = 90  # of a file against the program that it stores, when nothing else is rounded


class Attention(torch.nn.Module):
    """Token ids (1, 96) -> (1, 8): an embedding, and a block whose norms have trained weights."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(40, 32)
        self.norms = torch.nn.ModuleList(torch.nn.LayerNorm(32) for _ in range(2))
        self.mix = torch.nn.Linear(32, 96)
        self.wide = torch.nn.Linear(32, 64)
        self.narrow = torch.nn.Linear(64, 32)
        self.gain = torch.nn.Parameter(torch.linspace(0.4, 1.6, 32))
        self.last = torch.nn.Linear(32, 8)

    def forward(self, ids):
        x = self.table(ids)
        q, k, v = self.mix(self.norms[0](x)).chunk(3, -1)
        x = torch.softmax(q @ k.transpose(1, 2) / 32**0.5, -1) @ v
        x = x + self.gain * self.narrow(torch.nn.functional.gelu(self.wide(self.norms[1](x))))
        return self.last(x.mean(1))


class Places(torch.nn.Module):
    """Attention of (1, places, 16) with itself: (1, places, 16)."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = torch.nn.Linear(16, 48)

    def forward(self, x):
        q, k, v = self.mix(x).chunk(3, -1)
        return torch.softmax(q @ k.transpose(1, 2) / 4, -1) @ v


def on_grids(
    net: torch.nn.Module, storages: dict[str, str]
) -> tuple[torch.nn.Module, dict[str, Grid]]:
    """The net with the named weights rounded to nearest, and their grids."""
    made, grids = copy.deepcopy(net), {}
    for name, dtype in storages.items():
        weight = made.get_parameter(name)
        top = 2 ** (Storage(dtype).bits - 1) - 1
        values = weight.detach().numpy()
        largest = np.abs(values).max(tuple(range(1, values.ndim)), keepdims=True)
        scale = (largest / top).astype(np.float32)
        levels = np.clip(np.rint(values / scale), -top, top).astype(np.int8)
        grids[name] = Grid(Storage(dtype), levels, scale)
        weight.data = torch.from_numpy(grids[name].values())
    return made, grids


def converted(net: torch.nn.Module, example: torch.Tensor, path: Path) -> Path:
    import litert_torch

    litert_torch.signature("forward", net, (example,)).convert().export(str(path))
    return path


def run(path: Path, array: np.ndarray) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    (output,) = Interpreter(str(path), num_threads=1).get_signature_runner()(args_0=array).values()
    return output


def worst_db(net: torch.nn.Module, path: Path, inputs: list[np.ndarray]) -> float:
    with torch.no_grad():
        outputs = [(net(torch.from_numpy(x)).numpy(), run(path, x)) for x in inputs]
    return min(snr_db(reference=r, candidate=c) for r, c in outputs)


@pytest.fixture(scope="module")
def attention(tmp_path_factory):
    """The net on grids, their grids, its float file, and token ids."""
    torch.manual_seed(3)
    net = Attention().eval()
    for name, parameter in net.named_parameters():
        if name.startswith("norms."):  # a fresh one is the identity
            torch.nn.init.uniform_(parameter, 0.3, 2)
    names = [f"{layer}.weight" for layer in ("table", "mix", "wide", "narrow", "last")]
    made, grids = on_grids(net, dict.fromkeys(names, "i8"))
    path = tmp_path_factory.mktemp("attention") / "float.tflite"
    draw = np.random.default_rng(0)
    ids = [draw.integers(0, 40, (1, 96), np.int32) for _ in range(6)]
    return made, grids, converted(made, torch.from_numpy(ids[0]), path), ids


@pytest.fixture(scope="module")
def mixed(net, tmp_path_factory):
    """The convolutional net with a storage of its own for each weight, unfolded batch norms too."""
    storages = {
        "head.stem.0.weight": "i8", "head.project.0.weight": "i4", "tail.0.weight": "i2",
    }  # fmt: skip
    made, grids = on_grids(net, storages)
    path = tmp_path_factory.mktemp("mixed") / "float.tflite"
    return made, grids, converted(made, torch.zeros(1, 3, 32, 32), path)


MIXED = Recipe(
    "own",
    "i4",
    rules=(Rule("head.stem.*", (), "i8"), Rule("tail.*", (), "i2"), Rule("classify", (), "f32")),
)


def test_each_weight_is_stored_as_its_own_rule_says(mixed, samples, tmp_path):
    made, grids, source = mixed
    path = tmp_path / "q.tflite"
    assert quantize_file(source, path, Plan(MIXED, grids), {}).grids == 3
    # the linear layer has no grid: it stays float, as the biases do
    assert audit(path, "litert").weight_elements == {
        "f32": 480 + 114, "i2": 13_824, "i4": 6_912, "i8": 648,
    }  # fmt: skip
    assert worst_db(made, path, [array for (array,) in samples[:3]]) > FAITHFUL_DB


def test_the_plans_integers_are_in_the_file_not_others(mixed, tmp_path):
    _, grids, source = mixed
    shifted = {
        name: Grid(g.storage, np.clip(g.levels + 1, -1, 1).astype(np.int8), g.scale)
        for name, g in grids.items()
    }
    with pytest.raises(UsageFault, match="3 of 3 quantized weights are in no constant"):
        quantize_file(source, tmp_path / "q.tflite", Plan(MIXED, shifted), {})
    assert not (tmp_path / "q.tflite").exists()


def test_integer_layers_hold_the_plans_weights_and_biases_rounded_once(mixed, samples, tmp_path):
    made, grids, source = mixed
    eight, grids = on_grids(made, dict.fromkeys(grids, "i8"))
    source = converted(eight, torch.zeros(1, 3, 32, 32), tmp_path / "float.tflite")
    path = tmp_path / "q.tflite"
    quantize_file(source, path, Plan(recipe("w8a8"), grids), {"forward": samples})
    before, data = litert_file.read(source)
    stored = match(grids, [values for _, _, values in constants(before, data)]).stored
    after, raw = litert_file.read(path)
    layers = [
        op
        for op in after.subgraphs[0].operators
        if litert_file.operator_name(after, op) == "CONV_2D"
    ]
    floats = [
        op
        for op in before.subgraphs[0].operators
        if litert_file.operator_name(before, op) == "CONV_2D"
    ]
    levels = {one.levels.tobytes(): one for one in stored.values()}
    for op, was in zip(layers, floats, strict=True):
        given, weight, bias = (after.subgraphs[0].tensors[int(i)] for i in op.inputs)
        one = levels[litert_file.constant_bytes(raw, after.buffers[weight.buffer])]
        assert np.array_equal(weight.quantization.scale, one.scale)
        held = before.subgraphs[0].tensors[int(was.inputs[2])]
        wanted = np.frombuffer(litert_file.constant_bytes(data, before.buffers[held.buffer]), "<f4")
        scale = given.quantization.scale.astype(np.float64) * one.scale
        integers = np.frombuffer(litert_file.constant_bytes(raw, after.buffers[bias.buffer]), "<i4")
        assert np.abs(integers - wanted / scale).max() <= 0.51
    # the linear layer was left float: so is its product
    assert audit(path, "litert").float_ops == {"fully_connected": 1}


@pytest.mark.parametrize("name", ["w8", "w8a8", "w8a8d", "w8a16"])
def test_a_norm_folded_into_a_layer_is_taken_out_again(attention, name, tmp_path):
    made, grids, source, ids = attention
    path = tmp_path / "q.tflite"
    written = quantize_file(
        source, path, Plan(recipe(name), grids), {"forward": [[i] for i in ids]}
    )
    assert written.grids == 5
    found = audit(path, "litert").weight_elements
    assert found["i8"] >= sum(grid.levels.size for grid in grids.values())
    least = {"w8": FAITHFUL_DB, "w8a8": 20, "w8a8d": 30, "w8a16": 40}
    assert worst_db(made, path, ids) > least[name]


def test_attention_over_many_places_keeps_its_softmax_float(tmp_path):
    torch.manual_seed(0)
    net = Places().eval()
    draw = np.random.default_rng(0)
    inputs = [draw.standard_normal((1, 300, 16)).astype(np.float32) for _ in range(4)]
    source = converted(net, torch.from_numpy(inputs[0]), tmp_path / "float.tflite")
    path, without = tmp_path / "q.tflite", tmp_path / "without.tflite"
    quantize_file(source, path, Plan(recipe("w8a8")), {"forward": [[x] for x in inputs]})
    assert audit(path, "litert").float_ops == {"softmax": 1}
    data, samples = source.read_bytes(), {"forward": [{"args_0": x} for x in inputs]}
    measured = litert_ranges.measure(data, samples)
    for place, floats in ((path, measured.floats), (without, frozenset[str]())):
        told = replace(measured, floats=floats)
        place.write_bytes(litert_static.structure(data, recipe("w8a8"), {}, told))
    # its integer kernel has steps of 1/256, and a place gets 1/300
    assert worst_db(net, path, inputs) > worst_db(net, without, inputs) + 10


def test_softmax_over_few_places_is_computed_in_integers(tmp_path):
    torch.manual_seed(0)
    net = Places().eval()
    x = np.random.default_rng(0).standard_normal((1, 4, 16)).astype(np.float32)
    source = converted(net, torch.from_numpy(x), tmp_path / "float.tflite")
    quantize_file(source, tmp_path / "q.tflite", Plan(recipe("w8a8")), {"forward": [[x]]})
    assert audit(tmp_path / "q.tflite", "litert").float_ops == {}


def test_an_operator_without_a_kernel_for_four_bits_stays_float(tmp_path):
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3), torch.nn.ReLU(), torch.nn.Conv2d(16, 16, 3, groups=16),
        torch.nn.ConvTranspose2d(16, 8, 2, 2),
    ).eval()  # fmt: skip
    draw = np.random.default_rng(0)
    inputs = [draw.standard_normal((1, 3, 16, 16)).astype(np.float32) for _ in range(4)]
    source = converted(net, torch.from_numpy(inputs[0]), tmp_path / "float.tflite")
    path, samples = tmp_path / "q.tflite", {"forward": [[x] for x in inputs]}
    layouts = {"transpose"}
    for mode, floats in (("static", {"transpose_conv"}), ("dynamic", None)):
        plan = Plan(Recipe("own", "i4", "i8", mode))
        quantize_file(source, path, plan, samples)
        found = audit(path, "litert")
        assert found.weight_elements["i4"] == 432 + 144 + 512
        assert floats is None or set(found.float_ops) - layouts == floats
        assert worst_db(net, path, inputs) > 12  # rounded to nearest; the runtime refused it before


def test_ranges_reach_what_one_sample_of_many_reaches(net, samples, tmp_path):
    """The quantizer's own calibrator averages extremes over samples: a bright photo is clipped."""
    from ai_edge_quantizer import quantizer
    from ai_edge_quantizer.qtyping import TFLOperationName as Operation

    stream = [0.2 * array for (array,) in samples[:8]] + [3 * samples[8][0]]
    stream += [0.2 * array for (array,) in samples[9:]]
    source = converted(net, torch.zeros(1, 3, 32, 32), tmp_path / "float.tflite")
    ours, theirs = tmp_path / "ours.tflite", tmp_path / "theirs.tflite"
    quantize_file(source, ours, Plan(recipe("w8a8")), {"forward": [[x] for x in stream]})
    tool = quantizer.Quantizer(str(source))
    tool.add_static_config(".*", Operation.ALL_SUPPORTED, 8, 8)
    for end in (Operation.INPUT, Operation.OUTPUT):
        tool.update_quantization_recipe(".*", end, algorithm_key="no_quantize")
    ranges = tool.calibrate({"forward": [{"args_0": x} for x in stream]}, num_threads=1)
    theirs.write_bytes(bytes(tool.quantize(ranges).quantized_model))
    bright = [3 * samples[9][0]]
    assert worst_db(net, ours, bright) > worst_db(net, theirs, bright) + 6


def test_weights_without_a_grid_are_half_floats_if_the_recipe_says_so(mixed, tmp_path):
    _, grids, source = mixed
    half = Recipe("own", "i4", rules=(*MIXED.rules[:2], Rule("classify", (), "f16")))
    quantize_file(source, tmp_path / "q.tflite", Plan(half, grids), {})
    assert audit(tmp_path / "q.tflite", "litert").weight_elements["f16"] == 480
    both = Recipe("own", "i4", rules=(*half.rules, Rule("head.stem.*", (), "f32")))
    with pytest.raises(UsageFault, match="some weights as f16 and some as f32"):
        quantize_file(source, tmp_path / "both.tflite", Plan(both, grids), {})


def test_a_rule_for_modules_needs_a_plan(mixed, tmp_path):
    with pytest.raises(UsageFault, match=r"a rule for modules, head\.stem\.\* .* no plan"):
        quantize_file(mixed[2], tmp_path / "q.tflite", Plan(MIXED), {})


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (recipe("w4b32"), "scales per block"),
        (recipe("p4"), "indices into a table"),
        (Recipe("own", "i8", "i16", "dynamic"), "no dynamic activations of i16"),
        (Recipe("own", "i2", "i8", "static"), "weights of i2 need float activations"),
        (Recipe("own", "i4", "i16", "static"), "weights of i4 wrongly"),
    ],
)
def test_what_the_format_cannot_do_is_refused_with_the_reason(mixed, tmp_path, asked, why):
    assert why in (refusal(asked) or "")
    with pytest.raises(UsageFault, match=why):
        quantize_file(mixed[2], tmp_path / "q.tflite", Plan(asked), {})
