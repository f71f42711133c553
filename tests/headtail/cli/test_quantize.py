"""`headtail quantize`: a small network fitted to a folder of photos, gates, and what is refused."""

import numpy as np
import pytest
from PIL import Image
from skimage import data

from headtail.bundle import open_bundle
from headtail.errors import UnknownName, UsageFault
from tests.exporters.sources.commands import run

SCRIPT = """
import numpy as np, torch
from pathlib import Path
from PIL import Image
from torch import nn
from headtail.preprocess import Preprocess

def get_model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU6(),
        nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.BatchNorm2d(8), nn.ReLU6(),
        nn.Conv2d(8, 32, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 5),
    ).eval()

def get_args():
    return (torch.zeros(1, 3, 32, 32),)

def get_labels():
    return list("abcde")

def get_preprocess():
    return Preprocess(height=32, width=32, colour="RGB", fit="crop", crop_fraction=1.0,
                      resize="bicubic", scale=1.0, mean=(127.0,) * 3, std=(64.0,) * 3,
                      layout="NCHW")

def get_eval_batches():
    photos = sorted((Path(__file__).parent / "judged").glob("*.png"))
    return [np.asarray(Image.open(photo)) for photo in photos]
"""


def write(folder, *photos):
    folder.mkdir()
    for index, photo in enumerate(photos):
        Image.fromarray(photo).save(folder / f"{index}.png")
    return folder


@pytest.fixture
def model(tmp_path):
    (tmp_path / "net.py").write_text(SCRIPT)
    astronaut = data.astronaut()
    parts = [astronaut[y : y + 200, x : x + 200] for y in (0, 250) for x in (0, 250)]
    write(tmp_path / "judged", *parts)
    return tmp_path / "net.py"


@pytest.fixture
def photos(tmp_path):
    return write(tmp_path / "photos", data.coffee(), np.stack([data.camera()] * 3, -1))


@pytest.mark.slow
def test_a_folder_of_photos_calibrates_and_gates_decide(model, photos, tmp_path):
    given = ("--recipe", "w8,w8a8", "--format", "litert", "--calibration-data", photos, "--runs", 2)
    out = tmp_path / "small.bundle"
    gates = ("--fail-on", "faithful<10,size_mb>1")
    found = run("quantize", model, *given, "-o", out, *gates)
    assert found["failed_gates"] == []
    reports = {report["precision"]: report for report in found["quality"]["reports"]}
    assert set(reports) == {"w8", "w8a8"}
    assert reports["w8"]["faithful"]["db_min"] >= 90  # the gate of float32, against its own program
    assert reports["w8"]["snr_db"]["value"] > reports["w8a8"]["snr_db"]["value"] > 15
    assert found["quality"]["steps"]
    manifest = open_bundle(out).manifest
    assert manifest.calibration is not None
    assert manifest.calibration.source == "crops of 2 photos in photos"
    assert (manifest.calibration.count, manifest.cuts) == (64, ())
    failed = run("quantize", model, *given, "-o", out, "--force", "--fail-on", "snr<90", good=False)
    assert len(failed["failed_gates"]) == 2


def test_a_photo_that_judges_may_not_calibrate(model, tmp_path):
    same = np.asarray(Image.open(tmp_path / "judged" / "2.png"))
    folder = write(tmp_path / "both", data.coffee(), same)
    with pytest.raises(UsageFault, match=r"'1.png' calibrates and, as 'evaluation photo 2'"):
        run("quantize", model, "--recipe", "w8", "--calibration-data", folder)


def test_a_folder_without_photos_is_refused(model, tmp_path):
    with pytest.raises(UsageFault, match="There are no photos"):
        run("quantize", model, "--recipe", "w8", "--calibration-data", tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        (("--recipe", "w3"), UnknownName, "recipe .w3."),
        (("--recipe", "none.json"), UsageFault, "none.json is no recipe"),
        (("--recipe", "mixed"), UsageFault, "without a budget"),
        (("--recipe", "w8", "--max-mb", 5), UsageFault, "budget was given for w8"),
        (("--recipe", "w8", "--fail-on", "agrees<.9"), UnknownName, "figure 'agrees'"),
        (("--recipe", "p4", "--format", "litert"), UsageFault, "litert cannot honour p4"),
    ],
)
def test_what_is_not_known_is_refused_before_work(model, given, error, said):
    with pytest.raises(error, match=said):
        run("quantize", model, *given)


