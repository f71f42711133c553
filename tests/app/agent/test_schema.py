"""Jobs are read strictly: every key, no other, known kinds, counts that make sense."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.agent.schema import BundleJob, CallsJob, read_job
from headtail.errors import HeadtailError, SchemaFault

BUNDLE = {
    "schema_version": 1,
    "kind": "bundle",
    "bundle": "net.bundle",
    "benchmark": True,
    "threads": [1],
    "warmup": 0,
    "runs": 1,
    "cool_down_s": 0.0,
}
CALLS = {
    "schema_version": 1,
    "kind": "calls",
    "format": "litert",
    "model": "net.tflite",
    "sha256": "0" * 64,
    "runtime": "",
    "accelerator": "cpu",
    "threads": 1,
    "warmup": 0,
    "runs": 1,
    "entries": [],
    "calls": [{"entry": "forward", "inputs": ["in0.npy"]}],
}


def data(value, **changes):
    return json.dumps(value | changes).encode()


def test_both_kinds_are_read():
    assert isinstance(read_job(data(BUNDLE)), BundleJob)
    assert isinstance(read_job(data(CALLS)), CallsJob)


@pytest.mark.parametrize(
    ("job", "says"),
    [
        (data(BUNDLE, kind="dance"), r"kind 'dance' is not known @ \$\.kind"),
        (b"[]", r"kind 'None' is not known"),
        (b"{", "Not JSON"),
        (data(BUNDLE, schema_version=2), r"Schema version 2 is not 1 @ \$\.schema_version"),
        (data(BUNDLE, server="https://x"), "Unknown key 'server'"),
        (data({k: v for k, v in CALLS.items() if k != "sha256"}), "Missing key 'sha256'"),
        (data(BUNDLE, threads=[]), "too small"),
        (data(BUNDLE, threads=[0]), "too small"),
        (data(BUNDLE, runs=0), "too small"),
        (data(BUNDLE, cool_down_s=-1.0), "too small"),
        (data(CALLS, warmup=-1), "too small"),
        (data(BUNDLE, cool_down_s=1e300), "too large"),
        (data(BUNDLE, threads=[10**400]), "too large"),
        (data(CALLS, runs=10**9), "too large"),
        (data(CALLS, threads="1"), r"Expected an integer, got '1' @ \$\.threads"),
    ],
)
def test_anything_else_is_refused_with_its_place(job, says):
    with pytest.raises(SchemaFault, match=says):
        read_job(job)


@given(st.binary(max_size=200) | st.recursive(st.none() | st.integers(), st.lists).map(json.dumps))
@settings(deadline=None, max_examples=40)
def test_no_bytes_end_in_another_error(value):
    with pytest.raises(HeadtailError):
        read_job(value if isinstance(value, bytes) else value.encode())
