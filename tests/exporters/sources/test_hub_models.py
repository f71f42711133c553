"""timm and torchvision by name, with random weights that prove something."""

import numpy as np
import pytest
import torch
from PIL import Image

from exporters.source import SourceModel, load_source
from headtail.errors import SourceFault, UnknownName, UsageFault

pytestmark = pytest.mark.slow  # importing timm and torchvision takes seconds


def load(source, **options):
    found = load_source(source, **options)
    assert isinstance(found, SourceModel)
    return found


@pytest.mark.parametrize("source", ["timm:test_resnet", "torchvision:squeezenet1_1"])
def test_a_name_gives_a_network_with_photos_and_preprocessing(source):
    model = load(f"{source}?pretrained=0")
    kind, _, name = source.partition(":")
    assert model.name == name
    assert model.origin == f"{source}, weights: random as asked, seed 0"
    assert model.remarks == ("weights: random as asked, seed 0",)
    assert model.labels == ()  # random weights classify nothing
    assert model.preprocess is not None
    assert model.calibration is not None
    assert (model.calibration.provenance.count, model.evaluation.provenance.count) == (64, 10)
    side = {"timm": 160, "torchvision": 224}[kind]
    assert model.example[0].shape == (1, 3, side, side)
    assert len(model.frames) == 10


def test_random_weights_are_the_same_every_time_and_tell_inputs_apart():
    first, second = (load("timm:test_resnet?pretrained=0") for _ in range(2))
    rows = [torch.from_numpy(sample[0]) for sample in first.evaluation.samples]
    with torch.no_grad():
        answers = torch.cat([first.module(row) for row in rows])
        assert torch.equal(answers, torch.cat([second.module(row) for row in rows]))
    assert torch.isfinite(answers).all()
    assert float(answers.std(0).mean()) > 1e-3 * float(answers.abs().mean())
    constant = [
        name
        for name, p in first.module.named_parameters()
        if p.numel() > 1 and bool((p == p.flatten()[0]).all())
    ]
    assert constant == []


@pytest.mark.parametrize(
    ("source", "near"),
    [("timm:mobilenetv3_smal_100", "mobilenetv3_small_100"), ("torchvision:resnet81", "resnet18")],
)
def test_a_wrong_name_suggests_near_ones(source, near):
    with pytest.raises(UnknownName, match=near):
        load_source(source)


def test_torchvision_detectors_are_refused_with_a_way_out():
    with pytest.raises(SourceFault, match=r"prepared by ObjectDetection\. .*file\.py"):
        load_source("torchvision:ssdlite320_mobilenet_v3_large?pretrained=0")


def test_a_segmentation_network_of_torchvision_has_its_named_output():
    model = load("torchvision:lraspp_mobilenet_v3_large?pretrained=0")
    assert model.example[0].shape == (1, 3, 520, 520)
    with torch.no_grad():
        assert {k: tuple(v.shape) for k, v in model.module(*model.example).items()} == {
            "out": (1, 21, 520, 520)
        }
    assert model.task == "tensor"


def test_a_folder_of_photos_replaces_the_packages_own(tmp_path):
    rng = np.random.default_rng(0)
    for index in range(4):
        corner = rng.integers(0, 255, (3, 3, 3), np.uint8)
        Image.fromarray(corner).resize((200, 180)).save(tmp_path / f"{index}.png")
    model = load("timm:test_resnet?pretrained=0", images=tmp_path)
    assert model.evaluation.provenance.count == 2
    assert model.evaluation.provenance.source == f"photos in {tmp_path.name}"
    (tmp_path / "4.png").write_bytes(b"broken")
    with pytest.raises(UsageFault, match=r"4\.png cannot be read"):
        load("timm:test_resnet?pretrained=0", images=tmp_path)


def test_a_folder_without_photos_is_refused(tmp_path):
    with pytest.raises(UsageFault, match="There are 0 photos"):
        load("timm:test_resnet?pretrained=0", images=tmp_path)
