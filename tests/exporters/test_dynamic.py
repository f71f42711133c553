"""Ranges of sizes: how they are written, what torch is told, which inputs try them."""

from pathlib import Path

import pytest
import torch
from torch import fx, nn

import headtail
from exporters.captured import capture_source
from exporters.dynamic import (
    dimensions,
    parse_ranges,
    prepare_sized,
    resized,
    sizes_to_try,
    traced_sizes,
)
from exporters.entries import EntryPoints
from exporters.options import ExportOptions
from exporters.pipeline import export
from exporters.source import from_module
from exporters.sources.savedmodel import ForeignModel
from headtail.errors import SourceFault, UnknownName, UsageFault
from headtail.manifest import Manifest, Place, SizeRange
from headtail.tensors import TensorSpec
from tests.exporters.conftest import PREPROCESS, photos
from tests.exporters.nets import Residual, TwoOutputs, settle

IMAGE = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
INPUTS = (TensorSpec("ids", "i32", (1, 16)), TensorSpec("mask", "i32", (1, 16)))
BATCH = SizeRange((Place("x", 0),), 1, 8, 1)


class Flattening(nn.Module):
    """Its linear layer fixes height and width, and not the batch."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3 * 32 * 32, 4)

    def forward(self, x):
        return self.linear(x.flatten(1))


def source(model=None, **given):
    return from_module(settle(model or Residual()), (IMAGE,), **given)


def test_what_can_be_asked_for():
    batch, tied = parse_ranges(["batch=1..8", "ids:1+mask:1=8..64/8"], INPUTS)
    assert batch == SizeRange((Place("ids", 0), Place("mask", 0)), 1, 8, 1)
    assert tied == SizeRange((Place("ids", 1), Place("mask", 1)), 8, 64, 8)
    assert str(tied) == "ids:1+mask:1=8..64/8"
    assert parse_ranges([str(batch), str(tied)], INPUTS) == (batch, tied)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("batch", r"'batch' cannot be read.*batch=LOW\.\.HIGH.*ids:i32\[1,16\], mask:i32\[1,16\]"),
        ("batch=1..", "cannot be read"),
        ("batch=8..1", "does not rise from one multiple"),
        ("batch=0..1", "does not rise from one multiple"),
        ("batch=4..4", "does not rise from one multiple"),
        ("ids:1=10..64/8", "does not rise from one multiple"),
        ("batch=2..8", "example input has size 1, which 'batch=2..8' leaves out"),
        ("ids:1=12..60/12", "example input has size 16"),
        ("ids:2=1..8", "input ids has no axis '2'"),
        ("ids=1..8", r"input ids has no axis '\(none given\)'"),
    ],
)
def test_a_range_that_cannot_be_is_refused_with_what_can(asked, said):
    with pytest.raises(UsageFault, match=said):
        parse_ranges([asked], INPUTS)


def test_an_unknown_input_lists_what_exists():
    with pytest.raises(UnknownName, match=r"input 'maks'.*Did you mean 'mask'"):
        parse_ranges(["maks:1=8..16"], INPUTS)
    with pytest.raises(UsageFault, match="Axis 0 of ids has two ranges"):
        parse_ranges(["batch=1..8", "ids:0=1..4"], INPUTS)


def test_the_ends_and_the_middle_are_tried():
    found = parse_ranges(["batch=1..8", "ids:1+mask:1=8..64/8"], INPUTS)
    tried = [sizes[("ids", 0)] for sizes in sizes_to_try(found)]
    assert tried == [1, 5, 8]
    assert [sizes[("mask", 1)] for sizes in sizes_to_try(found)] == [8, 40, 64]


def test_inputs_are_repeated_and_cut():
    (value,) = resized((IMAGE,), ["x"], {("x", 0): 2, ("x", 2): 80, ("x", 3): 16})
    assert value.shape == (2, 3, 80, 16)
    assert torch.equal(value[1, :, 32:64], IMAGE[0, :, :, :16])


def test_torch_is_given_no_size_that_it_takes_for_a_constant():
    assert traced_sizes([BATCH], (IMAGE,), ["x"]) == {("x", 0): 2}
    shapes = dimensions([BATCH], ["x"])
    assert shapes is not None
    assert list(shapes[0]) == [0]
    assert dimensions([], ["x"]) is None


def test_the_saved_program_takes_every_size(tmp_path):
    captured, remarks = capture_source(source(), tmp_path, dynamic=["batch=1..8"])
    assert captured.cuts == ()
    assert remarks == ["the model is not split: it takes x:0=1..8"]
    assert captured.entries[0].ranges == (BATCH,)
    points = EntryPoints.read(captured.program, captured.heads)
    assert points.ranges == (BATCH,)
    three = IMAGE.expand(3, -1, -1, -1).contiguous()
    with torch.no_grad():
        (found,) = points.graphs["forward"](three)
        assert torch.allclose(found, captured.graph(IMAGE)[0].expand(3, -1), rtol=1e-4)


def test_another_range_is_another_export(tmp_path):
    asked: list[list[str]] = [[], ["batch=1..8"], ["batch=1..4"]]
    digests = {capture_source(source(), tmp_path, dynamic=a)[0].digest for a in asked}
    assert len(digests) == 3


def test_a_size_that_the_model_fixes_is_said(tmp_path):
    with pytest.raises(SourceFault, match=r"does not take x:2=16..64.*Narrow the range"):
        capture_source(source(Flattening()), tmp_path, dynamic=["x:2=16..64"])


def test_a_savedmodel_is_refused(tmp_path):
    judged = source().evaluation
    keras = ForeignModel("a", tmp_path, (), (), PREPROCESS, judged, judged, (), "a", ())
    with pytest.raises(UsageFault, match=r"is a SavedModel.*Leave --dynamic out"):
        export(keras, ExportOptions(tmp_path / "a.bundle", dynamic=("batch=1..8",)))


def test_cuts_and_dynamic_sizes_are_not_for_one_bundle():
    with pytest.raises(UsageFault, match="Leave out either --cut or --dynamic"):
        ExportOptions(Path("a.bundle"), cuts=("stem",), dynamic=("batch=1..8",))


def test_a_rewrite_for_one_size_is_taken_back(tmp_path):
    """The mean over space becomes a pool of that size; the batch norms fold at any."""
    captured, _ = capture_source(source(), tmp_path, dynamic=["x:2=16..64"])
    points = EntryPoints.read(captured.program, captured.heads)
    others = [resized(points.example, ["x"], {("x", 2): size}) for size in (16, 64)]
    prepared = prepare_sized(points.graphs["forward"], [points.example, *others], "executorch")
    assert isinstance(prepared.graph, fx.GraphModule)
    assert "fold_batch_norm" in {done.name for done in prepared.applied}
    with torch.no_grad():
        for other in others:
            right = points.graphs["forward"](*other)[0]
            assert torch.allclose(prepared.graph(*other)[0], right, atol=1e-5)


@pytest.mark.slow
def test_a_file_takes_every_size_of_the_batch(tmp_path):
    result = headtail.export(
        settle(Residual()),
        (IMAGE,),
        output=tmp_path / "many.bundle",
        preprocess=PREPROCESS,
        evaluation=photos(4, 2),
        formats=["litert"],
        precisions=["fp32"],
        dynamic=["batch=1..4"],
        runs=1,
    )
    assert not result.failures
    assert any("x[4, 3, 32, 32]" in remark for remark in result.remarks)
    manifest = Manifest.from_bytes((result.bundle.path / "manifest.json").read_bytes())
    (entry,) = manifest.artifact("litert", "fp32").entries
    assert entry.ranges == (SizeRange((Place("x", 0),), 1, 4, 1),)


@pytest.mark.slow
def test_a_converter_that_fixes_a_size_in_silence_is_found(tmp_path):
    """litert-torch 0.10 writes the traced size of a bilinear resize into the file."""
    result = headtail.export(
        settle(TwoOutputs()),
        (IMAGE,),
        output=tmp_path / "mask.bundle",
        preprocess=PREPROCESS,
        evaluation=photos(4, 2),
        precisions=["fp32"],
        dynamic=["image:2=16..64/4"],
        runs=1,
    )
    (failure,) = result.failures
    assert failure.format == "litert"
    assert failure.reason.startswith("at image[1, 3, 16, 32]:")
    assert {a.format for a in result.bundle.manifest.artifacts} == {"executorch", "coreml"}
