"""The real PT2E quantizer, lowering and ExecuTorch runtime on a small net."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from headtail.errors import ConversionFailed, IntegrityFault, UsageFault
from headtail.metrics import snr_db
from quantizers.audit import audit
from quantizers.plan import Plan
from quantizers.pt2e_backend import partitioner, quantize_entries
from quantizers.recipe import recipe

pytestmark = [
    pytest.mark.slow,
    # torch and executorch use interfaces that torch and Python deprecate
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:(open|read)_(text|binary) is deprecated:DeprecationWarning"),
    # executorch says so of its Python runtime at every import
    pytest.mark.filterwarnings("ignore:This API is experimental"),
]

EXAMPLE = (torch.zeros(1, 3, 32, 32),)


@pytest.fixture(scope="module")
def entries(net):
    parts = {"forward": net, "head_project": net.head, "head_stem": net.head.stem}
    return {name: torch.export.export(part, EXAMPLE) for name, part in parts.items()}


@pytest.fixture(scope="module")
def quantized(entries, samples):
    return quantize_entries(entries, Plan(recipe("w8a8")), samples)


@pytest.fixture(scope="module")
def files(quantized, tmp_path_factory):
    from executorch.exir import to_edge_transform_and_lower

    folder = tmp_path_factory.mktemp("pte")
    made = {}
    for name, programs in (("one", ["forward"]), ("all", list(quantized))):
        lowered = to_edge_transform_and_lower(
            {entry: quantized[entry] for entry in programs}, partitioner=[partitioner()]
        )
        made[name] = folder / f"{name}.pte"
        with made[name].open("wb") as file:
            lowered.to_executorch().write_to_file(file)
    return made


def output_of(program, array):
    result = program.module()(torch.from_numpy(array))
    return (result[0] if isinstance(result, tuple) else result).detach().numpy()


def activation_tables(program) -> list[tuple[float, int]]:
    """(scale, zero point) of every activation quantizer, in graph order."""
    return [
        (node.args[1], node.args[2])
        for node in program.graph.nodes
        if str(node.target) == "quantized_decomposed.quantize_per_tensor.default"
    ]


def test_heads_have_the_scales_and_weights_of_forward(quantized):
    whole = activation_tables(quantized["forward"])
    for name in ("head_stem", "head_project"):
        part = activation_tables(quantized[name])
        assert part == whole[: len(part)]
        assert 1 < len(part) < len(whole)
        for key, tensor in quantized[name].state_dict.items():
            assert torch.equal(tensor, quantized["forward"].state_dict[key])


def test_a_head_holds_only_the_weights_it_uses(quantized):
    # a layer is an int8 weight, its scales, its zero points and a bias
    assert len(quantized["head_stem"].state_dict) == 4
    assert len(quantized["head_project"].state_dict) == 8


def test_a_head_gives_what_the_rest_of_forward_sees(quantized, net, samples):
    # float layers after the quantized head: as near to the quantized whole as its tail allows
    for (array,) in samples[:3]:
        middle = torch.from_numpy(output_of(quantized["head_project"], array))
        with torch.no_grad():
            after = net.classify(net.tail(middle).mean((2, 3))).numpy()
        whole = output_of(quantized["forward"], array)
        assert snr_db(reference=whole, candidate=after) > 20


def test_quantized_programs_follow_the_model(quantized, net, samples):
    for name, module in (
        ("forward", net),
        ("head_project", net.head),
        ("head_stem", net.head.stem),
    ):
        for (array,) in samples[:3]:
            with torch.no_grad():
                reference = module(torch.from_numpy(array)).numpy()
            assert snr_db(reference=reference, candidate=output_of(quantized[name], array)) > 15


def test_the_file_is_integer_and_runs_as_the_programs_do(quantized, files, net, samples):
    from executorch.runtime import Runtime

    found = audit(files["all"], "executorch")
    found.check(recipe("w8a8"))
    assert found.weight_elements == {"i32": 114, "i8": 21_864}
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        net(torch.from_numpy(samples[0][0]))
    assert found.products == {"i8": flops.get_total_flops() // 2}
    program = Runtime.get().load_program(str(files["all"]))
    assert program.method_names == set(quantized)
    for name in quantized:
        method = program.load_method(name)
        for (array,) in samples[:3]:
            got = method.execute([torch.from_numpy(array)])[0].numpy()
            assert got.dtype == np.float32
            # XNNPACK rounds in integers where the emulation rounds in floats
            assert snr_db(reference=output_of(quantized[name], array), candidate=got) > 20


def test_methods_share_every_weight(files):
    one, every = (audit(files[name], "executorch") for name in ("one", "all"))
    assert one.weight_elements == every.weight_elements


def test_a_head_that_is_no_part_of_forward_is_refused(entries, samples):
    torch.manual_seed(1)
    stranger = torch.nn.Sequential(torch.nn.Conv2d(3, 24, 3, stride=2, padding=1, bias=False))
    broken = dict(entries) | {"head_x": torch.export.export(stranger.eval(), EXAMPLE)}
    with pytest.raises(ConversionFailed, match="Entry point 'head_x' returns 'conv2d', which"):
        quantize_entries(broken, Plan(recipe("w8a8")), samples)


def test_what_cannot_be_is_refused(entries, samples):
    for name, reason in (
        ("p4", "no kernels for weights of lut4"),
        ("w4b32", "no kernels for weights of i4 in blocks of 32"),
        ("w8a16", "no static kernels for activations of i16"),
    ):
        with pytest.raises(UsageFault, match=f"cannot honour {name}: XNNPACK has {reason}"):
            quantize_entries(entries, Plan(recipe(name)), samples)
    with pytest.raises(UsageFault, match="without calibration samples"):
        quantize_entries(entries, Plan(recipe("w8a8")), [])
    with pytest.raises(UsageFault, match="The entry points are head_stem"):
        quantize_entries({"head_stem": entries["head_stem"]}, Plan(recipe("w8a8")), samples)


def test_fp32_passes_through(entries):
    assert quantize_entries(entries, Plan(recipe("fp32")), []) == entries


def test_the_audit_of_a_broken_file_is_an_integrity_fault(files, tmp_path):
    data = files["one"].read_bytes()
    for name, content in (("empty", b""), ("text", b"no program"), ("cut", data[: len(data) // 2])):
        path = tmp_path / f"{name}.pte"
        path.write_bytes(content)
        with pytest.raises(IntegrityFault, match=f"{name}.pte"):
            audit(path, "executorch")
