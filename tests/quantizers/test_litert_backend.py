"""A real conversion by litert-torch, quantized, re-read and run by the LiteRT interpreter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from headtail.errors import UsageFault
from headtail.metrics import snr_db
from quantizers import litert_file
from quantizers.audit import audit
from quantizers.litert_backend import quantize_file
from quantizers.plan import Plan
from quantizers.recipe import recipe
from quantizers.support import supported

pytestmark = [
    pytest.mark.slow,
    # torch and litert-torch use interfaces that torch deprecates
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec:FutureWarning"),
]

ENTRIES = ("forward", "head_project")
NAMES = supported("litert")


@pytest.fixture(scope="module")
def source(net, tmp_path_factory):
    import litert_torch

    path = tmp_path_factory.mktemp("litert") / "float.tflite"
    example = (torch.zeros(1, 3, 32, 32),)
    converter = litert_torch.signature("forward", net, example)
    converter.signature("head_project", net.head, example).convert().export(str(path))
    return path


@pytest.fixture(scope="module")
def quantized(source, samples, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("quantized")
    paths = {name: folder / f"{name}.tflite" for name in NAMES}
    for name, path in paths.items():
        quantize_file(source, path, Plan(recipe(name)), dict.fromkeys(ENTRIES, samples))
    return paths


def run(path: Path, entry: str, array: np.ndarray) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(path), num_threads=1).get_signature_runner(entry)
    (output,) = runner(**{next(iter(runner.get_input_details())): array}).values()
    return output


# 648 + 6,912 + 13,824 + 480 weights; two folded batch norms and two layers have 114 biases
STEM, BIASES, WEIGHTS = 648, 114, 21_864
HELD = {
    "fp32": {"f32": WEIGHTS + BIASES},
    "fp16": {"f16": WEIGHTS, "f32": BIASES},
    "w8": {"i8": WEIGHTS, "f32": BIASES},
    "w8a8": {"i8": WEIGHTS, "i32": BIASES},
    "w8a8d": {"i8": WEIGHTS, "f32": BIASES},
    "w8a16": {"i8": WEIGHTS, "i64": BIASES},
    "w4": {"i4": WEIGHTS - STEM, "i8": STEM, "f32": BIASES},
}


@pytest.mark.parametrize("name", NAMES)
def test_the_file_holds_what_was_asked(quantized, name):
    assert audit(quantized[name], "litert").weight_elements == HELD[name]


def test_static_integers_leave_no_float_operator(quantized):
    found = audit(quantized["w8a8"], "litert")
    assert found.float_ops == {}
    assert found.activation_tensors["f32"] == 2  # the input and the output


@pytest.mark.parametrize(
    ("name", "dtype"), [("fp32", "f32"), ("w8", "f32"), ("w8a8", "i8"), ("w8a8d", "i8")]
)
def test_products_are_counted_as_torch_counts_them(quantized, net, samples, name, dtype):
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        net(torch.from_numpy(samples[0][0]))
    assert audit(quantized[name], "litert").products == {dtype: flops.get_total_flops() // 2}


@pytest.mark.parametrize("name", NAMES)
def test_inputs_and_outputs_stay_float_and_follow_the_model(quantized, net, samples, name):
    least = {"fp32": 90, "fp16": 50, "w8": 25, "w8a8": 15, "w8a8d": 15, "w8a16": 25, "w4": 10}
    for entry, module in (("forward", net), ("head_project", net.head)):
        for (array,) in samples[:3]:
            with torch.no_grad():
                reference = module(torch.from_numpy(array)).numpy()
            output = run(quantized[name], entry, array)
            assert output.dtype == np.float32
            assert snr_db(reference=reference, candidate=output) > least[name]


@pytest.mark.parametrize("name", ["fp16", "w8", "w8a8"])
def test_entry_points_share_every_weight(quantized, name):
    model, data = litert_file.read(quantized[name])
    payloads = [litert_file.constant_bytes(data, buffer) for buffer in model.buffers]
    large = [payload for payload in payloads if len(payload) >= 64]
    assert len(large) == len(set(large))


def test_the_same_inputs_give_the_same_bytes(source, quantized, samples, tmp_path):
    again = tmp_path / "again.tflite"
    quantize_file(source, again, Plan(recipe("w8a8")), dict.fromkeys(ENTRIES, samples))
    assert again.read_bytes() == quantized["w8a8"].read_bytes()


def test_fp32_is_the_source(source, quantized):
    assert quantized["fp32"].read_bytes() == source.read_bytes()


def test_a_head_calibrated_on_other_inputs_shares_weights_and_not_biases(
    source, quantized, samples, net, tmp_path
):
    other = {"forward": samples, "head_project": [(3 * array,) for (array,) in samples]}
    path = tmp_path / "q.tflite"
    quantize_file(source, path, Plan(recipe("w8a8")), other)
    found = audit(path, "litert").weight_elements
    assert found == {"i32": 114 + 24 + 32, "i8": 21_864}
    (array,) = samples[0]
    assert np.array_equal(run(path, "forward", array), run(quantized["w8a8"], "forward", array))
    with torch.no_grad():
        reference = net.head(torch.from_numpy(3 * array)).numpy()
    output = run(path, "head_project", 3 * array)
    assert snr_db(reference=reference, candidate=output) > 15


def test_an_entry_point_without_samples_is_named(source, samples, tmp_path):
    with pytest.raises(UsageFault, match=r"Signature 'head_project' has no calib"):
        quantize_file(source, tmp_path / "q.tflite", Plan(recipe("w8a8")), {"forward": samples})
    assert not (tmp_path / "q.tflite").exists()


def test_compacting_changes_bytes_and_no_result(quantized, samples, tmp_path):
    path = tmp_path / "compact.tflite"
    before = quantized["w8a8"].read_bytes()
    path.write_bytes(litert_file.compact(before))
    assert path.read_bytes() == before  # it has been compacted already
    loose = tmp_path / "loose.tflite"
    from ai_edge_litert.tools import flatbuffer_utils

    unpacked = flatbuffer_utils.read_model(str(quantized["w8a8"]))
    flatbuffer_utils.write_model(unpacked, str(loose))
    path.write_bytes(litert_file.compact(loose.read_bytes()))
    assert path.stat().st_size < loose.stat().st_size
    array = samples[0][0]
    for entry in ENTRIES:
        assert np.array_equal(run(path, entry, array), run(loose, entry, array))


def test_forward_keeps_its_tensor_names_and_heads_get_short_ones(source, quantized):
    before, _ = litert_file.read(source)
    after, _ = litert_file.read(quantized["w8a8"])
    names = [{tensor.name for tensor in graph.tensors} for graph in after.subgraphs]
    entries = {s.subgraphIndex: s.signatureKey.decode() for s in after.signatureDefs}
    for index, graph in enumerate(before.subgraphs):
        original = {tensor.name for tensor in graph.tensors}
        if entries[index] == "forward":
            assert original <= names[index]
        else:
            long = [name for name in names[index] if not name.startswith(b"head_project/")]
            assert len(long) == 2  # the input and the output
        assert len(names[index]) == len(after.subgraphs[index].tensors)


def test_every_tensor_buffer_is_aligned(quantized):
    for path in (quantized["fp16"], quantized["w8a8"]):
        model, _ = litert_file.read(path)
        held = {t.buffer for _, t in litert_file.tensors(model)}
        offsets = [model.buffers[index].offset for index in held if model.buffers[index].offset]
        assert offsets
        assert not any(offset % 16 for offset in offsets)


@pytest.mark.parametrize("name", ["w8a8", "w8a16"])
def test_a_channel_of_tiny_weights_keeps_its_bias(net, samples, tmp_path, name):
    import copy

    import litert_torch

    dead = copy.deepcopy(net)
    with torch.no_grad():  # a channel that training switched off: no weights, only a bias
        dead.tail[0].weight[3] = 1e-20
        dead.tail[0].bias[3] = 2.0
    source, path = tmp_path / "float.tflite", tmp_path / "dead.tflite"
    litert_torch.signature("forward", dead, (torch.zeros(1, 3, 32, 32),)).convert().export(
        str(source)
    )
    written = quantize_file(source, path, Plan(recipe(name)), {"forward": samples})
    assert written.widened_channels == 1
    for (array,) in samples[:3]:
        with torch.no_grad():
            reference = dead(torch.from_numpy(array)).numpy()
        # without its bias the channel costs everything: 1 dB
        assert snr_db(reference=reference, candidate=run(path, "forward", array)) > 15
