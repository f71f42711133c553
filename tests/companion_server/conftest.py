"""A real bundle with a real tail: a small net with two outputs and a skip over one of its cuts."""

import contextlib
import http.client
import json
import socket
import threading

import numpy as np
import pytest

from companion_server.app import create_app, engine_in_process
from companion_server.settings import Settings
from companion_server.store import BundleStore
from companion_server.stream import websocket_options
from companion_server.tails import read_program
from headtail.bundle import BundleWriter
from headtail.manifest import SCHEMA_VERSION, Cut, Manifest, QuantTable, SampleSet, Tail
from headtail.tensorfile import dump
from headtail.tensors import Array, TensorSpec

CODECS = ("raw32", "aq8t+deflate")
SAMPLES = 2


def build_model(seed):
    import torch
    from torch import nn

    class Toy(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(3, 4, 3, padding=1)
            self.second = nn.Conv2d(4, 4, 3, padding=1)
            self.mask = nn.Conv2d(4, 1, 1)
            self.head = nn.Linear(4, 5)

        def stages(self, x):
            early = torch.relu(self.first(x))
            late = torch.relu(self.second(early))
            joined = early + late  # so that a cut after `late` has two tensors
            return early, late, self.head(joined.mean((2, 3))), self.mask(joined)

        def forward(self, x):
            return self.stages(x)[2:]

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    return Toy().eval()


def golden_tensors(model):
    """What `golden.safetensors` holds, and the stages of each sample."""
    import torch

    rng = np.random.default_rng(0)
    golden: dict[str, Array] = {}
    for i in range(SAMPLES):
        x = rng.standard_normal((1, 3, 8, 8), dtype=np.float32)
        with torch.no_grad():
            early, late, logits, mask = (t.numpy() for t in model.stages(torch.from_numpy(x)))
        golden |= {
            f"input.{i}.x": x,
            f"output.{i}.output_0": logits,
            f"output.{i}.output_1": mask,
            f"cut.c1.{i}.relu": early,
            f"cut.c2.{i}.relu": early,
            f"cut.c2.{i}.relu_1": late,
        }
    return golden


def cut_of(cut_id, golden, *names):
    arrays = [golden[f"cut.{cut_id}.0.{name}"] for name in names]
    tables = tuple(QuantTable((0.0,), (float(array.max()) * 1.5,)) for array in arrays)
    channels = tuple(
        QuantTable((0.0,) * array.shape[1], (float(array.max()) * 1.5,) * array.shape[1])
        for array in arrays
    )
    return Cut(
        id=cut_id,
        node=names[-1],
        tensors=tuple(TensorSpec.of(name, a) for name, a in zip(names, arrays, strict=True)),
        per_tensor=tables,
        per_channel=channels,
        wire_bytes=dict.fromkeys(CODECS, 1),
        head_flops=0.5,
        materialised=True,
        fidelity={},
    )


def write_bundle(folder, *, name="toy", seed=0, spoil=False):
    """Export the toy model's tail and publish a bundle; `spoil` makes its golden outputs wrong."""
    import torch

    from exporters.capture import capture_batched, flat_graph
    from exporters.graphfile import TailProgram

    model = build_model(seed)
    golden = golden_tensors(model)
    cuts = (cut_of("c1", golden, "relu"), cut_of("c2", golden, "relu", "relu_1"))
    if spoil:
        golden["output.0.output_0"] = golden["output.0.output_0"][:, ::-1].copy()
    program = capture_batched(model, (torch.zeros(1, 3, 8, 8),))
    assert program is not None
    TailProgram.of(flat_graph(program)).write(
        folder / "program.json", folder / "weights.safetensors"
    )
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        bundle_id="",
        name=name,
        source="tests",
        task="segmentation",
        labels=(),
        preprocess=None,
        inputs=(TensorSpec("x", "f32", (1, 3, 8, 8)),),
        outputs=(
            TensorSpec("output_0", "f32", (1, 5)),
            TensorSpec("output_1", "f32", (1, 1, 8, 8)),
        ),
        artifacts=(),
        cuts=cuts,
        tails=(Tail("tail/program.json", "tail/weights.safetensors"),),
        golden="golden.safetensors",
        calibration=None,
        evaluation=SampleSet("random numbers, for tests of the server only", SAMPLES, 0, "0" * 64),
        tool_versions={"torch": torch.__version__},
        recipes={},
        files={},
    )
    with BundleWriter(folder / f"{name}-{seed}.bundle") as writer:
        writer.add("tail/program.json", folder / "program.json")
        writer.add("tail/weights.safetensors", folder / "weights.safetensors")
        writer.add("golden.safetensors", dump(golden))
        return writer.publish(manifest)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def newer(tmp_path_factory):
    """The same model name with other weights."""
    return write_bundle(tmp_path_factory.mktemp("newer"), seed=1)


@pytest.fixture(scope="session")
def bundle_path(bundle):
    return bundle.path


class Running:
    """A server on loopback in a thread of this process, with the client's view of it."""

    def __init__(self, store, thread, server, port):
        self.store, self.thread, self.server, self.port = store, thread, server, port

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def connect(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            yield connection
        finally:
            connection.close()

    def ask(self, method, path, body=None, headers=None):
        """`(status, headers, body)` of one request on its own connection."""
        with self.connect() as connection:
            connection.request(method, path, body, headers or {})
            reply = connection.getresponse()
            return reply.status, reply.headers, reply.read()

    def json(self, method, path, body=None, headers=None):
        status, _, data = self.ask(method, path, body, headers)
        return status, json.loads(data)


@contextlib.contextmanager
def running(
    paths, *, load_program=read_program, engine=None, wait=True, telemetry=None, **settings
):
    """Serve bundle directories until the `with` ends; `wait` for the tails to be loaded."""
    import uvicorn

    loaded = threading.Event()
    store = BundleStore(paths)
    chosen = Settings.of(**{"tls": False, "auth": False, **settings})
    engine = engine or engine_in_process(chosen, load_program=load_program)
    app = create_app(
        store,
        chosen,
        engine=engine,
        telemetry=telemetry,
        on_loaded=lambda _failure: loaded.set(),
    )
    listener = socket.create_server(("127.0.0.1", 0))
    options = websocket_options(chosen.max_body_bytes)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, log_level="error", **options))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        assert not wait or loaded.wait(30)
        yield Running(store, thread, server, listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
        store.close()


@pytest.fixture(scope="session")
def server(bundle_path):
    with running([bundle_path]) as served:
        yield served
