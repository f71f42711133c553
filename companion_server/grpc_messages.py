"""The messages of `inference.GRPCInferenceService`, described here instead of generated.

The Open Inference Protocol's gRPC form,
https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/open_inference_grpc.proto,
with the calls that Triton adds and `tritonclient.grpc` makes,
https://github.com/triton-inference-server/common/blob/main/protobuf/grpc_service.proto.

Files that protoc generates refuse every older protobuf than the one that made them, and register
their names in the process's one pool, where tritonclient's or another server's copy of the same
names is already a conflict. A description in a pool of its own has neither trouble and fits a page.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

__all__ = ["METHODS", "SERVICE", "TYPE_NUMBERS", "UNIMPLEMENTED", "message"]

_PACKAGE = "inference"
SERVICE = "inference.GRPCInferenceService"

# Message -> its fields in the order of their numbers, from 1, or from the number after `@`.
# `*` repeated, `{}` a map from string, `|` a member of the message's one oneof; a capital letter
# begins the name of another message here.
_MESSAGES: dict[str, str] = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "live:bool",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "ready:bool",
    "ModelReadyRequest": "name:string version:string",
    "ModelReadyResponse": "ready:bool",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "name:string version:string extensions:string*",
    "ModelMetadataRequest": "name:string version:string",
    "ModelMetadataResponse": (
        "name:string versions:string* platform:string"
        " inputs:ModelMetadataResponse.TensorMetadata*"
        " outputs:ModelMetadataResponse.TensorMetadata*"
    ),
    "ModelMetadataResponse.TensorMetadata": "name:string datatype:string shape:int64*",
    "InferParameter": (
        "bool_param:bool| int64_param:int64| string_param:string|"
        " double_param:double| uint64_param:uint64|"
    ),
    "InferTensorContents": (
        "bool_contents:bool* int_contents:int32* int64_contents:int64* uint_contents:uint32*"
        " uint64_contents:uint64* fp32_contents:float* fp64_contents:double* bytes_contents:bytes*"
    ),
    "ModelInferRequest": (
        "model_name:string model_version:string id:string parameters:InferParameter{}"
        " inputs:ModelInferRequest.InferInputTensor*"
        " outputs:ModelInferRequest.InferRequestedOutputTensor* raw_input_contents:bytes*"
    ),
    "ModelInferRequest.InferInputTensor": (
        "name:string datatype:string shape:int64* parameters:InferParameter{}"
        " contents:InferTensorContents"
    ),
    "ModelInferRequest.InferRequestedOutputTensor": "name:string parameters:InferParameter{}",
    "ModelInferResponse": (
        "model_name:string model_version:string id:string parameters:InferParameter{}"
        " outputs:ModelInferResponse.InferOutputTensor* raw_output_contents:bytes*"
    ),
    "ModelInferResponse.InferOutputTensor": (
        "name:string datatype:string shape:int64* parameters:InferParameter{}"
        " contents:InferTensorContents"
    ),
    "ModelStreamInferResponse": "error_message:string infer_response:ModelInferResponse",
    "ModelConfigRequest": "name:string version:string",
    "ModelConfigResponse": "config:ModelConfig",
    # of Triton's model_config.proto what is true of a bundle; an enumeration travels as its number
    "ModelConfig": (
        "name:string platform:string max_batch_size:int32@4 input:ModelInput* output:ModelOutput*"
        " backend:string@17"
    ),
    "ModelInput": "name:string data_type:int32 dims:int64*@4",
    "ModelOutput": "name:string data_type:int32 dims:int64*",
}

# inference.DataType of model_config.proto
_TYPES = "INVALID BOOL UINT8 UINT16 UINT32 UINT64 INT8 INT16 INT32 INT64 FP16 FP32 FP64 STRING BF16"
TYPE_NUMBERS = {f"TYPE_{name}": number for number, name in enumerate(_TYPES.split())}

# Method -> (request, response, whether both sides stream)
METHODS: dict[str, tuple[str, str, bool]] = {
    "ServerLive": ("ServerLiveRequest", "ServerLiveResponse", False),
    "ServerReady": ("ServerReadyRequest", "ServerReadyResponse", False),
    "ModelReady": ("ModelReadyRequest", "ModelReadyResponse", False),
    "ServerMetadata": ("ServerMetadataRequest", "ServerMetadataResponse", False),
    "ModelMetadata": ("ModelMetadataRequest", "ModelMetadataResponse", False),
    "ModelConfig": ("ModelConfigRequest", "ModelConfigResponse", False),
    "ModelInfer": ("ModelInferRequest", "ModelInferResponse", False),
    "ModelStreamInfer": ("ModelInferRequest", "ModelStreamInferResponse", True),
}

# Triton's further methods, refused by name: what they ask for does not exist here, or is REST only.
UNIMPLEMENTED = (
    "CudaSharedMemoryRegister",
    "CudaSharedMemoryStatus",
    "CudaSharedMemoryUnregister",
    "LogSettings",
    "ModelStatistics",
    "RepositoryIndex",
    "RepositoryModelLoad",
    "RepositoryModelUnload",
    "SystemSharedMemoryRegister",
    "SystemSharedMemoryStatus",
    "SystemSharedMemoryUnregister",
    "TraceSetting",
)

_Field = descriptor_pb2.FieldDescriptorProto


def _described() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="headtail/open_inference_grpc.proto", package=_PACKAGE, syntax="proto3"
    )
    made: dict[str, descriptor_pb2.DescriptorProto] = {}
    for path, fields in _MESSAGES.items():  # an outer message stands before its inner ones
        outer, _, name = path.rpartition(".")
        described = (made[outer].nested_type if outer else file.message_type).add(name=name)
        made[path] = described
        number = 0
        for field in fields.split():
            text, _, given = field.partition("@")
            number = int(given) if given else number + 1
            _add_field(described, text, number, path)
    return file


def _add_field(
    described: descriptor_pb2.DescriptorProto, text: str, number: int, path: str
) -> None:
    name, _, kind = text.partition(":")
    field = described.field.add(name=name, number=number, label=_Field.LABEL_OPTIONAL)
    if kind.endswith("{}"):
        # a map is a repeated message of key and value, by the language's own definition:
        # https://protobuf.dev/programming-guides/proto3/#backwards
        entry = described.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        _add_field(entry, "key:string", 1, path)
        _add_field(entry, f"value:{kind[:-2]}", 2, path)
        kind = f"{path}.{entry.name}*"
    if kind.endswith("*"):
        field.label = _Field.LABEL_REPEATED
    if kind.endswith("|"):
        field.oneof_index = 0
        if not described.oneof_decl:
            described.oneof_decl.add(name="choice")
    kind = kind.rstrip("*|")
    if kind[0].isupper():
        field.type = _Field.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{kind}"
    else:
        field.type = _Field.Type.Value(f"TYPE_{kind.upper()}")


def _classes() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(_described().SerializeToString())
    return {
        path: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{path}"))
        for path in _MESSAGES
    }


_CLASSES = _classes()


def message(name: str) -> Any:
    """The class of a message, for example `ModelInferRequest`."""
    return _CLASSES[name]
