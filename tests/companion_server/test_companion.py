"""The phone's own client, `headtail.offload.client.Companion`, against this server."""

import numpy as np
import pytest

from headtail.errors import BundleMismatch, UnknownName
from headtail.offload.client import Companion
from headtail.offload.refusals import NotHeld


@pytest.fixture
def companion(server):
    client = Companion(server.url)
    yield client
    client.close()


def boundary(bundle, cut_id, sample=0):
    cut, golden = bundle.manifest.cut(cut_id), bundle.golden()
    return cut, [golden[f"cut.{cut_id}.{sample}.{spec.name}"] for spec in cut.tensors]


def test_ready_and_listing(companion, bundle):
    assert companion.ready()
    (listed,) = companion.bundles()
    assert listed["bundle_id"] == bundle.manifest.bundle_id


@pytest.mark.parametrize("cut_id", ["c1", "c2"])
@pytest.mark.parametrize(("codec", "tolerance"), [("raw32", 1e-5), ("aq8t+deflate", 0.02)])
def test_tails_give_the_golden_outputs(companion, bundle, cut_id, codec, tolerance):
    for sample in (0, 1):
        cut, arrays = boundary(bundle, cut_id, sample)
        reply = companion.infer_tail(
            "toy", bundle.manifest.bundle_id, cut, codec, arrays, deadline_ms=5000
        )
        assert reply.names == ("output_0", "output_1")
        for i, output in enumerate(reply.outputs):
            expected = bundle.golden()[f"output.{sample}.output_{i}"]
            assert float(np.abs(output - expected).max()) < tolerance
        assert set(reply.server) == {"decode_ms", "queue_ms", "compute_ms"}
        assert sum(reply.server.values()) < reply.round_trip_ms


def test_a_download_that_was_interrupted_is_continued(companion, bundle, server, tmp_path):
    stored = server.store.bundle(bundle.manifest.bundle_id)
    part = tmp_path / f".toy.bundle.{stored.zip_sha256}.part"
    part.write_bytes(b"".join(stored.read(0, 1000)))
    got = companion.download(bundle.manifest.bundle_id, tmp_path / "toy.bundle")
    assert got.manifest == bundle.manifest
    assert not part.exists()


def test_refusals_arrive_as_the_clients_errors(companion, bundle, newer):
    cut, arrays = boundary(newer, "c1")
    with pytest.raises(BundleMismatch) as caught:
        companion.infer_tail(
            "toy", newer.manifest.bundle_id, cut, "raw32", arrays, deadline_ms=5000
        )
    assert caught.value.held == {bundle.manifest.bundle_id: ["c1", "c2"]}
    with pytest.raises(NotHeld):
        companion.infer_tail("cat", "0" * 64, cut, "raw32", arrays, deadline_ms=5000)
    with pytest.raises(UnknownName):
        companion.download("0" * 64, bundle.path.parent / "other.bundle")
