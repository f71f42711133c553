"""The peer LitServe, its ZeroMQ transport, one worker for each of two routes over the same tail.

    POST /predict   raw float32 in and out
    POST /json      lists of numbers, {"tensors": [[...], ...]}, as its documentation shows

    python benchmarks/peers/litserve_tail.py BUNDLE CUT PORT

LitServe reads JSON or forms by itself. Declaring the request as a `bytes` body is the way past its
JSON that it allows, and `fast_queue` is its faster transport, so `/predict` is LitServe at its
best. It evaluates no annotation that is a string, so `annotations` is not imported from the future.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import litserve
import numpy as np
from fastapi import Body, Response

from benchmarks.peers.tail import PeerTail
from headtail.tensors import Array

OCTETS = "application/octet-stream"


class TailAPI(litserve.LitAPI):  # type: ignore[misc]  # not installed where this is type-checked
    """decode -> predict -> encode, in LitServe's worker process."""

    def __init__(self, bundle: Path, cut_id: str) -> None:
        super().__init__(max_batch_size=1)
        self.bundle, self.cut_id = bundle, cut_id

    def setup(self, device: str) -> None:
        """Load the tail, once per worker."""
        self.tail = PeerTail(self.bundle, self.cut_id)

    def decode_request(self, request: Annotated[bytes, Body(media_type=OCTETS)]) -> list[Array]:
        """Bytes to arrays."""
        return self.tail.unpack(request)

    def predict(self, x: list[Array]) -> Any:
        """Arrays to outputs and ms of compute."""
        return self.tail.run(x)

    def encode_response(self, output: Any) -> Response:
        """Outputs to bytes."""
        outputs, compute_ms = output
        headers = {"compute-ms": f"{compute_ms:.6f}"}
        return Response(self.tail.pack(outputs), headers=headers, media_type=OCTETS)


class JsonTailAPI(litserve.LitAPI):  # type: ignore[misc]  # as above
    """The same, with LitServe's own reading and writing of JSON."""

    def __init__(self, bundle: Path, cut_id: str) -> None:
        super().__init__(max_batch_size=1, api_path="/json")
        self.bundle, self.cut_id = bundle, cut_id

    def setup(self, device: str) -> None:
        """Load the tail, once per worker."""
        self.tail = PeerTail(self.bundle, self.cut_id)

    def decode_request(self, request: dict[str, Any]) -> list[Array]:
        """Lists to arrays."""
        return [
            np.array(values, np.float32).reshape(spec.shape)
            for values, spec in zip(request["tensors"], self.tail.inputs, strict=True)
        ]

    def predict(self, x: list[Array]) -> Any:
        """Arrays to outputs and ms of compute."""
        return self.tail.run(x)

    def encode_response(self, output: Any) -> dict[str, Any]:
        """Outputs to lists."""
        outputs, compute_ms = output
        return {"outputs": [array.tolist() for array in outputs], "compute_ms": compute_ms}


if __name__ == "__main__":
    given = Path(sys.argv[1]), sys.argv[2]
    apis = [TailAPI(*given), JsonTailAPI(*given)]
    server = litserve.LitServer(apis, accelerator="cpu", devices=1, fast_queue=True)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[3]),
        num_api_servers=1,
        log_level="warning",
        generate_client_file=False,
    )
