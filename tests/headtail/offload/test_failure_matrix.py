"""Whatever is done to server and link, frames are answered in time, by this model, and it is seen.

The real client against real server processes, with a proxy between that does to the bytes what
radios and strangers do. The device is this machine's torch, made as many times slower as makes a
split worth its while; nothing here is a latency.
"""

import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from headtail.bundle import open_bundle
from headtail.errors import HeadtailError, IntegrityFault
from headtail.offload.client import Companion
from headtail.offload.engine import OffloadEngine
from headtail.offload.policy import Policy
from headtail.offload.trace import replay
from headtail.timing import measure
from tests.companion_server.conftest import write_bundle
from tests.headtail.offload.toy_session import ToySession
from tests.support.capabilities import require
from tests.support.failure_rows import SlowDevice, Watch, split_first
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.jumping_clock import jumping_clock
from tests.support.real_server import RealServer

pytestmark = pytest.mark.slow

LOCAL_MS = 120.0  # what the device is made to take, for a model that takes this machine a fraction
DEADLINE_MS = 800.0
TOLERANCE = 0.02  # of aq8t at this model's cuts; raw32 is closer
GOOD = Fault(mbit_s=10.0, rtt_s=0.01)
BODY_MEMORY = 20_000
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """The same name, other weights."""
    return write_bundle(tmp_path_factory.mktemp("other"), seed=1)


@pytest.fixture(scope="module")
def plain(toy, tmp_path_factory):
    """A server without TLS, with little room for bodies."""
    settings = {"tls": "false", "auth": "false", "max_body_memory": BODY_MEMORY}
    with RealServer([toy.path], tmp_path_factory.mktemp("plain"), settings) as served:
        yield served


@pytest.fixture(scope="module")
def secure(toy, tmp_path_factory):
    """A server as it starts by itself: with TLS, a certificate of its own, and a key."""
    with RealServer([toy.path], tmp_path_factory.mktemp("secure")) as served:
        yield served


@pytest.fixture
def link(plain):
    with FaultProxy(plain.address) as proxy:
        proxy.fault = GOOD
        yield proxy


@pytest.fixture
def secure_link(secure):
    with FaultProxy(secure.address, scheme="https") as proxy:
        proxy.fault = GOOD
        yield proxy


@pytest.fixture
def watch_of():
    """Watches of engines on a link; everything is closed after the test."""
    with contextlib.ExitStack() as stack:

        def make(bundle, link, *, seed=0, mode="auto", told=None):
            known = {} if told is None else {"pin": told["fingerprint"], "key": told["key"]}
            companion = stack.enter_context(contextlib.closing(Companion(link.url, **known)))
            golden, fast = bundle.golden(), ToySession(seed)
            inputs = [[golden[f"input.{i}.x"].copy()] for i in range(2)]
            own = [fast.run("forward", one) for one in inputs]
            policy = Policy(mode=mode, deadline_ms=DEADLINE_MS)
            session = SlowDevice(fast, factor_for(fast, inputs[0]))
            engine = OffloadEngine(bundle, None, session, companion=companion, policy=policy)
            stack.callback(engine.close)
            return Watch(engine, inputs, own, tolerance=TOLERANCE, deadline_ms=DEADLINE_MS)

        yield make


def factor_for(session, inputs):
    """How many times slower than this machine the device is to be."""
    timing = measure(lambda: session.run("forward", inputs), runs=30)
    return max(2, round(LOCAL_MS / timing.p50_ms))


def check(row):
    print(row)
    assert row.frames > 0
    assert row.wrong == 0, row
    assert row.late == 0, row
    assert row.good, row


def test_a_killed_server(toy, watch_of, tmp_path):
    settings = {"tls": "false", "auth": "false"}
    with (
        RealServer([toy.path], tmp_path, settings) as server,
        FaultProxy(server.address) as link,
    ):
        link.fault = GOOD
        row = split_first(watch_of(toy, link), "server killed", server.kill)
    check(row)
    assert "local (server lost)" in row.where


def test_a_link_that_swallows_everything(toy, link, watch_of):
    watch = watch_of(toy, link)

    def swallow():
        link.fault = Fault(swallow=True)

    check(split_first(watch, "blackholed", swallow))
    link.fault = GOOD
    watch.until_split()


def test_a_server_without_room(toy, plain, link, watch_of):
    """429: somebody else's body, promised and not sent, holds all the memory that there is."""
    watch = watch_of(toy, link)
    with contextlib.ExitStack() as stack:

        def crowd():
            sock = stack.enter_context(socket.create_connection(plain.address, timeout=5))
            head = f"POST /v2/models/toy/infer HTTP/1.1\r\nContent-Length: {BODY_MEMORY - 100}\r\n"
            sock.sendall(f"{head}Host: x\r\n\r\n".encode() + b"x")

        row = split_first(watch, "429", crowd)
    check(row)
    assert "local (server busy)" in row.where


def test_a_server_that_cannot_answer(toy, secure, secure_link, watch_of):
    """503: it cannot read its own keys, until it can again."""
    watch, keys = watch_of(toy, secure_link, told=secure.told), secure.state / "keys.json"
    held = keys.read_bytes()
    row = split_first(watch, "503", lambda: keys.write_bytes(b"{"))
    keys.write_bytes(held)
    check(row)
    assert "local (server not ready)" in row.where
    watch.until_split()


def test_a_slow_server(toy, link, watch_of):
    watch = watch_of(toy, link)

    def slow():
        link.fault = Fault(mbit_s=10.0, rtt_s=0.01, hold_s=1.0)

    check(split_first(watch, "slow", slow))


