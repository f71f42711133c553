"""What each gRPC method answers: bytes in, a message out; errors are those of `headtail.errors`."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from companion_server import descriptions
from companion_server.answering import Caller, counted
from companion_server.conditions import NotReady
from companion_server.grpc_messages import METHODS, TYPE_NUMBERS, message
from companion_server.grpc_tensors import infer_request, infer_response, parse_infer_request
from companion_server.inference import INLINE_BYTES, Origin, Prepared, Service, computed, prepare
from companion_server.operations.limits import Bodies
from companion_server.operations.telemetry import Telemetry
from companion_server.security.scopes import require
from companion_server.store import StoredBundle
from headtail.errors import WireFault
from headtail.wire import oip

__all__ = ["Call", "Calls", "Unary"]


@dataclasses.dataclass(frozen=True)
class Call:
    """Who calls, and until when (seconds of `time.monotonic()`) the answer is of use."""

    caller: Caller
    deadline: float | None


Unary = Callable[[bytes, Call], Awaitable[Any]]


class Calls:
    """The methods over a service; `bodies` bounds the memory of what is being answered."""

    def __init__(
        self,
        service: Service,
        *,
        telemetry: Telemetry | None = None,
        bodies: Bodies | None = None,
    ) -> None:
        self._service = service
        self._telemetry = telemetry
        self._bodies = bodies or Bodies(sys.maxsize)
        self.unary: dict[str, Unary] = {
            "ServerLive": self._live,
            "ServerReady": self._ready,
            "ServerMetadata": self._metadata,
            "ModelReady": self._model_ready,
            "ModelMetadata": self._model_metadata,
            "ModelConfig": self._model_config,
            "ModelInfer": self.infer,
        }

    @property
    def max_body_bytes(self) -> int:
        """Of one request's tensors."""
        return self._service.max_body_bytes

    async def infer(self, data: bytes, call: Call) -> Any:
        """`ModelInfer`; also each request of `ModelStreamInfer`."""
        arrived = time.monotonic()
        with (
            counted(self._telemetry, "grpc", call.caller, bytes_in=len(data)) as record,
            self._bodies.holding(len(data), call.caller.holder),
        ):
            if len(data) > INLINE_BYTES:
                prepared = await asyncio.to_thread(self._prepared, data, call, arrived)
            else:
                prepared = self._prepared(data, call, arrived)
            made, _, _ = await computed(
                _until(prepared, call.deadline),
                self._service.engine,
                lambda result: infer_response(prepared.response(result)),
            )
            if record is not None:
                record.bytes_out = made.ByteSize()
            return made

    def _prepared(self, data: bytes, call: Call, arrived: float) -> Prepared:
        limits = oip.Limits(max_body_bytes=self.max_body_bytes)
        request = parse_infer_request(data, limits=limits)
        model, version = request.model_name, request.model_version
        require(call.caller.principal, "infer", model)
        self._service.store.versions(model)  # an unknown model is NOT_FOUND
        origin = Origin(model, version, call.caller.client, arrived)
        return prepare(infer_request(request, limits=limits), origin, self._service.store)

    async def _live(self, _data: bytes, _call: Call) -> Any:
        return message("ServerLiveResponse")(live=True)

    async def _ready(self, _data: bytes, _call: Call) -> Any:
        return message("ServerReadyResponse")(ready=_holds(self._service.check_ready))

    async def _metadata(self, _data: bytes, _call: Call) -> Any:
        return message("ServerMetadataResponse")(**descriptions.server_metadata(rest=False))

    async def _model_ready(self, data: bytes, call: Call) -> Any:
        stored = self._asked("ModelReady", data, call)
        return message("ModelReadyResponse")(
            ready=_holds(lambda: self._service.engine.check_ready(stored.bundle_id))
        )

    async def _model_metadata(self, data: bytes, call: Call) -> Any:
        stored = self._asked("ModelMetadata", data, call)
        told = descriptions.model_metadata(self._service.store, stored)
        del told["split"]  # the specification's message has no room for it; REST tells
        return message("ModelMetadataResponse")(**told)

    async def _model_config(self, data: bytes, call: Call) -> Any:
        told = descriptions.model_configuration(self._asked("ModelConfig", data, call))
        for tensor in (*told["input"], *told["output"]):
            tensor["data_type"] = TYPE_NUMBERS[tensor["data_type"]]
        return message("ModelConfigResponse")(config=message("ModelConfig")(**told))

    def _asked(self, method: str, data: bytes, call: Call) -> StoredBundle:
        """The bundle that a request of `name` and `version` is about."""
        try:
            request = message(METHODS[method][0]).FromString(data)
        except Exception as error:  # DecodeError of whichever protobuf runs
            raise WireFault(
                f"The gRPC request is malformed: {str(error)[:100]}.",
                expected=f"A {METHODS[method][0]}.",
                remedy="See open_inference_grpc.proto of the Open Inference Protocol.",
            ) from None
        require(call.caller.principal, "read", request.name)
        return self._service.store.version(request.name, request.version)


def _until(prepared: Prepared, deadline: float | None) -> Prepared:
    """The same, due when the call is, if that is earlier."""
    due = prepared.job.deadline
    if deadline is None or (due is not None and due <= deadline):
        return prepared
    return dataclasses.replace(prepared, job=dataclasses.replace(prepared.job, deadline=deadline))


def _holds(check: Callable[[], None]) -> bool:
    try:
        check()
    except NotReady:
        return False
    return True
