"""Real conversions by coremltools, a plan's grids stored, merged, re-read and interpreted."""

from __future__ import annotations

import contextlib
import copy
import io

import numpy as np
import pytest
import torch
from torch.nn.utils.fusion import fuse_conv_bn_eval

from exporters.capture import capture, flat_graph
from exporters.splitting import head_at
from headtail.errors import ConversionFailed, UsageFault
from quantizers.audit import audit
from quantizers.coreml_backend import pass_pipeline, quantize_model, refusal
from quantizers.coreml_file import MODEL, compact
from quantizers.placement import carried, integer_values
from quantizers.plan import Plan
from quantizers.recipe import Recipe, Rule, recipe
from quantizers.static_graph import affine, part_of, reference_graph, with_ranges

from .plans import rounded, seen

pytestmark = [
    pytest.mark.slow,
    # coremltools and executorch, which it imports, use what torch, Python and they deprecate
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:(open|read)_(text|binary) is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Function _TORCH_OPS_REGISTRY:DeprecationWarning"),
    # coremltools leaves its temporary folders to the garbage collector
    pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning"),
]

ENTRIES = ("forward", "head_project")
WEIGHTS, BIASES = 21_864, 114
EXAMPLE = (torch.zeros(1, 3, 32, 32),)
W2 = Recipe("w2b8", "i2", block=8, rules=(Rule("*", ("stem",), "i8"),))
MIXED = Recipe(
    "mixed",
    "i8",
    rules=(
        Rule("head.project.*", weights="i4", block=8),
        Rule("tail.*", weights="lut6"),
        Rule("classify", weights="f32"),
    ),
)


@pytest.fixture(scope="module")
def graphs(net):
    """The whole net and its head, batch norms folded as in a plan's program."""
    made = copy.deepcopy(net)
    for part in (made.head.stem, made.head.project):
        part[0], part[1] = fuse_conv_bn_eval(part[0], part[1]), torch.nn.Identity()
    forward = flat_graph(capture(made, EXAMPLE))
    return {"forward": forward, "head_project": head_of(forward)}


def head_of(graph):
    """Up to the second convolution."""
    second = [n.name for n in graph.graph.nodes if n.target is torch.ops.aten.conv2d.default][1]
    return head_at(graph, [second])


def convert(graph, example=EXAMPLE, *, precision="FLOAT32", pipeline=None):
    import coremltools as ct

    with torch.no_grad(), contextlib.redirect_stderr(io.StringIO()):
        return ct.convert(
            torch.export.export(graph, example).run_decompositions({}),
            convert_to="mlprogram",
            minimum_deployment_target=ct.target.iOS18,
            compute_precision=ct.precision[precision],
            pass_pipeline=pipeline or pass_pipeline(),
            skip_model_load=True,
        )


def merge(models, path, folder):
    import coremltools as ct

    described = ct.utils.MultiFunctionDescriptor()
    for name, model in models.items():
        single = folder / f"single.{name}.mlpackage"
        model.save(str(single))
        described.add_function(str(single), "main", name)
    described.default_function_name = "forward"
    ct.utils.save_multifunction(described, str(path))


def answers(package, samples, function="main"):
    """What the interpreter makes of every sample."""
    from exporters.mil import Program

    run = Program(package).function(function).run
    return [run([torch.from_numpy(array) for array in sample])[0].numpy() for sample in samples]


def of_torch(graph, samples):
    with torch.no_grad():
        return [graph(*map(torch.from_numpy, sample))[0].numpy() for sample in samples]


def snr(found, true):
    """Mean dB over samples."""
    noise = [((f - t) ** 2).sum() for f, t in zip(found, true, strict=True)]
    signal = [(t**2).sum() for t in true]
    return float(np.mean(10 * np.log10(np.divide(signal, noise))))


def equal(found, true):
    return all(np.array_equal(a, b) for a, b in zip(found, true, strict=True))


