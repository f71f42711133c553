"""A stand-in for Triton's Python backend: there is no Triton in this project's environments.

It loads a model repository as far as our `model.py` files can tell: `config.pbtxt` is parsed with
Triton's own `model_config.proto` (compiled in tritonclient), `triton_python_backend_utils` is this
module, tensors are checked against the configuration as Triton's core does (batch axis, sizes,
types), and "business logic scripting" calls reach the other models. Names, parameters and their
order are those of python_backend's `src/pb_stub.cc` and
`src/resources/triton_python_backend_utils.py`, read at f9088ff (2026-07). It has no HTTP, no
processes, no queue and no shared memory: a test that passes here says nothing about those.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

__all__ = [
    "InferenceRequest",
    "InferenceResponse",
    "StandInTriton",
    "Tensor",
    "TritonError",
    "get_input_tensor_by_name",
]

MODULE = "triton_python_backend_utils"


class TritonError:
    """pb_stub.cc: `TritonError(message, code=INTERNAL)`."""

    UNKNOWN, INTERNAL, NOT_FOUND, INVALID_ARG, UNAVAILABLE, UNSUPPORTED, ALREADY_EXISTS = range(7)

    def __init__(self, message, code=INTERNAL):
        self._message, self._code = message, code

    def message(self):
        return self._message

    def code(self):
        return self._code


class Tensor:
    """pb_stub.cc: `Tensor(name, numpy_array)`."""

    def __init__(self, name, numpy_array):
        assert isinstance(numpy_array, np.ndarray)
        self._name, self._array = name, np.ascontiguousarray(numpy_array).copy()
        self._array.flags.writeable = False  # a view of shared memory that nobody should write

    def name(self):
        return self._name

    def as_numpy(self):
        return self._array


class InferenceRequest:
    """pb_stub.cc: all by keyword; parameters are str -> bool, int or str."""

    running: ClassVar[StandInTriton]

    def __init__(  # noqa: PLR0913, PLR0917 - Triton's
        self,
        request_id="",
        correlation_id=0,
        inputs=(),
        requested_output_names=(),
        model_name="",
        model_version=-1,
        flags=0,
        timeout=0,
        preferred_memory=None,
        trace=None,
        parameters=None,
    ):
        assert isinstance(timeout, int)
        assert timeout >= 0
        self._inputs, self._wanted = list(inputs), set(requested_output_names)
        self.model_name, self.timeout_us = model_name, timeout
        self._parameters = _parameters_to_json(parameters)

    def inputs(self):
        return self._inputs

    def parameters(self):
        return self._parameters

    def requested_output_names(self):
        return self._wanted

    def exec(self, decoupled=False):
        assert not decoupled
        return self.running.infer(self.model_name, [self])[0]


class InferenceResponse:
    """pb_stub.cc: `InferenceResponse(output_tensors=[], error=None, parameters=None)`."""

    def __init__(self, output_tensors=(), error=None, parameters=None):
        assert isinstance(output_tensors, list)
        self._outputs, self._error = output_tensors, error
        self._parameters = _parameters_to_json(parameters)

    def output_tensors(self):
        return self._outputs

    def has_error(self):
        return self._error is not None

    def error(self):
        return self._error

    def parameters(self):
        return self._parameters


def get_input_tensor_by_name(inference_request, name):
    """triton_python_backend_utils.py: the tensor, or None."""
    return next((t for t in inference_request.inputs() if t.name() == name), None)


def _parameters_to_json(parameters):
    for key, value in (parameters or {}).items():  # pb_stub.cc PyParametersToJSON
        assert isinstance(key, str)
        assert isinstance(value, (bool, int, str)), f"{key} is {type(value)}"
    return json.dumps(parameters or {})


class StandInTriton:
    """Every model of a repository, loaded."""

    def __init__(self, repository: Path) -> None:
        self.asked: list[Any] = []  # every request of any model, the phones' and the models' own
        self._configs: dict[str, Any] = {}
        self._models: dict[str, Any] = {}
        sys.modules[MODULE] = sys.modules[__name__]
        InferenceRequest.running = self
        for folder in sorted(repository.iterdir()):
            self._load(folder)

    def close(self) -> None:
        """Forget the module that stood in."""
        del sys.modules[MODULE]

    def config(self, model):
        """The parsed `ModelConfig`."""
        return self._configs[model]

    def infer(self, model, requests):
        """The responses of requests that the scheduler put together, each checked."""
        self.asked.extend(requests)
        if model not in self._models:
            error = TritonError(f"Failed for model {model!r}: not found", TritonError.NOT_FOUND)
            return [InferenceResponse([], error) for _ in requests]
        config = self._configs[model]
        assert len(requests) <= max(1, config.max_batch_size)
        for request in requests:
            given = {tensor.name(): tensor for tensor in request.inputs()}
            assert sorted(given) == sorted(spec.name for spec in config.input)
            for spec in config.input:
                _check(given[spec.name].as_numpy(), spec, config.max_batch_size)
        if len(requests) > 1:
            assert config.HasField("dynamic_batching")
            assert all(spec.allow_ragged_batch for spec in config.input)
        responses = self._models[model].execute(requests)
        assert len(responses) == len(requests)
        for response in responses:
            if not response.has_error():
                specs = {spec.name: spec for spec in config.output}
                for tensor in response.output_tensors():
                    spec = specs[tensor.name()]
                    _check(_presented(tensor, spec), spec, config.max_batch_size)
        return responses

    def _load(self, folder):
        from google.protobuf import json_format, text_format
        from tritonclient.grpc import model_config_pb2

        text = (folder / "config.pbtxt").read_text("utf-8")
        config = text_format.Parse(text, model_config_pb2.ModelConfig())
        assert config.name == folder.name
        assert config.backend == "python"
        versions = [child for child in folder.iterdir() if child.is_dir()]
        assert [version.name for version in versions] == ["1"]
        script = versions[0] / "model.py"
        spec = importlib.util.spec_from_file_location(f"triton_model_{len(self._models)}", script)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        model = module.TritonPythonModel()
        told = json_format.MessageToDict(config, preserving_proto_field_name=True)
        model.initialize(
            {
                "model_config": json.dumps(told),
                "model_instance_kind": "CPU",
                "model_instance_device_id": "0",
                "model_repository": str(folder),
                "model_version": "1",
                "model_name": folder.name,
            }
        )
        self._configs[folder.name], self._models[folder.name] = config, model


def _presented(tensor, spec):
    array = tensor.as_numpy()
    return array[:, None] if spec.HasField("reshape") else array


def _check(array, spec, max_batch_size):
    from tritonclient.grpc import model_config_pb2
    from tritonclient.utils import np_to_triton_dtype

    sizes = array.shape
    if max_batch_size:
        assert 1 <= sizes[0] <= max_batch_size
        sizes = sizes[1:]
    assert len(sizes) == len(spec.dims), f"{spec.name} is {array.shape}"
    for size, wanted in zip(sizes, spec.dims, strict=True):
        assert wanted in (-1, size), f"{spec.name} is {array.shape}, dims are {list(spec.dims)}"
    wanted_type = model_config_pb2.DataType.Name(spec.data_type).removeprefix("TYPE_")
    assert np_to_triton_dtype(array.dtype) == wanted_type
