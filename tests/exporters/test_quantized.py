"""Programs of quantized precisions: proven rewrites, heads and all, told from other programs."""

from __future__ import annotations

import importlib
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from exporters.captured import capture_source
from exporters.entries import EntryPoints
from exporters.parity import reference
from exporters.prepare.preparation import apply_rewrites
from exporters.progress import Quiet
from exporters.quantized import UNLIKE_DB, quantize_all, unfaithful
from exporters.source import from_module
from exporters.target import target
from headtail.manifest import FORWARD, Place, SizeRange, head_entry
from headtail.metrics import snr_db
from quantizers.plan import Plan
from quantizers.recipe import RECIPES
from quantizers.sites import sites, weight_of
from quantizers.static_graph import reference_graph
from tests.exporters.nets import settle


def pictures(count, seed):
    """Smooth pixels from 0 to 255: a few waves of each colour."""
    generator = np.random.default_rng(seed)
    ramp = np.linspace(0, 1, 24, dtype=np.float32)
    waves = generator.uniform(0, 9, (count, 3, 4)).astype(np.float32)
    rows = np.sin(waves[..., 0, None] * ramp + waves[..., 1, None])[..., :, None]
    columns = np.sin(waves[..., 2, None] * ramp + waves[..., 3, None])[..., None, :]
    return [value[None] for value in (rows + columns) * 60 + 128]


class Scale(nn.Module):
    """A layer scale."""

    def __init__(self, *shape):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(shape))

    def forward(self, x):
        return x * self.gamma


