"""Normalisation inside the program: the same bits as outside of it, on pixels."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import headtail
from exporters.capture import capture, flat_graph
from exporters.captured import capture_source
from exporters.pixels import takes_pixels
from exporters.source import from_module
from exporters.sources.savedmodel import ForeignModel
from exporters.verification import verify_artifacts
from headtail.bundle import open_bundle
from headtail.errors import UsageFault
from headtail.preprocess import Preprocess
from tests.exporters.conftest import photos
from tests.exporters.nets import Residual, settle

IMAGENET = Preprocess(
    *(32, 32, "RGB", "crop", 1.0, "bilinear", 1 / 255),
    *((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "NCHW"),
)
IMAGE = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))


class LastChannels(nn.Module):
    """A model that takes its picture as TensorFlow does."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2, 1)

    def forward(self, picture):
        return self.conv(picture.permute(0, 3, 1, 2)).mean((2, 3))


def source(preprocess=IMAGENET, model=None, example=IMAGE):
    return from_module(
        settle(model or Residual()),
        (example,),
        preprocess=preprocess,
        calibration=photos(3, 1),
        evaluation=photos(4, 2),
    )


def same_answers(before, after):
    """As both are captured: kernels of a module in use depend on its gradients."""
    plain, folded = (flat_graph(capture(s.module, s.example)) for s in (before, after))
    samples = zip(before.evaluation.samples, after.evaluation.samples, strict=True)
    for (given,), (pixels,) in samples:
        assert np.array_equal(pixels, np.rint(pixels))
        assert 0 <= pixels.min() < pixels.max() <= 255
        with torch.inference_mode():
            # a copy, for the strides of axes of size 1 decide about kernels too
            (right,) = plain(torch.from_numpy(given.copy()))
            (found,) = folded(torch.from_numpy(pixels))
        assert torch.equal(found, right)


def test_pixels_give_the_bits_of_the_unmodified_model():
    before = source()
    same_answers(before, takes_pixels(before))


def test_pixels_are_what_the_new_preprocessing_gives():
    before = source()
    after = takes_pixels(before)
    assert after.preprocess
    assert after.preprocess == dataclasses.replace(
        IMAGENET, scale=1.0, mean=(0.0,) * 3, std=(1.0,) * 3
    )
    for frame, (pixels,) in zip(before.frames, after.evaluation.samples, strict=True):
        assert np.array_equal(after.preprocess(frame), pixels)


def test_blue_first_and_channels_last():
    recipe = dataclasses.replace(IMAGENET, colour="BGR", layout="NHWC")
    before = source(recipe, LastChannels(), IMAGE.permute(0, 2, 3, 1).contiguous())
    same_answers(before, takes_pixels(before))


def test_cuts_and_inputs_keep_their_names(tmp_path):
    plain, _ = capture_source(source(), tmp_path, cuts=("stem", "block"))
    folded, _ = capture_source(takes_pixels(source()), tmp_path, cuts=("stem", "block"))
    assert [cut.id for cut in folded.cuts] == [cut.id for cut in plain.cuts]
    assert folded.entries[0] == plain.entries[0]


def test_the_model_itself_is_left_alone():
    before = source()
    right = before.module(IMAGE)
    takes_pixels(before)
    assert torch.equal(before.module(IMAGE), right)
    assert "forward" not in vars(before.module)


def test_inputs_that_are_no_pictures_are_not_rounded():
    given = from_module(settle(Residual()), (IMAGE,), preprocess=IMAGENET)
    ((pixels,),) = takes_pixels(given).evaluation.samples
    assert not np.array_equal(pixels, np.rint(pixels))
    back = (torch.from_numpy(pixels) * IMAGENET.scale - torch.tensor(0.485)) / 0.229
    assert torch.allclose(back[:, 0], IMAGE[:, 0], atol=1e-5)


def test_calibration_says_that_it_is_pixels():
    after = takes_pixels(source())
    assert after.calibration
    assert after.calibration.provenance.source.endswith(", as pixels")
    assert after.calibration.provenance.count == 3


def test_what_cannot_be_folded_is_refused():
    with pytest.raises(UsageFault, match=r"there is none.*get_preprocess"):
        takes_pixels(from_module(settle(Residual()), (IMAGE,)))
    two = from_module(settle(TwoPictures()), (IMAGE, IMAGE), preprocess=IMAGENET)
    with pytest.raises(UsageFault, match=r"inputs are \[1, 3, 32, 32\], \[1, 3, 32, 32\]"):
        takes_pixels(two)
    judged = source().evaluation
    keras = ForeignModel("a", Path("a"), (), (), IMAGENET, judged, judged, (), "a", ())
    with pytest.raises(UsageFault, match=r"it is a SavedModel.*Leave --fold-preprocess out"):
        takes_pixels(keras)


class TwoPictures(nn.Module):
    def forward(self, left, right):
        return (left - right).mean((2, 3))


@pytest.mark.slow
def test_every_format_takes_pixels(tmp_path):
    """Heads too; and the unmodified model is what they are compared with."""
    before = source()
    result = headtail.export(
        before.module,
        (IMAGE,),
        output=tmp_path / "folded.bundle",
        preprocess=IMAGENET,
        evaluation=photos(4, 2),
        precisions=["fp32"],
        cuts=["stem"],
        fold_preprocess=True,
        runs=1,
    )
    assert not result.failures
    for artifact in result.bundle.manifest.artifacts:
        assert artifact.rewrites["fold_normalisation"] == 1
        assert artifact.agreement.snr_db_min >= 100
    golden = result.bundle.golden()
    with torch.no_grad():
        right = before.module(torch.from_numpy(before.evaluation.samples[0][0]))
    assert np.array_equal(golden["output.0.output"], right.numpy())
    recipe = result.bundle.manifest.preprocess
    assert recipe
    assert np.array_equal(golden["input.0.x"], recipe(np.asarray(golden["frame.0"], np.uint8)))
    assert verify_artifacts(open_bundle(result.bundle.path), runs=0).good
