"""The commands as a user types them: real processes, real converters, a real server."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headtail.bundle import open_bundle
from headtail.demo import serving

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow

CLASSIFIER = """
import numpy as np, torch
from headtail.preprocess import Preprocess
from tests.exporters.nets import Residual, settle
def get_model(): return settle(Residual())
def get_args(): return (torch.zeros(1, 3, 32, 32),)
def get_labels(): return ["a", "b", "c", "d", "e"]
def get_preprocess():
    half = (0.5, 0.5, 0.5)
    return Preprocess(32, 32, "RGB", "crop", 1.0, "bilinear", 1 / 255, half, half, "NCHW")
def get_eval_batches():
    from skimage import data
    return [data.astronaut(), data.chelsea(), data.rocket(), data.coffee()]
"""


def headtail(*arguments, cwd=ROOT, code=0):
    """Run the command; the JSON object it ends with."""
    done = subprocess.run(
        [sys.executable, "-m", "headtail.cli", *map(str, arguments), "--json"],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == code, done.stderr[-4000:]
    (line,) = done.stdout.splitlines()
    return json.loads(line)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier")
    (folder / "net.py").write_text(CLASSIFIER)
    body = headtail(
        "export", folder / "net.py", "-o", folder / "net.bundle", "--precision", "fp32",
        "--cut", "stem", "--cut", "down", "--runs", 3,
    )  # fmt: skip
    return folder / "net.bundle", body


def test_nobodys_special_case_goes_to_all_three_formats(tmp_path):
    body = headtail(
        "export", ROOT / "examples" / "segmentation.py", "-o", tmp_path / "seg.bundle",
        "--precision", "fp32", "--runs", 3,
    )  # fmt: skip
    rows = {row["format"]: row for row in body["artifacts"]}
    assert set(rows) == {"litert", "executorch", "coreml"}
    assert {row["verdict"] for row in rows.values()} == {"pass"}
    assert rows["litert"]["n"] == 3
    manifest = open_bundle(tmp_path / "seg.bundle").manifest
    assert [str(spec) for spec in manifest.outputs] == [
        "output_0:f32[1,2,64,64]",
        "output_1:f32[1,3]",
    ]
    assert manifest.cuts
    again = headtail("verify", tmp_path / "seg.bundle", "--runs", 1)
    assert again["verified"] is True


def test_the_report_carries_every_promised_field(classifier):
    for row in classifier[1]["artifacts"]:
        for key in ("bytes", "agreement", "snr_db_mean", "latency_ms_p50", "timing_kind"):
            assert row[key], (key, row)


def test_every_file_is_guarded(classifier, tmp_path):
    """One changed byte in each file of a real bundle: exit 1, and the file is named."""
    bundle, _ = classifier
    headtail("bench", bundle, "--runs", 2, "--warmup", 1)
    files = [path.relative_to(bundle) for path in bundle.rglob("*") if path.is_file()]
    assert Path("report.json") in files
    for relative in files:
        copy = tmp_path / "copy.bundle"
        shutil.copytree(bundle, copy)
        data = bytearray((copy / relative).read_bytes())
        data[len(data) // 2] ^= 0x20
        (copy / relative).write_bytes(bytes(data))
        body = headtail("verify", copy, "--runs", 1, code=1)
        assert str(relative) in body["what"], body
        shutil.rmtree(copy)


def test_run_whole_and_split_agree(classifier, tmp_path):
    bundle, _ = classifier
    photo = tmp_path / "noise.png"
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    Image.fromarray(pixels).save(photo)
    whole = headtail("run", bundle, photo)["results"][0]
    assert whole["where"] == "local"
    with serving(bundle) as served:
        split = headtail("run", bundle, photo, "--server", served.url)["results"][0]
    assert split["where"] == "split"
    assert split["bytes_up"] > 0
    assert split["top"][0]["label"] == whole["top"][0]["label"]


def test_a_server_that_is_not_there_is_an_environment_error(classifier, tmp_path):
    photo = tmp_path / "grey.png"
    Image.new("RGB", (40, 40), "grey").save(photo)
    url = "http://127.0.0.1:9"  # the discard port, which nothing serves
    body = headtail("run", classifier[0], photo, "--server", url, code=3)
    assert body["error"] == "ServerUnreachable"


def test_plan_prices_every_candidate(classifier):
    body = headtail("plan", classifier[0], "--uplink-mbit", 10, "--rtt-ms", 20)
    names = {candidate["name"] for candidate in body["candidates"]}
    assert {"local", "picture as png", "split at stem with aq8t+deflate"} <= names
    assert body["chosen"]["total_ms"] == min(c["total_ms"] for c in body["candidates"])


def test_a_failed_format_is_exit_1_and_the_rest_is_there(tmp_path):
    (tmp_path / "net.py").write_text(
        "import torch\n"
        "from tests.exporters.nets import settle\n"
        "from tests.exporters.test_pipeline import Distances\n"
        "def get_model(): return settle(Distances())\n"
        "def get_args(): return (torch.randn(1, 3, 32, 32),)\n"
    )
    body = headtail(
        "export", tmp_path / "net.py", "-o", tmp_path / "net.bundle", "--precision", "fp32",
        "--format", "litert", "--format", "coreml", code=1,
    )  # fmt: skip
    verdicts = {row["format"]: row["verdict"] for row in body["artifacts"]}
    assert verdicts == {"litert": "pass", "coreml": "failed"}
    assert open_bundle(tmp_path / "net.bundle").manifest.artifacts[0].format == "litert"
