"""Replies as messages; what requests may be is in tests/attacks/test_wire_frames.py."""

import numpy as np
import pytest

from companion_server.grpc_messages import message
from companion_server.grpc_tensors import infer_request, infer_response, set_parameter
from headtail.tensors import DTYPES
from headtail.wire import oip


@pytest.mark.parametrize("short", DTYPES)
def test_a_reply_of_every_dtype(short):
    name, datatype = DTYPES[short]
    array = np.array([[0, 1], [1, 0]], name)
    made = infer_response(oip.InferResponse("m", "v", (oip.NamedArray("y", array),), "7"))
    (output,) = made.outputs
    assert (made.model_name, made.model_version, made.id) == ("m", "v", "7")
    assert (output.name, output.datatype, list(output.shape)) == ("y", datatype, [2, 2])
    assert np.frombuffer(made.raw_output_contents[0], name).tolist() == array.reshape(-1).tolist()


def test_parameters_keep_their_kinds():
    held: dict[str, oip.Scalar] = {"a": True, "b": 7, "c": 0.5, "d": "text"}
    request = message("ModelInferRequest")(raw_input_contents=[b"\1"])
    request.inputs.add(name="x", datatype="BOOL", shape=[1])
    for name, value in held.items():
        set_parameter(request.parameters, name, value)
    found = infer_request(request, limits=oip.Limits()).parameters
    assert found == held
    assert [type(found[name]) for name in "abcd"] == [bool, int, float, str]


def test_classes_are_asked_for():
    request = message("ModelInferRequest")(raw_input_contents=[b"\1"])
    request.inputs.add(name="x", datatype="BOOL", shape=[1])
    request.outputs.add(name="y").parameters["classification"].int64_param = 3
    assert infer_request(request, limits=oip.Limits()).outputs[0].classification == 3