class Foldable(nn.Module):
    """Something for every rewrite: pixels normalised, branches, batch norms, a layer scale."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor([120.0, 115.0, 100.0])[:, None, None])
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU6())
        self.wide, self.narrow = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(8), nn.BatchNorm2d(8)])
        self.spatial = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.classify = nn.Sequential(nn.Linear(8, 5), Scale(5))

    def forward(self, pixels):
        x = self.stem((pixels - self.mean) / 58.0)
        x = (self.norms[0](self.wide(x)) + self.norms[1](self.narrow(x))).relu()
        x = x + self.spatial(x)
        x = x + torch.linspace(0, 1, 8)[:, None, None].exp()
        return self.classify(x.mean((2, 3)).reshape(1, 8))


@pytest.fixture(scope="module")
def source():
    return from_module(
        settle(Foldable()),
        (torch.from_numpy(pictures(1, 0)[0]),),
        name="foldable",
        labels=list("abcde"),
        calibration=pictures(12, 1),
        evaluation=pictures(6, 2),
    )


@pytest.fixture(scope="module")
def captured(source, tmp_path_factory):
    made, _ = capture_source(source, tmp_path_factory.mktemp("captured"), cuts=("stem", "spatial"))
    return made


@pytest.fixture(scope="module")
def expected(captured, source):
    return reference(captured.graph, source.evaluation.samples, captured.cuts)


class Heard(Quiet):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.fixture(scope="module")
def heard():
    return Heard()


@pytest.fixture(scope="module")
def quantized(source, captured, heard, tmp_path_factory):
    return quantize_all(
        source,
        captured,
        [RECIPES[name] for name in ("fp32", "fp16", "w8", "w4", "w8a8")],
        folder=tmp_path_factory.mktemp("quantized"),
        progress=heard,
    )


def snrs(expected, given):
    pairs = zip(expected, given, strict=True)
    return [
        min(snr_db(reference=r, candidate=c) for r, c in zip(right, seen, strict=True))
        for right, seen in pairs
    ]


def test_only_what_moves_weights_to_a_grid_is_solved_for(quantized, heard):
    assert list(quantized) == ["w8", "w4", "w8a8"]
    assert heard.notes[0] == "looking at the activations"
    assert "w4: weight 1 of 4, stem.0" in heard.notes
    assert "w8a8: weight 4 of 4, classify.0" in heard.notes


FOLDED = (
    "drop_no_ops",
    "fold_normalisation",
    "fold_constants",
    "fold_batch_norm",
    "fuse_branches",
)


def test_every_step_is_proven_and_said(quantized):
    steps = quantized["w8"].plan.steps
    assert tuple(step.partition(":")[0] for step in steps[: len(FOLDED)]) == FOLDED
    for step in steps[: len(FOLDED)]:
        proven = re.fullmatch(r"\w+: \d+ places?, outputs (bit-equal|equal to (\d+) dB)", step)
        assert proven, step
        assert float(proven[2] or "inf") >= 100


def test_each_step_moves_float_outputs_by_less_than_1e_4(captured, source, expected):
    """Relative to the largest output, on pictures that the proof did not use."""
    graph = captured.graph
    for name in FOLDED:
        rewrite = importlib.import_module(f"exporters.prepare.{name}").rewrite
        prepared = apply_rewrites(graph, source.example, [(name, rewrite)])
        assert [done.name for done in prepared.applied] == [name]
        before, after = (
            reference(g, source.evaluation.samples, ()).outputs for g in (graph, prepared.graph)
        )
        for right, seen in zip(before, after, strict=True):
            assert np.allclose(right[0], seen[0], rtol=0, atol=1e-4 * np.abs(right[0]).max())
        graph = prepared.graph
    whole = reference(graph, source.evaluation.samples, ()).outputs
    assert min(snrs(expected.outputs, whole)) > 100


def test_what_is_constant_per_channel_is_in_the_weights(quantized):
    """Four weights are left of two branches, three batch norms and a layer scale."""
    graph = EntryPoints.read(quantized["w8"].program, {}).graphs[FORWARD]
    called = {str(node.target) for node in graph.graph.nodes if node.op == "call_function"}
    assert not {name for name in called if "norm" in name or "mul" in name or "div" in name}
    shapes = [site.shape for site in sites(graph)]
    assert shapes == [(8, 3, 3, 3), (8, 8, 3, 3), (8, 1, 3, 3), (5, 8)]


@pytest.mark.parametrize(("precision", "least"), [("w8", 35.0), ("w4", 15.0), ("w8a8", 25.0)])
def test_precisions_are_near_the_float_model(quantized, expected, precision, least):
    assert min(snrs(expected.outputs, quantized[precision].outputs)) > least


@pytest.mark.parametrize("precision", ["w8", "w8a8"])
def test_heads_return_the_values_they_had(quantized, captured, expected, source, precision):
    own = quantized[precision]
    assert set(own.heads) == {head_entry("stem"), head_entry("spatial")}
    entries = EntryPoints.read(own.program, own.heads)
    for cut in captured.cuts:
        head = entries.graphs[head_entry(cut.id)]
        given = reference(head, source.evaluation.samples, ()).outputs
        assert len(given[0]) == len(cut.tensors)
        assert min(snrs(expected.cuts[cut.id], given)) > 20
        for tensor, spec in zip(given[0], cut.tensors, strict=True):
            assert tensor.shape == spec.shape


@pytest.mark.parametrize("precision", ["w8", "w4", "w8a8"])
def test_plan_and_program_are_read_back(quantized, source, precision):
    own = quantized[precision]
    files = own.files()
    assert (files.program, files.plan, files.heads) == (
        str(own.program),
        str(own.plan_path),
        own.heads,
    )
    plan = Plan.read(own.plan_path)
    assert (plan.recipe, plan.ranges, plan.steps) == (
        own.plan.recipe,
        own.plan.ranges,
        own.plan.steps,
    )
    assert bool(plan.ranges) == (precision == "w8a8")
    graph = EntryPoints.read(own.program, own.heads).graphs[FORWARD]
    assert set(plan.grids) == {site.weight for site in sites(graph)}
    again = reference(reference_graph(graph, plan), source.evaluation.samples, ()).outputs
    for saved, read in zip(own.outputs, again, strict=True):
        assert np.array_equal(saved[0], read[0])


def test_a_plan_is_of_its_own_program(quantized):
    """Weights at 8 bits are not on the grid of 4."""
    graph = EntryPoints.read(quantized["w8"].program, {}).graphs[FORWARD]
    with pytest.raises(Exception, match="is not on its grid"):
        reference_graph(graph, Plan.read(quantized["w4"].plan_path))


def test_nothing_is_made_without_calibration_or_for_sizes(source, captured, tmp_path):
    without = replace(source, calibration=None)
    assert quantize_all(without, captured, [RECIPES["w8"]], folder=tmp_path, progress=Quiet()) == {}
    sized = replace(captured, ranges=(SizeRange((Place("pixels", 2),), 24, 48, 8),))
    assert quantize_all(source, sized, [RECIPES["w8"]], folder=tmp_path, progress=Quiet()) == {}
    assert (
        quantize_all(source, captured, [RECIPES["fp16"]], folder=tmp_path, progress=Quiet()) == {}
    )
    assert list(tmp_path.iterdir()) == []


def changed(own, source, by):
    """What the program gives when `by` has changed its last weight."""
    graph = EntryPoints.read(own.program, {}).graphs[FORWARD]
    name = sites(graph)[-1].weight
    by(weight_of(graph, name), own.plan.grids[name].scale)
    meant = reference_graph(graph, replace(own.plan, grids={}))
    return reference(meant, source.evaluation.samples, ()).outputs


def test_its_own_outputs_are_faithful_but_for_rounding(quantized):
    generator = np.random.default_rng(0)
    for own in quantized.values():
        for size in (0.0, 1e-6):
            given = [
                [o * (1 + size * generator.standard_normal(o.shape)) for o in outputs]
                for outputs in own.outputs
            ]
            for name in ("litert", "executorch", "coreml"):
                assert unfaithful(target(name), own, given) == ""


@pytest.mark.parametrize(("name", "gate"), [("litert", 90), ("coreml", 85)])
def test_one_level_of_one_weight_is_another_program(quantized, source, name, gate):
    own = quantized["w8"]

    def next_level(weight, scale):
        weight[2, 3] += float(scale[2, 0])

    given = changed(own, source, next_level)
    said = unfaithful(target(name), own, given)
    assert re.fullmatch(rf"SNR \d+\.\d dB against its own program, the gate is {gate}", said)


def test_with_integer_activations_only_another_network_is_refused(quantized, source, expected):
    """Halves that fall to the other side move the outputs; a weight of zeros is no rounding."""
    own, aim = quantized["w8a8"], target("litert")
    given = changed(own, source, lambda weight, scale: weight.zero_())
    said = unfaithful(aim, own, given)
    assert said.endswith(f"against its own program, the gate is {UNLIKE_DB:.0f}")
    assert unfaithful(aim, own, expected.outputs) == ""  # rounds less than it should, not wrongly
    assert unfaithful(aim, replace(own, plan=quantized["w8"].plan), expected.outputs)