@pytest.mark.parametrize(
    ("asked", "held"),
    [
        (recipe("fp32"), {"f32": WEIGHTS + BIASES}),
        (recipe("w8"), {"f32": BIASES, "i8": WEIGHTS}),
        # 480 of the classifier, which is small
        (recipe("w4b32"), {"f32": BIASES, "i4": WEIGHTS - 1_128, "i8": 648 + 480}),
        (recipe("p4"), {"f32": BIASES, "i8": 648 + 480, "lut4": WEIGHTS - 1_128}),
        (W2, {"f32": BIASES, "i2": WEIGHTS - 648, "i8": 648}),
        (MIXED, {"f32": BIASES + 480, "i8": 648, "i4": 6_912, "lut6": 13_824}),
    ],
    ids=lambda value: value.name if isinstance(value, Recipe) else "",
)
def test_the_package_holds_the_plan_once_and_computes_it(graphs, samples, tmp_path, asked, held):
    program, plan = rounded(graphs["forward"], asked)
    models = {}
    for name, graph in graphs.items():
        part = part_of(plan, graph)
        entry = program if name == "forward" else head_of(program)
        models[name] = quantize_model(convert(entry), part)
    package = tmp_path / "net.mlpackage"
    merge(models, package, tmp_path)
    found = audit(package, "coreml")
    found.check(asked)
    assert found.weight_elements == held  # shared with the head, not copied
    assert found.float_ops["conv"] == 3
    assert equal(answers(package, samples, "forward"), of_torch(program, samples))


def test_half_precision_stores_the_same_integers(graphs, samples, tmp_path):
    program, plan = rounded(graphs["forward"], Recipe("w8h", "i8", "f16"))
    model = quantize_model(convert(program, precision="FLOAT16"), plan)
    model.save(str(tmp_path / "half.mlpackage"))
    found = audit(tmp_path / "half.mlpackage", "coreml")
    found.check(plan.recipe)
    assert found.weight_elements == {"f16": BIASES, "i8": WEIGHTS}
    assert snr(answers(tmp_path / "half.mlpackage", samples), of_torch(program, samples)) > 55


class Text(torch.nn.Module):
    """Weights that converters turn: an embedding, a convolution over time, a linear layer."""

    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(50, 32)
        self.mix = torch.nn.Conv1d(32, 48, 3, padding=1)
        self.each = torch.nn.Conv1d(48, 48, 5, padding=2, groups=48)
        self.last = torch.nn.Linear(48, 7, bias=False)

    def forward(self, tokens):
        x = self.embed(tokens).transpose(1, 2)
        return self.last(torch.relu(self.each(torch.relu(self.mix(x)))).transpose(1, 2))


@pytest.mark.parametrize("name", ["w8", "w4b32", "p4"])
def test_embeddings_and_convolutions_over_time(tmp_path, name):
    torch.manual_seed(0)
    example = (torch.randint(0, 50, (1, 12), dtype=torch.int32),)
    program, plan = rounded(flat_graph(capture(Text().eval(), example)), recipe(name))
    assert len(plan.grids) == 4
    quantize_model(convert(program, example), plan).save(str(tmp_path / "text.mlpackage"))
    tokens = [(example[0].numpy(),)]
    assert equal(answers(tmp_path / "text.mlpackage", tokens), of_torch(program, tokens))
    audit(tmp_path / "text.mlpackage", "coreml").check(recipe(name))


def static(graph, samples, names):
    program, plan = rounded(graph, recipe("w8a8"))
    return program, Plan(plan.recipe, plan.grids, seen(program, [a for (a,) in samples], names))


def test_static_integers_are_what_the_reference_rounds_to(graphs, samples, tmp_path):
    graph = graphs["forward"]
    program, plan = static(graph, samples, integer_values(graph))
    model = quantize_model(convert(with_ranges(program, carried(program, plan.ranges))), plan)
    model.save(str(tmp_path / "net.mlpackage"))
    found = audit(tmp_path / "net.mlpackage", "coreml")
    found.check(plan.recipe)
    assert found.weight_elements == {"f32": BIASES, "i8": WEIGHTS}
    assert found.float_ops == {}  # bounded by ReLU6, then quantized: integers
    reference = of_torch(reference_graph(program, plan), samples)
    assert equal(answers(tmp_path / "net.mlpackage", samples), reference)
    assert snr(reference, of_torch(graph, samples)) > 20


