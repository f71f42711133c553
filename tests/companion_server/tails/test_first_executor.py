import asyncio

import numpy as np
import pytest

from companion_server.problems import NotReady
from companion_server.store import BundleStore
from companion_server.tails import TailExecutor, read_program
from headtail.errors import IntegrityFault, TensorMismatch
from tests.companion_server.conftest import running, write_bundle


@pytest.fixture
def store(bundle_path):
    held = BundleStore([bundle_path])
    yield held
    held.close()


@pytest.fixture
def tails(store):
    executor = TailExecutor(store)
    yield executor
    executor.close()


def test_every_entry_gives_the_golden_outputs(store, tails, bundle):
    golden = bundle.golden()
    stored = store.version("toy")
    for cut, prefix, names in (
        (None, "input.1", ("x",)),
        (bundle.manifest.cut("c1"), "cut.c1.1", ("relu",)),
        (bundle.manifest.cut("c2"), "cut.c2.1", ("relu", "relu_1")),
    ):
        outputs = tails.run(stored, cut, [golden[f"{prefix}.{name}"] for name in names])
        for i, output in enumerate(outputs):
            np.testing.assert_allclose(output, golden[f"output.1.output_{i}"], rtol=1e-4, atol=1e-5)


def test_read_only_arrays_are_taken(store, tails, bundle):
    array = np.frombuffer(bundle.golden()["input.0.x"].tobytes(), np.float32).reshape(1, 3, 8, 8)
    assert tails.run(store.version("toy"), None, [array])[0].shape == (1, 5)


def test_a_program_is_read_once_and_a_module_made_once_per_cut(store, bundle):
    read, entered = [], []

    class Counted:
        def __init__(self, program):
            self.program = program

        def enter(self, boundary):
            entered.append(tuple(boundary))
            return self.program.enter(boundary)

    def load(*paths):
        read.append(paths)
        return Counted(read_program(*paths))

    executor = TailExecutor(store, load_program=load)
    try:
        asyncio.run(executor.load())
        golden = bundle.golden()
        for _ in range(3):
            cut = bundle.manifest.cut("c1")
            executor.run(store.version("toy"), cut, [golden["cut.c1.0.relu"]])
    finally:
        executor.close()
    assert len(read) == 1
    assert entered == [("x",), ("relu",), ("relu", "relu_1")]


def test_torch_uses_the_threads_it_was_given(store):
    import torch

    executor = TailExecutor(store, threads=2)
    try:
        assert asyncio.run(executor.submit(torch.get_num_threads)) == 2
    finally:
        executor.close()


def test_not_ready_until_loaded(tails):
    with pytest.raises(NotReady, match="still being loaded"):
        tails.check_ready()
    asyncio.run(tails.load())
    tails.check_ready()


def test_a_tail_that_misses_its_golden_outputs_is_never_served(tmp_path):
    wrong = write_bundle(tmp_path, spoil=True)
    with running([wrong.path]) as server:
        status, body = server.json("GET", "/v2/health/ready")
        assert status == 503
        assert "'output_0' with" in body["error"]
        assert "dB against the golden output" in body["error"]
        assert server.ask("GET", f"/v2/bundles/{wrong.manifest.bundle_id}")[0] == 200


def test_a_tail_that_cannot_be_read_says_so(store):
    def broken(*_paths):
        raise RuntimeError("no such operator")

    executor = TailExecutor(store, load_program=broken)
    try:
        with pytest.raises(IntegrityFault, match="RuntimeError: no such operator"):
            asyncio.run(executor.load())
        with pytest.raises(NotReady, match="no such operator"):
            executor.check_ready()
    finally:
        executor.close()


def test_a_tail_of_fixed_batch_refuses_another(store, bundle):
    import torch

    class Fixed(torch.nn.Module):
        def forward(self, x):
            return x.reshape(1, 192)[:, :5], x.reshape(1, 1, 24, 8)[:, :, :8]

    class Program:
        def enter(self, boundary):
            return Fixed()

    executor = TailExecutor(store, load_program=lambda *_: Program())
    try:
        with pytest.raises(TensorMismatch, match="batch of 2"):
            executor.run(store.version("toy"), None, [np.zeros((2, 3, 8, 8), np.float32)])
    finally:
        executor.close()