@pytest.mark.slow
def test_a_bundle_gets_more_precisions_of_its_own_program(model, photos, tmp_path):
    out = tmp_path / "net.bundle"
    run("export", model, "--format", "litert", "--precision", "fp32", "--runs", 2, "-o", out)
    before = open_bundle(out).manifest
    recipe = tmp_path / "mine.json"
    recipe.write_text(
        '{"name": "mine", "weights": "i8", "rules": [{"match": "*", "ops": ["linear"]}]}'
    )
    given = ("--recipe", f"w8a8,{recipe}", "--format", "litert", "--calibration-data", photos)
    found = run("quantize", out, *given, "--runs", 2)
    after = open_bundle(out).manifest  # every byte checked
    assert [a.precision for a in after.artifacts] == ["fp32", "w8a8", "mine"]
    assert after.artifacts[0] == before.artifacts[0]
    assert (after.cuts, after.tails, after.evaluation) == (
        before.cuts,
        before.tails,
        before.evaluation,
    )
    assert after.recipes["mine"]["rules"][0]["weights"] == "f32"
    assert after.artifacts[2].dtypes.keys() >= {"i8", "f32"}
    fitted = after.artifacts[1].calibration
    assert fitted is not None
    assert (fitted.count, before.artifacts[0].calibration) == (64, None)
    assert found["bundle_id"] == after.bundle_id != before.bundle_id
    reports = {report["precision"] for report in found["quality"]["reports"]}
    assert reports == {"fp32", "w8a8", "mine"}
    run("verify", out, "--runs", 2)
    with pytest.raises(UsageFault, match=r"already holds litert\.mine, litert\.w8a8"):
        run("quantize", out, *given)
    # another recipe of the same name, in another format: the manifest could name only one of them
    recipe.write_text('{"name": "mine", "weights": "i8"}')
    other = ("--recipe", recipe, "--format", "coreml", "--calibration-data", photos, "--runs", 2)
    with pytest.raises(UsageFault, match=r"holds litert\.mine, made by another recipe"):
        run("quantize", out, *other)
    assert open_bundle(out).manifest == after


@pytest.mark.slow
def test_a_bundle_without_its_program_cannot_be_quantized(model, photos, tmp_path):
    out = tmp_path / "net.bundle"
    given = ("--format", "litert", "--precision", "fp32", "--runs", 2, "--no-split")
    run("export", model, *given, "-o", out)
    with pytest.raises(UsageFault, match="holds no program"):
        run("quantize", out, "--recipe", "w8", "--calibration-data", photos)


@pytest.mark.slow
def test_tuning_training_and_a_budget_are_told_and_kept(model, photos, tmp_path):
    out = tmp_path / "small.bundle"
    given = ("--recipe", "w4,mixed", "--max-mb", ".012", "--format", "litert", "--runs", 2)
    more = ("--tune", 2, "--finetune", 2, "--calibration-data", photos)
    found = run("quantize", model, *given, *more, "-o", out)
    steps = found["quality"]["steps"]
    for precision in ("w4", "mixed"):
        said = [step for step in steps if step.startswith(f"{precision}: ")]
        assert any("tuned in 2 trials of 8 (6 saved)" in step for step in said)
        assert any("finetuned" in step for step in said)
    assert any("weights" in step and "bytes" in step for step in steps)
    manifest = open_bundle(out).manifest
    assert {a.precision: a.bytes <= 12_000 for a in manifest.artifacts}["mixed"]
    assert manifest.recipes["mixed"]["weights"] == "i8"
    assert found["failed_gates"] == []
    small = ("--recipe", "mixed", "--max-mb", ".0001", *more[4:])
    with pytest.raises(UsageFault, match="bytes"):
        run("quantize", model, *small, "-o", tmp_path / "none.bundle")
