"""What `headtail quantize` leaves in the report: every section filled, by what was made."""

import numpy as np
import pytest

from headtail.bundle import open_bundle, read_report
from headtail.report import Report
from headtail.report_page import contents
from headtail.strictjson import to_json
from tests.exporters.sources.commands import run
from tests.headtail.report_page.test_page import Page, assert_numbers_are_the_json_s

SCRIPT = """
import numpy as np, torch
from torch import nn

def get_model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU6(),
        nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.ReLU6(), nn.Conv2d(8, 32, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 5),
    ).eval()

def get_args():
    return (torch.zeros(1, 3, 16, 16),)

def get_labels():
    return list("abcde")

def inputs(count, seed):
    generator = np.random.default_rng(seed)
    return [generator.standard_normal((1, 3, 16, 16)).astype(np.float32) for _ in range(count)]

def get_calibration_data():
    return [10.0 ** (i % 3 - 2) * a for i, a in enumerate(inputs(3, 2))]

def get_eval_batches():
    return inputs(30, 1)
"""


@pytest.mark.slow
def test_every_section_of_the_report_has_its_figures(tmp_path):
    (tmp_path / "net.py").write_text(SCRIPT)
    out = tmp_path / "net.bundle"
    given = ("--recipe", "w8,w8a8,w4", "--format", "litert", "--runs", 2, "-o", out)
    found = run("quantize", tmp_path / "net.py", *given)
    quality = found["quality"]
    assert [one["precision"] for one in quality["noise"]] == ["w8", "w8a8", "w4"]
    assert [one["storage"] for one in quality["sensitivity"]] == ["w8", "w4"]  # w8a8's are w8's
    layers = ["0", "3", "5", "9"]
    for profile in (*quality["noise"], *quality["sensitivity"]):
        assert [one["layer"] for one in profile["layers"]] == layers
    assert [one["op"] for one in quality["noise"][0]["layers"]] == [
        "conv",
        "depthwise",
        "conv",
        "linear",
    ]
    last = {one["precision"]: one["layers"][-1]["snr_db"] for one in quality["noise"]}
    assert last["w8"] > last["w8a8"]
    assert last["w8"] > last["w4"]
    audits = {one["precision"]: one["audit"] for one in quality["reports"]}
    assert audits["w8a8"].startswith("asked w8a8, got ")
    assert "int8 activations" in audits["w8a8"]
    assert "int4" in audits["w4"]
    assert quality["halves"]["count"] == 3
    assert [note for note in found["remarks"] if "calibration set is too small" in note]
    assert "inf dB" not in " ".join(quality["steps"])
    bundle = open_bundle(out)  # sheets too
    changed = {one["precision"] for one in quality["reports"] if one["changed"]}
    sheets = {path.name.split(".")[2] for path in out.glob("report.*.jpg")}
    assert sheets == changed
    report = read_report(bundle)
    assert report is not None
    known = to_json(contents(bundle.manifest, Report.from_json(report)))
    page = Page((out / "report.html").read_text())
    assert_numbers_are_the_json_s(page, known)
    assert np.isfinite([one["damage"] for one in quality["sensitivity"][0]["layers"]]).all()
