"""The whole way: model to verified bundle, in all three formats, through the real converters."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import headtail
from exporters.convert import plan_conversions
from exporters.pipeline import ExportOptions, export
from exporters.source import from_module, load_module
from exporters.verification import verify_artifacts
from headtail.bundle import Bundle, open_bundle
from headtail.errors import GateFailed, IntegrityFault, UnknownName, UsageFault
from quantizers.calibration import from_arrays
from tests.exporters.nets import Residual, TwoOutputs, settle

ROOT = Path(__file__).parents[2]
IMAGE = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def images(count, seed):
    generator = np.random.default_rng(seed)
    return [generator.standard_normal((1, 3, 32, 32), np.float32) for _ in range(count)]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A classifier with skip connections, every precision that the formats honour."""
    return headtail.export(
        settle(Residual()),
        (IMAGE,),
        output=tmp_path_factory.mktemp("export") / "residual.bundle",
        labels=["a", "b", "c", "d", "e"],
        calibration=images(8, 1),
        evaluation=images(6, 2),
        cuts=["stem", "down"],
    )


@pytest.mark.slow
def test_every_format_and_precision_is_written_and_proven(exported):
    assert not exported.failures
    found = {(row.format, row.precision) for row in exported.rows}
    assert found == {
        *(("litert", p) for p in ("fp32", "fp16", "w8", "w8a8")),
        *(("executorch", p) for p in ("fp32", "w8a8")),
        *(("coreml", p) for p in ("fp32", "fp16", "w8", "w8a8")),
    }
    for row in exported.rows:
        # the interpreter's own time is nobody's latency
        assert row.timing_kind == ("emulated" if row.format == "coreml" else "host")
        assert row.n == 6
        if row.precision == "fp32":
            assert (row.agreement, row.verdict) == (1.0, "pass")
            assert row.snr_db_min >= (85 if row.format == "coreml" else 90)


@pytest.mark.slow
def test_one_file_holds_forward_and_the_heads(exported):
    manifest = exported.bundle.manifest
    assert [cut.id for cut in manifest.cuts] == ["stem", "down"]
    for artifact in manifest.artifacts:
        names = [entry.name for entry in artifact.entries]
        assert names == ["forward", *(f"head_{cut.id}" for cut in manifest.cuts)]


@pytest.mark.slow
def test_the_audit_in_the_manifest_tells_real_dtypes(exported):
    for artifact in exported.bundle.manifest.artifacts:
        wanted = {"fp32": "f32", "fp16": "f16", "w8": "i8", "w8a8": "i8"}[artifact.precision]
        assert max(artifact.dtypes, key=artifact.dtypes.get) == wanted, artifact.dtypes


@pytest.mark.slow
def test_the_bundle_verifies_again_from_disk(exported):
    result = verify_artifacts(open_bundle(exported.bundle.path), runs=1)
    assert result.good
    assert {row.verdict for row in result.rows} <= {"pass", "poor"}


@pytest.mark.slow
def test_a_wrong_artifact_does_not_verify(exported, tmp_path):
    """Golden vectors of another model: hashes are right, answers are not."""
    bundle = exported.bundle
    artifact = bundle.manifest.artifact("litert", "fp32")
    golden = bundle.golden()

    class Lying(Bundle):
        def golden(self):
            return {k: -v if k.startswith("output") else v for k, v in golden.items()}

    result = verify_artifacts(Lying(bundle.path, bundle.manifest), artifacts=[artifact], runs=1)
    assert not result.good
    assert "the gate is 90" in result.rows[0].note


@pytest.mark.slow
def test_a_changed_byte_is_named(exported, tmp_path):
    copy = tmp_path / "residual.bundle"
    shutil.copytree(exported.bundle.path, copy)
    victim = next((copy / "artifacts").glob("*.tflite"))
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(bytes(data))
    with pytest.raises(IntegrityFault) as caught:
        headtail.verify(copy)
    assert caught.value.file == f"artifacts/{victim.name}"


@pytest.mark.slow
def test_same_inputs_same_bundle(exported, tmp_path):
    again = headtail.export(
        settle(Residual()),
        (IMAGE,),
        output=tmp_path / "residual.bundle",
        labels=["a", "b", "c", "d", "e"],
        calibration=images(8, 1),
        evaluation=images(6, 2),
        cuts=["stem", "down"],
        rebuild=True,  # or the cache would answer
    )
    ours, theirs = exported.bundle.manifest.files, again.bundle.manifest.files
    assert {path: ours[path] for path in ours if ours[path] != theirs.get(path)} == {}
    assert again.bundle.manifest.bundle_id == exported.bundle.manifest.bundle_id


