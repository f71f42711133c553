"""Our descriptions against tritonclient's generated ones, which live in the same process."""

import pytest
from tritonclient.grpc import model_config_pb2, service_pb2

from companion_server import grpc_messages

CONFIGURATION = {"ModelConfig", "ModelInput", "ModelOutput"}
ENUMERATIONS = {("ModelInput", "data_type"), ("ModelOutput", "data_type")}
NAMES = list(grpc_messages._MESSAGES)


def theirs(path):
    found = (
        model_config_pb2 if path in ("ModelConfig", "ModelInput", "ModelOutput") else service_pb2
    )
    for part in path.split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("path", NAMES)
def test_every_field_has_the_number_and_type_of_the_specification(path):
    expected = theirs(path).DESCRIPTOR
    for field in grpc_messages.message(path).DESCRIPTOR.fields:
        other = expected.fields_by_name[field.name]
        assert (field.number, field.is_repeated) == (other.number, other.is_repeated)
        assert field.type == other.type or (path, field.name) in ENUMERATIONS
        assert (field.containing_oneof is None) == (other.containing_oneof is None)


@pytest.mark.parametrize("path", [name for name in NAMES if name not in CONFIGURATION])
def test_no_field_is_missing(path):
    expected = set(theirs(path).DESCRIPTOR.fields_by_name)
    assert set(grpc_messages.message(path).DESCRIPTOR.fields_by_name) == expected


def test_every_method_of_the_service_is_served_or_refused_by_name():
    service = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert service.full_name == grpc_messages.SERVICE
    held = {*grpc_messages.METHODS, *grpc_messages.UNIMPLEMENTED}
    assert held == {method.name for method in service.methods}
    for name, (request, response, streams) in grpc_messages.METHODS.items():
        method = service.methods_by_name[name]
        assert (method.input_type.name, method.output_type.name) == (request, response)
        assert (method.client_streaming, method.server_streaming) == (streams, streams)


def test_a_message_crosses_both_ways_byte_for_byte():
    sent = service_pb2.ModelInferRequest(model_name="m", id="7", raw_input_contents=[b"abc"])
    sent.parameters["split.cut"].string_param = "c1"
    sent.parameters["split.deadline_ms"].int64_param = 5
    sent.inputs.add(name="x", datatype="FP32", shape=[1]).contents.fp32_contents.append(2.5)
    data = sent.SerializeToString(deterministic=True)
    ours = grpc_messages.message("ModelInferRequest").FromString(data)
    assert ours.parameters["split.cut"].WhichOneof("choice") == "string_param"
    assert ours.SerializeToString(deterministic=True) == data
