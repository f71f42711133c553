import hashlib
import io

import numpy as np
import pytest

from headtail.bundle.reading import load_manifest, sha256_of
from headtail.errors import UnknownName, UsageFault
from tests.support.bundles import FILES, LOGITS, tiny_bundle


def test_files_are_found_by_name(tmp_path):
    bundle = tiny_bundle(tmp_path)
    rel = "artifacts/tiny.fp32.tflite"
    assert bundle.file(rel).read_bytes() == FILES[rel]
    assert bundle.artifact_path(bundle.manifest.artifact("litert", "fp32")) == bundle.file(rel)
    assert bundle.artifact_path(bundle.manifest.artifact("coreml", "fp32")).is_dir()


@pytest.mark.parametrize("rel", ["artifacts/tiny.fp32.tflit", "../secret", "manifest.json"])
def test_other_files_are_not_handed_out(tmp_path, rel):
    with pytest.raises(UnknownName, match=r"golden\.safetensors"):
        tiny_bundle(tmp_path).file(rel)


def test_golden_vectors(tmp_path):
    golden = tiny_bundle(tmp_path).golden()
    assert golden["frame.0"].dtype == np.uint8
    assert golden["output.1.logits"].shape == LOGITS.shape
    assert {name for name in golden if name.startswith("cut.late.0.")} == {
        "cut.late.0.gate",
        "cut.late.0.mul",
    }


def test_what_is_no_bundle_is_a_usage_fault(tmp_path):
    for path in (tmp_path, tmp_path / "absent.bundle"):
        with pytest.raises(UsageFault, match="is not a bundle"):
            load_manifest(path)


def test_sha256_of_more_than_one_chunk():
    # FIPS 180-2, appendix B.3: one million times "a"
    assert sha256_of(io.BytesIO(b"a" * 1_000_000)).startswith("cdc76e5c9914fb92")
    # and 2 MiB + 1, across three chunks, against the same bytes at once
    data = bytes(2 * (1 << 20) + 1)
    assert sha256_of(io.BytesIO(data)) == hashlib.sha256(data).hexdigest()
