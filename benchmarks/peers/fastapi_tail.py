"""The peer "bare FastAPI": two routes that one writes in ten minutes, under uvicorn's defaults.

POST /json    {"tensors": [[...], ...]} -> {"outputs": [[...], ...]}: lists of numbers
POST /bytes   raw float32 -> raw float32: the least that Python's HTTP can cost, nothing checked

    python benchmarks/peers/fastapi_tail.py BUNDLE CUT PORT
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from fastapi import Body, FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool

from benchmarks.peers.tail import PeerTail


def create_app(tail: PeerTail) -> FastAPI:
    """The two routes over `tail`."""
    app = FastAPI()

    @app.get("/health")
    def health() -> dict[str, bool]:
        return {"ready": True}

    @app.post("/json")
    def as_json(tensors: list[list[float]] = Body(embed=True)) -> dict[str, Any]:  # noqa: B008
        arrays = [
            np.array(values, np.float32).reshape(spec.shape)
            for values, spec in zip(tensors, tail.inputs, strict=True)
        ]
        outputs, compute_ms = tail.run(arrays)
        return {"outputs": [output.tolist() for output in outputs], "compute_ms": compute_ms}

    @app.post("/bytes")
    async def as_bytes(request: Request) -> Response:
        body = await request.body()
        outputs, compute_ms = await run_in_threadpool(tail.run, tail.unpack(body))
        return Response(tail.pack(outputs), headers={"compute-ms": f"{compute_ms:.6f}"})

    return app


if __name__ == "__main__":
    app = create_app(PeerTail(Path(sys.argv[1]), sys.argv[2]))
    uvicorn.run(app, port=int(sys.argv[3]), log_level="warning", access_log=False)
