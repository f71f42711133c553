"""Requests survive their JSON form, and a real converter's process reports each precision."""

import dataclasses

import pytest

from exporters.metadata import Metadata
from exporters.processes import run_worker
from exporters.worker import ConvertRequest, RunRequest
from headtail.errors import SchemaFault
from headtail.manifest import Entry
from headtail.strictjson import canonical_bytes, from_json, parse
from headtail.tensors import TensorSpec
from quantizers.recipe import RECIPES

SPEC = TensorSpec("x", "f32", (1, 3))
CONVERT = ConvertRequest(
    "litert",
    (RECIPES["fp32"],),
    ("/tmp/a",),
    "/tmp/f.pt2",
    {"head_a": ("relu",)},
    (SPEC,),
    None,
    "/tmp/s",
)
DESCRIBED = dataclasses.replace(
    CONVERT, metadata=Metadata("net", labels=("a", "b"), inputs={"x": "a row"}, user={"a.b": "c"})
)
RUN = RunRequest(
    "/tmp/a",
    "litert",
    RECIPES["fp32"],
    (Entry("forward", (SPEC,), (SPEC,)),),
    "/tmp/i",
    {"forward": 3},
    "/tmp/o",
    1,
    2,
    1,
)


@pytest.mark.parametrize("request_", [CONVERT, DESCRIBED, RUN])
def test_a_request_survives_json(request_):
    assert from_json(type(request_), parse(canonical_bytes(request_))) == request_


def test_an_option_nobody_knows_is_refused():
    body = parse(canonical_bytes(CONVERT))
    with pytest.raises(SchemaFault, match="Unknown key 'optimise'"):
        from_json(ConvertRequest, {**body, "optimise": True})


@pytest.mark.slow
def test_a_precision_that_cannot_be_leaves_the_others(captured, tmp_path):
    """w8a8 without calibration inputs fails between two that are written."""
    precisions = ("fp32", "w8a8", "fp16")
    paths = [tmp_path / f"net.{precision}.tflite" for precision in precisions]
    request = ConvertRequest(
        "litert",
        tuple(RECIPES[precision] for precision in precisions),
        tuple(map(str, paths)),
        str(captured.program),
        captured.heads,
        captured.entries[0].inputs,
        None,
        str(tmp_path / "scratch"),
    )
    seen: list[str] = []
    events = run_worker(
        request, tmp_path / "work", on_event=lambda e: seen.append(f"{e['event']} {e['precision']}")
    )
    assert seen == [
        "started fp32",
        "converted fp32",
        "started w8a8",
        "failed w8a8",
        "started fp16",
        "converted fp16",
    ]
    assert "needs calibration inputs" in events[3]["what"]
    assert "get_calibration_data" in events[3]["remedy"]
    assert [path.exists() for path in paths] == [True, False, True]
    assert paths[2].stat().st_size < paths[0].stat().st_size
    assert events[1]["seconds"] > events[5]["seconds"]  # the float file is made once