@pytest.mark.slow
def test_a_cut_of_two_tensors_in_every_format(tmp_path):
    result = headtail.export(
        settle(Residual()),
        (IMAGE,),
        output=tmp_path / "residual.bundle",
        precisions=["fp32"],
        cuts=["block"],
        evaluation=images(3, 2),
    )
    assert not result.failures
    (cut,) = result.bundle.manifest.cuts
    assert len(cut.tensors) == 2
    assert {a.format for a in result.bundle.manifest.artifacts} == {
        "litert",
        "executorch",
        "coreml",
    }


class Distances(nn.Module):
    """`cdist` is an operator that Core ML's converter does not know and the others do."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        y = self.conv(x)
        return torch.cdist(y[:, 0], y[:, 1])


@pytest.mark.slow
def test_a_format_that_fails_leaves_the_others(tmp_path):
    result = headtail.export(
        settle(Distances()),
        (IMAGE,),
        output=tmp_path / "distances.bundle",
        precisions=["fp32"],
    )
    assert {a.format for a in result.bundle.manifest.artifacts} == {"litert", "executorch"}
    (failure,) = result.failures
    assert failure.format == "coreml"
    assert "cdist" in failure.reason
    assert not result.complete
    assert [row.verdict for row in result.rows if row.format == "coreml"] == ["failed"]


@pytest.mark.slow
def test_a_fault_that_the_converter_does_not_report_is_found(tmp_path):
    """Each converter takes a cancellation that float32 does not hold; the files are inexact."""
    source = load_module(str(ROOT / "examples" / "broken" / "silent_cancellation.py"))
    with pytest.raises(GateFailed, match="the gate is 9"):
        headtail.export(
            source.module,
            source.example,
            output=tmp_path / "cancelled.bundle",
            formats=["executorch"],
            precisions=["fp32"],
        )


@pytest.mark.slow
def test_nothing_proven_means_no_bundle(tmp_path):
    with pytest.raises(GateFailed, match=r"Not one artifact.*cdist"):
        headtail.export(
            settle(Distances()),
            (IMAGE,),
            output=tmp_path / "distances.bundle",
            formats=["coreml"],
            precisions=["fp32"],
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_degenerate_model_is_not_proven_by_equal_zeros(tmp_path):
    """Constant output everywhere: agreement would be perfect and prove nothing."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4))
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    with pytest.raises(GateFailed, match=r"all zero|constant"):
        headtail.export(
            model.eval(),
            (IMAGE,),
            output=tmp_path / "zeros.bundle",
            formats=["litert"],
            precisions=["fp32"],
            evaluation=images(3, 1),
        )


def test_the_destination_is_checked_before_anything_is_done(tmp_path, photo_source):
    with pytest.raises(UsageFault, match=r"NAME\.bundle"):
        export(photo_source, ExportOptions(tmp_path / "model"))
    (tmp_path / "a.bundle").mkdir()
    with pytest.raises(UsageFault, match=r"already exists.*--force"):
        export(photo_source, ExportOptions(tmp_path / "a.bundle"))


def test_unknown_format_precision_and_cut_are_refused(tmp_path):
    source = from_module(settle(TwoOutputs()), (IMAGE,))
    with pytest.raises(UnknownName, match=r"format 'litret'.*Did you mean 'litert'"):
        export(source, ExportOptions(tmp_path / "a.bundle", formats=("litret",)))
    with pytest.raises(UnknownName, match=r"precision 'fp23'.*Did you mean 'fp32'"):
        export(source, ExportOptions(tmp_path / "a.bundle", precisions=("fp23",)))
    with pytest.raises(UnknownName, match=r"cut 'encod'.*Did you mean 'encode'"):
        export(source, ExportOptions(tmp_path / "a.bundle", cuts=("encod",)))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_calibration_set_is_an_error_only_when_asked_for():
    with pytest.raises(UsageFault, match="w8a8 was asked for without a calibration set"):
        plan_conversions(("litert",), ("w8a8",), None)
    pairs, remarks = plan_conversions(("litert",), (), None)
    assert "w8a8" not in {precision for _, precision in pairs}
    assert any("no calibration inputs" in remark for remark in remarks)


def test_a_precision_that_one_format_cannot_honour_is_said():
    calibration = from_arrays([(IMAGE.numpy(),)], source="test", seed=0)
    pairs, remarks = plan_conversions(("litert", "executorch"), ("fp16",), calibration)
    assert pairs == [("litert", "fp16")]
    assert any(re.match("executorch does not honour fp16", remark) for remark in remarks)
    with pytest.raises(UsageFault, match="executorch cannot honour fp16: executorch"):
        plan_conversions(("executorch",), ("fp16",), calibration)


@pytest.mark.slow
def test_golden_vectors_replay_the_reference(exported):
    bundle = exported.bundle
    golden = bundle.golden()
    model = settle(Residual())
    with torch.no_grad():
        out = model(torch.from_numpy(np.array(golden["input.0.x"])))
    np.testing.assert_array_equal(out.numpy(), golden["output.0.output"])
    assert json.loads((bundle.path / "manifest.json").read_text())["bundle_id"]
