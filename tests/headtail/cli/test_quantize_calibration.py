"""Calibration inputs that `headtail quantize` refuses, and noise, which it takes by name only."""

import numpy as np
import pytest
from PIL import Image

from exporters.source import load_module
from exporters.sources.calibration_folder import calibrated_with
from headtail.bundle import open_bundle, read_report
from headtail.errors import HeadtailError, SourceFault, UsageFault
from tests.exporters.sources.commands import run

SCRIPT = """
import numpy as np, torch
from torch import nn
from headtail.preprocess import Preprocess

def get_model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU6(), nn.Conv2d(8, 32, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 5),
    ).eval()

def get_args():
    return (torch.zeros(1, 3, 16, 16),)

def inputs(count, seed, scale=1.0):
    generator = np.random.default_rng(seed)
    return [(scale * generator.standard_normal((1, 3, 16, 16))).astype(np.float32)
            for _ in range(count)]

def get_eval_batches():
    return inputs(6, 1)
"""
CALIBRATION = "\ndef get_calibration_data():\n    {}\n"


@pytest.fixture
def script(tmp_path):
    def written(body="", more=""):
        path = tmp_path / "net.py"
        path.write_text(SCRIPT + more + (CALIBRATION.format(body) if body else ""))
        return path

    return written


@pytest.mark.parametrize(
    ("body", "error", "said"),
    [
        ("a = inputs(4, 2); a[2][0, 1, 3, 3] = np.nan; return a", UsageFault,
         r"sample 2 of .* has a NaN or infinite value in input 0"),
        ("a = inputs(4, 2); a[0][0, 0, 0, 0] = np.inf; return a", UsageFault, "sample 0 of"),
        ("return [a[:, :, :8] for a in inputs(4, 2)]", SourceFault,
         r"Calibration inputs are float32\[1, 3, 8, 16\]"),
        ("return [np.concatenate(inputs(4, 2))]", SourceFault, r"\[4, 3, 16, 16\].*batch 1"),
        ("return [a.astype(np.float64) for a in inputs(4, 2)]", SourceFault, "are float64"),
        ("return [*inputs(3, 2), inputs(1, 5)[0][..., :4]]", UsageFault,
         "Like sample 0 it must be"),
        ("return [(a, a) for a in inputs(4, 2)]", SourceFault, "float32.*, float32"),
        ("return []", UsageFault, "is empty"),
        ("return inputs(4, 2, scale=100.0)", UsageFault,
         r"Input 0 reaches from .* in the calibration set and from .* in the evaluation set"),
        ("return inputs(4, 2, scale=0.0)", UsageFault, "reaches from 0 to 0 in the calibration"),
        ("return [*inputs(3, 2), inputs(6, 1)[4]]", SourceFault, "1 evaluation inputs are also"),
        ("return [np.zeros((20, 20, 3), np.uint8)] * 4", SourceFault, "there is no preprocessing"),
    ],
)  # fmt: skip
def test_what_would_set_wrong_ranges_is_refused_before_work(script, tmp_path, body, error, said):
    out = tmp_path / "net.bundle"
    with pytest.raises(error, match=said) as caught:
        run("quantize", script(body), "--recipe", "w8a8", "-o", out)
    assert isinstance(caught.value, HeadtailError)
    assert caught.value.remedy
    assert not out.exists()


def test_nothing_is_made_up_unasked(script):
    with pytest.raises(UsageFault, match="without a calibration set") as caught:
        run("quantize", script(), "--recipe", "w8a8")
    assert "synthetic" in caught.value.remedy


def test_a_folder_called_synthetic_is_not_guessed_at(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "synthetic").mkdir()
    given = ("--recipe", "w8a8", "--calibration-data", "synthetic")
    with pytest.raises(UsageFault, match="There is a folder called synthetic"):
        run("quantize", script(), *given)


def test_a_single_photo_is_told(script, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    unit = """
def get_preprocess():
    return Preprocess(height=16, width=16, colour="RGB", fit="crop", crop_fraction=1.0,
                      resize="bicubic", scale=1.0, mean=(127.0,) * 3, std=(64.0,) * 3,
                      layout="NCHW")
"""
    source = load_module(str(script(more=unit)))
    told = []
    for name in ("a.png", "b.png"):
        noise = np.random.default_rng(ord(name[0])).integers(0, 256, (40, 40, 3), np.uint8)
        Image.fromarray(noise).save(folder / name)
        told.append([r for r in calibrated_with(source, folder).remarks if "one photo" in r])
    assert [len(found) for found in told] == [1, 0]


def test_photos_in_other_units_than_the_evaluation_inputs_are_refused(script, tmp_path):
    (tmp_path / "photos").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "photos" / "a.png")
    bytes_ = """
def get_preprocess():
    return Preprocess(height=16, width=16, colour="RGB", fit="crop", crop_fraction=1.0,
                      resize="bicubic", scale=1.0, mean=(0.0,) * 3, std=(1.0,) * 3, layout="NCHW")
"""
    given = ("--recipe", "w8a8", "--calibration-data", tmp_path / "photos")
    with pytest.raises(UsageFault, match="Both sets are preprocessed in the same way"):
        run("quantize", script(more=bytes_), *given)


@pytest.mark.slow
def test_noise_is_taken_by_name_and_stamped(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "net.bundle"
    given = ("--recipe", "w8a8", "--format", "litert", "--runs", 2, "-o", out)
    found = run("quantize", script(), *given, "--calibration-data", "synthetic")
    told = [note for note in found["remarks"] if "synthetic inputs" in note]
    assert len(told) == 1
    bundle = open_bundle(out)
    fitted = bundle.manifest.artifacts[0].calibration
    assert fitted is not None
    assert fitted.synthetic
    report = read_report(bundle)
    assert report is not None
    assert told[0] in report["notes"]
    assert "calibrated with noise" in (out / "report.html").read_text()
    run("verify", out, "--runs", 2)  # its own notes take the place of the export's
    assert "calibrated with noise" in (out / "report.html").read_text()