@pytest.mark.parametrize("where", ["everywhere", "in the outputs"])
def test_bits_that_flip_on_the_way(toy, link, watch_of, where):
    """Without TLS: a status line, a header, a name, or one bit of one number."""
    watch = watch_of(toy, link)
    watch.until_split()
    size = watch.frame()[0].bytes_down

    def flip():
        spare, every = (0, 97) if where == "everywhere" else (size - 10, 1 << 20)
        link.fault = Fault(mbit_s=10.0, rtt_s=0.01, flip_down=every, spare=spare)

    row = split_first(watch, f"bits flipped {where}", flip)
    check(row)
    if where == "in the outputs":
        assert any("checksum" in reason for reason in row.reasons), row.reasons


def test_bits_that_flip_under_tls(toy, secure, secure_link, watch_of):
    watch = watch_of(toy, secure_link, told=secure.told)

    def flip():
        secure_link.fault = Fault(mbit_s=10.0, rtt_s=0.01, flip_down=97)

    check(split_first(watch, "bits flipped under TLS", flip))


def test_another_bundle_of_the_same_name(toy, other, link, watch_of):
    watch = watch_of(other, link, seed=1, mode="force")
    inputs = [toy.golden()["input.0.x"].copy()]
    theirs, ours = (ToySession(seed).run("forward", inputs)[0] for seed in (0, 1))
    assert np.abs(np.subtract(theirs, ours)).max() > 5 * TOLERANCE, (
        "else a wrong answer could not be told"
    )
    row = watch.row("wrong bundle", seconds=2.0)
    check(row)
    assert set(row.where) == {"local (bundle mismatch)"}


def test_a_certificate_that_changed(toy, secure, secure_link, watch_of, tmp_path):
    require(shutil.which("openssl") is not None, "no openssl for a certificate: .ci/packages.sh")
    watch = watch_of(toy, secure_link, told=secure.told)
    context = impostor(tmp_path)

    def step_between():
        secure_link.fault = Fault(impostor=context)
        secure_link.drop()

    row = split_first(watch, "certificate changed", step_between)
    check(row)
    assert "local (certificate changed)" in row.where
    assert secure_link.overheard == 0


def impostor(folder):
    """A TLS server's context with a certificate of somebody else."""
    files = ["-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run(
        ["openssl", "req", "-x509", *curve, "-days", "2", *files, "-subj", "/CN=companion"],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


def test_a_link_that_becomes_a_hundred_times_slower(toy, link, watch_of):
    """This model's frames are a tenth of a real one's, so the link is a tenth of 10 -> 0.1 Mbit/s;
    `benchmarks/offload.py` has those with a real model."""
    link.fault = good = Fault(mbit_s=1.0, rtt_s=0.01)
    watch = watch_of(toy, link)

    def choke():
        link.fault = Fault(mbit_s=0.01, rtt_s=0.01)

    row = split_first(watch, "link 1 -> 0.01 Mbit/s", choke, seconds=3.0)
    check(row)
    # on a busy machine the plan may have changed for a missed reply; then background frames tell
    watch.until(lambda _: (watch.engine.status().uplink_mbit_s or 0.0) < 0.1, "never learnt")
    link.fault = good
    watch.until_split()
    count, differing = replay(watch.engine.trace.text().splitlines())
    assert count > 10
    assert differing == []


def test_a_clock_that_jumps(toy, secure, tmp_path):
    """The client in a process of its own, whose wall clock goes a day forth and two back."""
    require(shutil.which("cc") is not None, "no C compiler: .ci/packages.sh")
    command = [sys.executable, "-m", "tests.support.clock_client", str(toy.path)]
    told = secure.told
    client = subprocess.Popen(
        [*command, str(told["url"]), told["fingerprint"], told["key"]],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **jumping_clock(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        told = json.loads(client.communicate(timeout=60)[0])
    finally:
        client.kill()
        client.wait()
    assert client.returncode == 0
    assert told["jumped_s"] == pytest.approx([86_400, -172_800], abs=60)
    assert told["wrong"] == told["late"] == 0
    assert told["frames"] >= 6
    assert told["where"] == {"split": told["frames"]}, "a jump is no failure of anything"


def test_a_bundle_that_is_corrupted_while_it_runs(toy, link, watch_of, tmp_path):
    copy = tmp_path / toy.path.name
    shutil.copytree(toy.path, copy)
    watch = watch_of(open_bundle(copy), link)
    weights = copy / "tail" / "weights.safetensors"

    def corrupt():
        data = bytearray(weights.read_bytes())
        data[len(data) // 2] ^= 1
        weights.write_bytes(data)

    row = split_first(watch, "bundle corrupted", corrupt)
    assert (row.wrong, row.late) == (0, 0)
    assert set(row.where) <= {"split", "local", "local (reply late)"}, "it goes on as before"
    with pytest.raises(IntegrityFault, match=r"tail/weights\.safetensors"):
        open_bundle(copy)


def test_a_full_disk(toy, plain, link, watch_of, tmp_path):
    """A download ends in one error and leaves the frames alone."""
    with small_disk(tmp_path / "disk") as disk:
        watch = watch_of(toy, link)
        errors = []

        def download():
            with contextlib.closing(Companion(plain.told["url"])) as companion:
                try:
                    companion.download(toy.manifest.bundle_id, disk / "toy.bundle")
                except (HeadtailError, OSError) as error:
                    errors.append(error)

        thread = threading.Thread(target=download)
        row = split_first(watch, "disk full", thread.start)
        thread.join(30)
        assert (row.wrong, row.late) == (0, 0)
        assert [type(error) for error in errors] != [], "a disk of 16 KiB holds no bundle"
        assert all(isinstance(error, HeadtailError) for error in errors), errors
        assert not (disk / "toy.bundle").exists()


@contextlib.contextmanager
def small_disk(folder):
    """A file system of four pages."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    require(done.returncode == 0, f"no small disk can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
