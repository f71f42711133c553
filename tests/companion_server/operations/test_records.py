import dataclasses

import numpy as np

from companion_server.jobs import Job, Result
from companion_server.operations.records import RequestRecord
from headtail.tensors import TensorSpec
from tests.support.bundles import golden_tensors, manifest_of

MANIFEST = dataclasses.replace(
    manifest_of(golden_tensors(), name="toy"),
    bundle_id="ab" * 32,
    inputs=(TensorSpec("image", "f32", (1, 3, 8, 8)), TensorSpec("mask", "i8", (1, 5))),
)


def job(cut):
    return Job(MANIFEST.bundle_id, cut, (np.zeros((4, 2), np.float32),), "key", None)


def test_a_split_request_is_held_against_the_model_s_inputs_as_float32():
    record = RequestRecord()
    record.asked(MANIFEST, job("early"), "aq8t")
    assert (record.model, record.bundle_id) == ("toy", "ab" * 32)
    assert (record.cut, record.codec) == ("early", "aq8t")
    assert record.raw32_bytes == 4 * (3 * 8 * 8 + 5) * 4


def test_a_whole_model_saves_nothing():
    record = RequestRecord()
    record.asked(MANIFEST, job(""), "")
    assert (record.cut, record.raw32_bytes) == ("", 0)


def test_times_are_the_result_s():
    record = RequestRecord()
    record.computed(Result([], 1.5, 2.5, 8), decode_ms=0.25, encode_ms=0.5)
    times = (record.decode_ms, record.queue_ms, record.compute_ms, record.encode_ms)
    assert times == (0.25, 1.5, 2.5, 0.5)
    assert record.batch == 8
    record.finish(200)
    assert record.status == 200
    assert 0 < record.total_ms < 60_000
