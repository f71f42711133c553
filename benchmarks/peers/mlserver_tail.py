"""The peer MLServer: Open Inference Protocol, REST (JSON) and gRPC (raw contents), its numpy codec.

    python benchmarks/peers/mlserver_tail.py BUNDLE CUT PORT      # gRPC on PORT + 1

In one process (`parallel_workers=0`): without its worker pool a request crosses no queue, which at
one client is MLServer at its fastest. Metrics and access logs off.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse, Parameters

from benchmarks.peers.tail import PeerTail

MODEL = "tail"


class TailModel(MLModel):  # type: ignore[misc]  # not installed where this is type-checked
    """The tail behind MLServer's `predict`."""

    async def load(self) -> bool:
        """Read the tail."""
        bundle, cut_id = sys.argv[1:3]
        self.tail = PeerTail(Path(bundle), cut_id)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Decode, run and encode, with MLServer's own codec."""
        arrays = [
            NumpyCodec.decode_input(tensor).reshape(tensor.shape) for tensor in payload.inputs
        ]
        outputs, compute_ms = self.tail.run(arrays)
        return InferenceResponse(
            model_name=MODEL,
            parameters=Parameters(compute_ms=str(compute_ms)),  # its gRPC carries no float
            outputs=[
                NumpyCodec.encode_output(spec.name, output)
                for spec, output in zip(self.tail.outputs, outputs, strict=True)
            ],
        )


async def main() -> None:
    """Serve until killed."""
    port = int(sys.argv[3])
    settings = Settings(
        host="127.0.0.1",
        http_port=port,
        grpc_port=port + 1,
        parallel_workers=0,
        metrics_endpoint=None,
        gzip_enabled=False,
        debug=False,
        load_models_at_startup=False,
    )
    server = MLServer(settings)
    logging.getLogger("mlserver").setLevel(logging.WARNING)
    await server.start([ModelSettings(name=MODEL, implementation=TailModel)])


if __name__ == "__main__":
    asyncio.run(main())
