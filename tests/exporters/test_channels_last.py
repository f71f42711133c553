"""NHWC in and out: the same model behind a permutation, and no transpose of the picture left."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

import headtail
from exporters.capture import capture, flat_graph, input_specs, output_specs
from exporters.captured import capture_source, tail_of
from exporters.channels_last import takes_channels_last
from exporters.options import ExportOptions
from exporters.pipeline import formats_of
from exporters.pixels import takes_pixels
from exporters.source import from_module
from headtail.errors import UsageFault
from tests.exporters.conftest import PREPROCESS, photos
from tests.exporters.converted import Heavy
from tests.exporters.nets import Residual, TwoOutputs, settle

IMAGE = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def source(model=None):
    return from_module(
        settle(model or Residual()),
        (IMAGE,),
        preprocess=PREPROCESS,
        calibration=photos(3, 1),
        evaluation=photos(4, 2),
    )


def test_pictures_are_permuted_and_nothing_else():
    before = source(TwoOutputs())
    after = takes_channels_last(before)
    graph = flat_graph(capture(after.module, after.example))
    assert [spec.shape for spec in input_specs(graph)] == [(1, 32, 32, 3)]
    assert [spec.shape for spec in output_specs(graph)] == [(1, 32, 32, 2), (1, 3)]
    with torch.no_grad():
        mask, score = before.module.requires_grad_(False)(IMAGE)
        found = graph(IMAGE.permute(0, 2, 3, 1).contiguous())
    assert torch.equal(found[0].permute(0, 3, 1, 2), mask)
    assert torch.equal(found[1], score)


def test_the_preprocessing_gives_what_the_model_takes():
    after = takes_channels_last(source())
    assert after.preprocess
    for frame, (picture,) in zip(after.frames, after.evaluation.samples, strict=True):
        assert np.array_equal(after.preprocess(frame), picture)


def test_heads_and_tail_meet_as_before(tmp_path):
    """What crosses a cut is channels first: the same tail, whatever the file takes."""
    plain, _ = capture_source(source(), tmp_path, cuts=("stem",))
    after = takes_channels_last(source())
    last, _ = capture_source(after, tmp_path, cuts=("stem",))
    assert [c.tensors for c in last.cuts] == [c.tensors for c in plain.cuts]
    _, remarks = tail_of(after, last)
    assert not remarks


def test_with_pixels_too():
    before = source()
    after = takes_pixels(takes_channels_last(before))
    graph = flat_graph(capture(after.module, after.example))
    ((given,), *_), ((pixels,), *_) = before.evaluation.samples, after.evaluation.samples
    assert pixels.shape == (1, 32, 32, 3)
    assert np.array_equal(pixels, np.rint(pixels))
    with torch.no_grad():
        right = before.module.requires_grad_(False)(torch.from_numpy(given.copy()))
        assert torch.equal(graph(torch.from_numpy(pixels))[0], right)


def test_what_has_no_picture_is_refused():
    vector = from_module(settle(Heavy()), (torch.ones(1, 128),))
    with pytest.raises(UsageFault, match=r"takes no picture; its inputs are \[1, 128\]"):
        takes_channels_last(vector)
    last = dataclasses.replace(PREPROCESS, layout="NHWC")
    with pytest.raises(UsageFault, match="preprocessing that gives NHWC already"):
        takes_channels_last(dataclasses.replace(source(), preprocess=last))


def test_other_formats_are_refused():
    assert formats_of(source(), channels_last=True) == ("litert",)
    with pytest.raises(UsageFault, match=r"Channels last were asked for, and executorch, coreml"):
        ExportOptions(Path("a.bundle"), channels_last=True)


@pytest.mark.slow
def test_the_file_takes_the_picture_without_a_transpose(tmp_path):
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2), torch.nn.ReLU())
    result = headtail.export(
        settle(model),
        (IMAGE,),
        output=tmp_path / "last.bundle",
        preprocess=PREPROCESS,
        evaluation=photos(4, 2),
        precisions=["fp32"],
        channels_last=True,
        split=False,
        runs=1,
    )
    (artifact,) = result.bundle.manifest.artifacts
    (entry,) = artifact.entries
    assert artifact.agreement.snr_db_min >= 100
    assert [spec.shape for spec in entry.inputs] == [(1, 32, 32, 3)]
    assert [spec.shape for spec in entry.outputs] == [(1, 15, 15, 4)]
    plain = Interpreter(
        str(result.bundle.artifact_path(artifact)),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    assert [call["op_name"] for call in plain._get_ops_details()] == ["CONV_2D"]
