"""A bundle checked again: what verifies, what does not, and what a wrong bundle says."""

import dataclasses

import numpy as np
import pytest

from exporters.verification import golden_inputs, golden_reference, verify_artifacts
from headtail.bundle import Bundle
from headtail.errors import SchemaFault
from headtail.strictjson import to_json
from headtail.tensors import Array
from quantizers.litert_backend import quantize_file
from quantizers.plan import Plan
from quantizers.recipe import recipe

pytestmark = pytest.mark.slow


@dataclasses.dataclass(frozen=True)
class Changed(Bundle):
    """A bundle with other golden vectors: hashes are not looked at here."""

    vectors: dict[str, Array]

    def golden(self):
        return self.vectors


def changed(bundle, change):
    vectors = {key: array.copy() for key, array in bundle.golden().items()}
    change(vectors)
    return Changed(bundle.path, bundle.manifest, vectors)


def with_artifact(bundle, **changes):
    (artifact,) = bundle.manifest.artifacts
    return dataclasses.replace(artifact, **changes)


def test_what_was_packed_verifies(litert_bundle):
    result = verify_artifacts(litert_bundle, runs=2, warmup=0)
    assert result.good
    (row,) = result.rows
    assert (row.verdict, row.agreement, row.n, row.note) == ("pass", 1.0, 4, "")
    assert row.snr_db_min is not None
    assert row.snr_db_min > 90
    assert row.timing_kind == "host"
    assert set(result.timings["litert.fp32"]) == {"forward", "head_stem", "head_block"}
    assert list(result.seconds) == ["verify litert.fp32"]


def test_golden_vectors_are_read_in_the_manifests_order(litert_bundle, expected):
    found = golden_reference(litert_bundle)
    assert len(golden_inputs(litert_bundle)) == len(found.outputs) == 4
    for cut, samples in found.cuts.items():
        for right, seen in zip(expected.cuts[cut], samples, strict=False):
            for a, b in zip(right, seen, strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("drop", "words"),
    [
        ("input.0.x", "not numbered from 0"),
        ("output.2.output", r"no golden vector 'output\.2\.output'"),
        ("cut.stem.1.", r"no golden vector 'cut\.stem\.1\."),
    ],
)
def test_a_missing_golden_vector_is_named(litert_bundle, drop, words):
    def change(golden):
        for key in [key for key in golden if key.startswith(drop)]:
            del golden[key]

    with pytest.raises(SchemaFault, match=words):
        golden_reference(changed(litert_bundle, change))


def test_a_head_that_answers_wrongly_does_not_verify(litert_bundle):
    def change(golden):
        for key in golden:
            if key.startswith("cut.stem."):
                golden[key] *= 1.001

    result = verify_artifacts(changed(litert_bundle, change), runs=1, warmup=0)
    assert not result.good
    assert result.rows[0].note.startswith("head at stem: SNR 60.0 dB")


@pytest.mark.parametrize(("promised_db", "verdict"), [(0.0, "poor"), (150.0, "failed")])
def test_a_quantized_file_may_not_be_worse_than_its_manifest(
    litert_bundle, litert_file, tmp_path, promised_db, verdict
):
    """One that was poor stays poor; one that answers worse than recorded is another file."""
    path = tmp_path / "residual.w8.tflite"
    quantize_file(litert_file, path, Plan(recipe("w8")), {})
    agreement = dataclasses.replace(
        litert_bundle.manifest.artifacts[0].agreement, snr_db_min=promised_db
    )
    artifact = with_artifact(
        litert_bundle, path=str(path), precision="w8", verdict="poor", agreement=agreement
    )
    manifest = dataclasses.replace(litert_bundle.manifest, recipes={"w8": to_json(recipe("w8"))})
    bundle = Bundle(litert_bundle.path, manifest)
    (row,) = verify_artifacts(bundle, artifacts=[artifact], runs=1, warmup=0).rows
    assert row.verdict == verdict
    assert row.note.endswith("the manifest recorded 150.0" if verdict == "failed" else "")


def test_a_precision_that_the_manifest_does_not_explain_fails(litert_bundle):
    bundle = Bundle(litert_bundle.path, dataclasses.replace(litert_bundle.manifest, recipes={}))
    (row,) = verify_artifacts(bundle, runs=1, warmup=0).rows
    assert row.verdict == "failed"
    assert row.note == "There is no recipe of this name @ $.recipes.fp32."


def test_an_artifact_without_forward_fails_alone(litert_bundle):
    entries = tuple(e for e in litert_bundle.manifest.artifacts[0].entries if e.name != "forward")
    for kept in (entries, ()):
        artifacts = [
            with_artifact(litert_bundle, entries=kept),
            *litert_bundle.manifest.artifacts,
        ]
        result = verify_artifacts(litert_bundle, artifacts=artifacts, runs=1, warmup=0)
        assert [row.verdict for row in result.rows] == ["failed", "pass"]
        assert "Unknown entry point" in result.rows[0].note


def test_an_artifact_of_no_known_format_fails_alone(litert_bundle):
    artifact = with_artifact(litert_bundle, format="onnx")
    (row,) = verify_artifacts(litert_bundle, artifacts=[artifact], runs=1, warmup=0).rows
    assert row.verdict == "failed"
    assert "onnx" in row.note
