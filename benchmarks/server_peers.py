"""The peers as processes, and how a client asks each: float32 arrays in, float32 arrays out.

    fastapi_json    bare FastAPI, lists of numbers in JSON
    litserve_json   LitServe 0.2, the same
    litserve        LitServe, raw float32 both ways
    mlserver_json   MLServer 1.7, Open Inference Protocol over REST, which is JSON there
    mlserver_grpc   the same over gRPC with raw contents, asked by tritonclient
    fastapi_bytes   bare FastAPI, raw float32, nothing checked: no peer but the floor of Python's
                    HTTP, reported so that it is known how much of our overhead is ours
    bare_asyncio    our own client and message, answered by one asyncio protocol in one process that
                    checks nothing: the floor of what this client can see on this machine

Each answer names its own compute time, taken around the same call of the same program.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.install import installed, python_of
from benchmarks.server_rig import Subject, child, free_port
from headtail.tensors import Array

FLOORS = FASTAPI_BYTES, BARE = ("fastapi_bytes", "bare_asyncio")
_UP, _READY = "/health", "/v2/models/tail/ready"
_OCTETS = {"Content-Type": "application/octet-stream"}
_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Answer:
    """The outputs, what the other side says of its own time (ms by stage), and the body's bytes."""

    outputs: Sequence[Array]
    server_ms: dict[str, float]
    bytes_up: int = 0


Arm = Callable[[Sequence[Array]], Answer]
FOLDER = Path(__file__).with_name("peers")


class _Web:
    """One kept connection to a peer's HTTP port."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def post(
        self, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[bytes, http.client.HTTPResponse]:
        try:
            self._connection.request("POST", path, body, headers)
            reply = self._connection.getresponse()
        except (ConnectionError, http.client.RemoteDisconnected):
            # uvicorn closes what lay idle for 5 s while other arms had their turn
            self._connection.close()
            self._connection.request("POST", path, body, headers)
            reply = self._connection.getresponse()
        data = reply.read()
        if reply.status != 200:
            raise SystemExit(f"{path} answered {reply.status}: {data[:300]!r}")
        return data, reply

    def ready(self, path: str) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            self._connection.request("GET", path)
            reply = self._connection.getresponse()
            reply.read()
            return reply.status == 200
        self._connection.close()
        return False


def _json_arm(port: int) -> Arm:
    """FastAPI's and LitServe's, which look alike."""
    web = _Web(port)

    def ask(arrays: Sequence[Array]) -> Answer:
        body = json.dumps({"tensors": [array.reshape(-1).tolist() for array in arrays]}).encode()
        reply = json.loads(web.post("/json", body, _JSON)[0])
        outputs = [np.array(output, np.float32) for output in reply["outputs"]]
        return Answer(outputs, {"compute_ms": reply["compute_ms"]}, len(body))

    return ask


def _bytes_arm(port: int, path: str, subject: Subject) -> Arm:
    web = _Web(port)
    specs = subject.bundle.manifest.outputs

    def ask(arrays: Sequence[Array]) -> Answer:
        body = b"".join(array.tobytes() for array in arrays)
        data, reply = web.post(path, body, _OCTETS)
        values, outputs, start = np.frombuffer(bytearray(data), "<f4"), [], 0
        for spec in specs:
            outputs.append(values[start : start + spec.elements].reshape(spec.shape))
            start += spec.elements
        return Answer(outputs, {"compute_ms": float(reply.headers["compute-ms"])}, len(body))

    return ask


def _mlserver_json_arm(port: int) -> Arm:
    web = _Web(port)

    def ask(arrays: Sequence[Array]) -> Answer:
        inputs = [
            {
                "name": f"x{i}",
                "shape": list(array.shape),
                "datatype": "FP32",
                "data": array.reshape(-1).tolist(),
            }
            for i, array in enumerate(arrays)
        ]
        body = json.dumps({"inputs": inputs}).encode()
        reply = json.loads(web.post("/v2/models/tail/infer", body, _JSON)[0])
        outputs = [
            np.array(out["data"], np.float32).reshape(out["shape"]) for out in reply["outputs"]
        ]
        compute_ms = float(reply["parameters"]["compute_ms"])
        return Answer(outputs, {"compute_ms": compute_ms}, len(body))

    return ask


def _mlserver_grpc_arm(port: int, subject: Subject) -> Arm:
    from tritonclient import grpc

    client = grpc.InferenceServerClient(f"127.0.0.1:{port}")
    names = [spec.name for spec in subject.bundle.manifest.outputs]

    def ask(arrays: Sequence[Array]) -> Answer:
        inputs = []
        for i, array in enumerate(arrays):
            tensor = grpc.InferInput(f"x{i}", list(array.shape), "FP32")
            tensor.set_data_from_numpy(array)
            inputs.append(tensor)
        reply = client.infer("tail", inputs)
        compute_ms = float(reply.get_response().parameters["compute_ms"].string_param)
        outputs = [reply.as_numpy(name) for name in names]
        return Answer(outputs, {"compute_ms": compute_ms}, sum(array.nbytes for array in arrays))

    return ask


@contextlib.contextmanager
def peers(subject: Subject, bare: Callable[[str], Arm]) -> Iterator[dict[str, Arm]]:
    """Every peer as a process of its own; yields how to ask it.

    `bare` makes of an address the arm of our own client, for the floor.
    """
    arguments = [str(subject.path.resolve()), subject.cut.id]
    plain, lit, least, ml = free_port(), free_port(), free_port(), free_port(2)
    started = [
        ("fastapi", [sys.executable, str(FOLDER / "fastapi_tail.py")], plain, _UP),
        (BARE, [sys.executable, str(FOLDER / "bare_tail.py")], least, _UP),
        ("litserve", [str(python_of("litserve")), str(FOLDER / "litserve_tail.py")], lit, _UP),
        ("mlserver", [str(python_of("mlserver")), str(FOLDER / "mlserver_tail.py")], ml, _READY),
    ]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="peers-")))
        for name, program, port, path in started:
            web = _Web(port)
            command = [*program, *arguments, str(port)]
            ready = functools.partial(web.ready, path)
            stack.enter_context(child(command, ready=ready, log=folder / f"{name}.log"))
        yield {
            BARE: bare(f"http://127.0.0.1:{least}"),
            "fastapi_json": _json_arm(plain),
            "litserve_json": _json_arm(lit),
            "litserve": _bytes_arm(lit, "/predict", subject),
            "mlserver_json": _mlserver_json_arm(ml),
            "mlserver_grpc": _mlserver_grpc_arm(ml + 1, subject),
            FASTAPI_BYTES: _bytes_arm(plain, "/bytes", subject),
        }


def peer_versions() -> dict[str, Any]:
    """Versions in each peer's own environment; bare FastAPI's are ours."""
    return {peer: installed(peer) for peer in ("litserve", "mlserver")}
