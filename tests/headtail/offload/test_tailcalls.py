import numpy as np
import pytest

from headtail.errors import BundleMismatch, WireFault
from headtail.offload.tailcalls import check_answer, encode_call
from headtail.wire import oip, split
from headtail.wire.boundary import INPUT_NAME, decode_boundary


def test_a_call_carries_everything_a_server_needs(bundle):
    cut = bundle.manifest.cuts[0]
    arrays = [np.full(spec.shape, 0.25, np.float32) for spec in cut.tensors]
    sent = encode_call("b" * 64, cut, "raw32", arrays, deadline_ms=12.7, call_id="7")
    request = oip.decode_request(*sent)
    assert (request.id, request.binary_outputs) == ("7", True)
    assert request.parameters == {
        "split.bundle": "b" * 64,
        "split.cut": cut.id,
        "split.codec": "raw32",
        "split.deadline_ms": 12,
    }
    assert request.inputs[0].name == INPUT_NAME
    found = decode_boundary(request.inputs[0].array.tobytes(), cut)
    assert [array.tolist() for array in found] == [array.tolist() for array in arrays]


def test_an_answer_of_another_bundle_is_refused():
    output = oip.NamedArray("y", np.arange(3))
    with pytest.raises(BundleMismatch, match="'aa'"):
        check_answer(oip.InferResponse("m", "aa", (output,), id="7"), "bb", "7")


def test_outputs_are_copies():
    body = np.arange(3)
    (found,) = check_answer(oip.InferResponse("m", "aa", (oip.NamedArray("y", body),)), "aa", "")
    assert not np.shares_memory(found, body)


def test_an_answer_to_another_request_is_refused():
    with pytest.raises(WireFault, match="answered request '6'"):
        check_answer(oip.InferResponse("m", "bb", (), id="6"), "bb", "7")


def test_outputs_that_were_damaged_on_the_way_are_refused():
    array = np.arange(6, dtype=np.float32).reshape(1, 6)
    parameters: dict[str, str | int | float | bool] = {split.CHECKSUM: split.checksum([array])}

    def answer(values):
        output = oip.NamedArray("y", values)
        return oip.InferResponse("m", "aa", (output,), parameters=parameters)

    assert check_answer(answer(array), "aa", "")[0].tolist() == array.tolist()
    damaged = array.copy()
    damaged.view(np.uint8)[0, 7] ^= 16
    with pytest.raises(WireFault, match="checksum"):
        check_answer(answer(damaged), "aa", "")