class Residual(torch.nn.Module):
    """A sum of two quantized values, whose scales coremltools would divide by each other."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv2d(3, 16, 3, padding=1)
        self.second = torch.nn.Conv2d(16, 16, 3, padding=1)

    def forward(self, x):
        y = torch.relu(self.first(x))
        return y + self.second(y)


def scales(package):
    """Of everything that quantizes or dequantizes."""
    from exporters.mil import Program

    main = Program(package).function("main")
    read = [s for s in main.code.steps if s.operation.name in ("quantize", "dequantize")]
    return {float(main.constant(str(step.bindings["scale"]))) for step in read}


def test_sums_are_not_rescaled(samples, tmp_path):
    """Else they differ in the last bit, now and then an integer by one, and then every layer."""
    import coremltools as ct

    torch.manual_seed(1)
    graph = flat_graph(capture(Residual().eval(), EXAMPLE))
    program, plan = static(graph, samples, integer_values(graph))
    found = {}
    for name, pipeline in (("ours", pass_pipeline()), ("theirs", ct.PassPipeline.DEFAULT)):
        model = convert(with_ranges(program, plan.ranges), pipeline=pipeline)
        quantize_model(model, plan).save(str(tmp_path / f"{name}.mlpackage"))
        found[name] = scales(tmp_path / f"{name}.mlpackage")
    assert found["ours"] == {affine(asked)[0] for asked in plan.ranges.values()}
    assert 1.0 in found["theirs"]
    reference = of_torch(reference_graph(program, plan), samples)
    assert equal(answers(tmp_path / "ours.mlpackage", samples), reference)


def test_quantizing_before_the_bound_is_worse(graphs, samples):
    """Where coremltools' own calibration puts it: the range of what ReLU6 is about to cut off."""
    graph = graphs["forward"]
    calls = {node: node.all_input_nodes[0] for node in graph.graph.nodes if "hardtanh" in node.name}
    after = static(graph, samples, [node.name for node in calls])
    before = static(graph, samples, [node.name for node in calls.values()])
    true = of_torch(graph, samples)
    good = [snr(of_torch(reference_graph(*pair), samples), true) for pair in (after, before)]
    assert good[0] > good[1]


def test_a_weight_that_is_nowhere_is_an_error(graphs):
    program, plan = rounded(graphs["forward"], recipe("w8"))
    model = convert(graphs["forward"])  # with the weights as they were
    with pytest.raises(ConversionFailed, match="4 of 4 quantized weights are not in the Core ML"):
        quantize_model(model, plan)
    quantize_model(convert(program), plan)


def test_without_a_plan_coremltools_rounds(graphs, tmp_path):
    model = quantize_model(convert(graphs["forward"]), Plan(recipe("w8")))
    model.save(str(tmp_path / "net.mlpackage"))
    assert audit(tmp_path / "net.mlpackage", "coreml").weight_elements["i8"] == WEIGHTS


def test_a_compact_package_is_smaller_and_computes_the_same(graphs, samples, tmp_path):
    package = tmp_path / "net.mlpackage"
    merge({name: convert(graphs[name]) for name in ENTRIES}, package, tmp_path)
    before, found = (package / MODEL).stat().st_size, audit(package, "coreml")
    results = []
    for _ in range(3):
        results.append([answers(package, samples[:1], name)[0] for name in ENTRIES])
        compact(package)
    assert (package / MODEL).stat().st_size < before
    assert audit(package, "coreml") == found
    for later in results[1:]:
        assert equal(later, results[0])
    again = (package / MODEL).read_bytes()
    compact(package)
    assert (package / MODEL).read_bytes() == again


def test_what_core_ml_cannot_hold_is_refused():
    for name in ("fp32", "fp16", "w8", "w8a8", "w4", "w4b32", "p4", "p6"):
        assert refusal(recipe(name)) is None
    assert "at run time" in str(refusal(recipe("w8a8d")))
    assert "i16" in str(refusal(recipe("w8a16")))
    beside = Recipe("mixed", "i8", rules=(Rule("head*", weights="f16"),))
    assert "precision the program computes in" in str(refusal(beside))
    with pytest.raises(UsageFault, match=r"Core ML cannot be w8a8d\. Core ML has no operator"):
        quantize_model(None, Plan(recipe("w8a8d")))
