"""What goes into a bundle, without a converter: the artifact is a file of a few bytes."""

import dataclasses

import numpy as np
import pytest
import torch

from exporters.captured import capture_source, tail_of
from exporters.conversion import Conversion
from exporters.packing import Proof, pack
from exporters.parity import judge
from exporters.prove import Observation
from exporters.target import target
from exporters.versions import tool_versions
from headtail.bundle import open_bundle
from headtail.errors import SourceFault
from headtail.manifest import Coverage, LeftOver
from quantizers.recipe import RECIPES
from tests.exporters.nets import Residual, settle

GOLDEN = 2
COVERAGE = Coverage("XNNPACK", 0.991, 3, (LeftOver("aten.roll", "layers.2.blocks.1", 4),))


@pytest.fixture
def packing(photo_source, captured, tail, cuts, expected, tmp_path):
    """`pack` with everything right; keywords put something else in its place."""
    artifact = tmp_path / "residual.fp32.tflite"
    artifact.write_bytes(b"not a real file")
    outputs = {"forward": expected.outputs}
    outputs |= {f"head_{cut}": arrays[:GOLDEN] for cut, arrays in expected.cuts.items()}
    timing = {"kind": "host", "p50_ms": 1.5, "p90_ms": 2.5}
    seen = Observation(outputs, {"forward": timing}, 3.0, "2.3", {"f32": 100})
    aim = target("litert")
    proof = Proof(
        Conversion("litert", RECIPES["fp32"], artifact, {"drop_no_ops": 2}, COVERAGE, 1.5, 10**9),
        captured.entries,
        artifact.stat().st_size,
        aim,
        judge(aim, "fp32", expected, outputs, classifies=True),
        seen,
    )

    def go(name="residual", source=photo_source, **other):
        given = {
            "forward": captured.entries[0],
            "tail": tail,
            "cuts": cuts,
            "expected": expected,
            **other,
        }
        destination = tmp_path / "out" / f"{name}.bundle"
        destination.parent.mkdir(exist_ok=True)
        return pack(
            source, [proof], destination=destination, force=False, golden_samples=GOLDEN, **given
        )

    return go


def test_the_manifest_says_what_was_proven(packing, photo_source):
    manifest = open_bundle(packing().path).manifest
    (artifact,) = manifest.artifacts
    assert artifact.path == "artifacts/residual.fp32.tflite"
    assert (artifact.bytes, artifact.verdict, artifact.dtypes) == (15, "pass", {"f32": 100})
    assert (artifact.runtime, artifact.minimum_runtime) == ("litert 2.3", "ai-edge-litert>=2.0")
    assert [e.name for e in artifact.entries] == ["forward", "head_stem", "head_block"]
    assert (manifest.task, manifest.labels) == ("classification", photo_source.labels)
    assert manifest.calibration is not None
    assert (manifest.calibration.count, manifest.evaluation.count) == (5, 6)
    assert manifest.calibration.sha256 != manifest.evaluation.sha256


def test_the_same_export_has_the_same_bytes(packing):
    assert packing("a").manifest.bundle_id == packing("b").manifest.bundle_id


def test_golden_vectors_are_photos_inputs_outputs_and_activations(
    packing, photo_source, captured, expected
):
    golden = packing().golden()
    names = {"input.{}.x", "output.{}.output", "frame.{}"}
    names |= {f"cut.{c.id}.{{}}.{spec.name}" for c in captured.cuts for spec in c.tensors}
    assert set(golden) == {name.format(i) for name in names for i in range(GOLDEN)}
    np.testing.assert_array_equal(golden["frame.1"], photo_source.frames[1])
    np.testing.assert_array_equal(
        golden["input.1.x"], photo_source.preprocess(photo_source.frames[1])
    )
    np.testing.assert_array_equal(golden["output.1.output"], expected.outputs[1][0])


def test_a_tail_of_another_model_is_found_and_nothing_is_written(
    packing, photo_source, expected, tmp_path
):
    other = Residual()
    torch.nn.init.normal_(other.head.weight)
    changed = dataclasses.replace(photo_source, module=settle(other))
    changed.module.head.bias.data += 1
    wrong, _ = capture_source(changed, tmp_path, cuts=("stem",))
    with pytest.raises(SourceFault, match="does not continue the head bit for bit"):
        packing(tail=tail_of(changed, wrong)[0])
    assert list((tmp_path / "out").iterdir()) == []


def test_versions_name_every_tool():
    found = tool_versions()
    for tool in ("python", "torch", "executorch", "coremltools", "litert-torch", "headtail"):
        assert found[tool]
