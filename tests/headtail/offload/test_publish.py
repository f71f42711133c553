"""The publisher against the real server, over links that break."""

import contextlib
import socket
import threading

import pytest

from headtail.bundle import pack_zip
from headtail.bundle.signature import make_key, sign
from headtail.errors import IntegrityFault, ServerUnreachable, UsageFault
from headtail.offload.link import Link, Origin
from headtail.offload.publish import BundleRefused, Patience, Publisher
from tests.support.bundles import tiny_bundle
from tests.support.folders import names
from tests.support.publishing import IdleEngine, publishing

PIECE = 2000
HURRIED = Patience(request_s=10.0, lost_s=5.0, checks_s=20.0, pause_s=0.02)


@pytest.fixture
def engine():
    return IdleEngine()


@pytest.fixture
def served(tmp_path, engine):
    with publishing(tmp_path / "store", engine=engine) as server:
        yield server


@pytest.fixture(autouse=True)
def _store(tmp_path):
    (tmp_path / "store").mkdir()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("tiny"))


@contextlib.contextmanager
def publisher(url, *, patience=HURRIED, piece_bytes=PIECE):
    link = Link(Origin.parse(url))
    try:
        yield Publisher(link, patience=patience, piece_bytes=piece_bytes)
    finally:
        link.close()


def test_publish_in_pieces_tells_progress_and_sets_aliases(served, bundle):
    seen = []
    with publisher(served.url) as ours:
        done = ours.publish(
            bundle.path, aliases=["prod", "canary"], progress=lambda *at: seen.append(at)
        )
        assert done.sent == done.size > 3 * PIECE
        assert seen == [
            *((at, done.size) for at in range(0, done.size, PIECE)),
            (done.size, done.size),
        ]
        assert done.aliases == ("prod", "canary")
        bundle_id = bundle.manifest.bundle_id
        assert served.aliases("tiny") == dict.fromkeys(("canary", "latest", "prod"), bundle_id)
        again = ours.publish(bundle.path)
        assert (again.sent, again.size) == (0, done.size)


def test_a_zip_is_published_as_it_is(served, bundle, tmp_path):
    pack_zip(bundle, tmp_path / "toy.zip")
    with publisher(served.url) as ours:
        done = ours.publish(tmp_path / "toy.zip")
    assert served.ids() == [done.bundle_id]
    assert (
        served.ask("GET", f"/v2/bundles/{done.bundle_id}")[2] == (tmp_path / "toy.zip").read_bytes()
    )


class Cutter:
    """Passes bytes on to a server, and cuts every connection after `budget` bytes sent to it."""

    def __init__(self, port, *, budget):
        self.budget, self.cuts = budget, 0
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def close(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                self._serve(self._listener.accept()[0])

    def _serve(self, near):
        with near, socket.create_connection(self._target) as far:
            back = threading.Thread(target=self._pass, args=(far, near))
            back.start()
            left = self.budget
            while left > 0 and (data := near.recv(min(left, 1000))):
                far.sendall(data)
                left -= len(data)
            self.cuts += left == 0
            for end in (near, far):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            back.join()

    @staticmethod
    def _pass(far, near):
        with contextlib.suppress(OSError):
            while data := far.recv(65536):
                near.sendall(data)


@pytest.mark.parametrize("budget", [2600, 5000])
def test_a_connection_that_breaks_again_and_again_costs_a_piece_at_most(served, bundle, budget):
    cutter = Cutter(served.port, budget=budget)
    try:
        with publisher(cutter.url) as ours:
            done = ours.publish(bundle.path)
    finally:
        cutter.close()
    assert cutter.cuts >= 2
    assert done.sent <= done.size + cutter.cuts * PIECE
    assert served.ids() == [done.bundle_id]


def test_a_link_over_which_nothing_gets_is_given_up(served, bundle):
    cutter = Cutter(served.port, budget=200)
    patience = Patience(request_s=5.0, lost_s=0.3, checks_s=5.0, pause_s=0.02)
    try:
        with publisher(cutter.url, patience=patience) as ours, pytest.raises(ServerUnreachable):
            ours.publish(bundle.path)
    finally:
        cutter.close()


def test_nobody_there_is_an_error_at_once(bundle):
    patience = Patience(lost_s=1e6)
    with (
        publisher("http://127.0.0.1:9", patience=patience) as ours,
        pytest.raises(ServerUnreachable, match="cannot be reached"),
    ):
        ours.publish(bundle.path)


def test_what_an_earlier_call_left_is_continued(served, bundle, tmp_path):
    pack_zip(bundle, tmp_path / "toy.zip")
    data = (tmp_path / "toy.zip").read_bytes()
    bundle_id = bundle.manifest.bundle_id
    served.put(bundle_id, data[:9000], **{"Content-Range": f"bytes 0-8999/{len(data)}"})
    with publisher(served.url) as ours:
        assert ours.publish(bundle.path).sent == len(data) - 9000


def test_a_half_of_another_zip_is_not_continued(served, bundle, tmp_path):
    other = tmp_path / "signed.bundle"
    make_key(tmp_path / "key.pem")
    pack_zip(bundle, tmp_path / "toy.zip")
    from headtail.bundle import unpack_zip

    signed = unpack_zip(tmp_path / "toy.zip", other)
    sign(signed, tmp_path / "key.pem")
    with publisher(served.url) as ours:
        plain = (tmp_path / "toy.zip").read_bytes()
        bundle_id = bundle.manifest.bundle_id
        served.put(bundle_id, plain[:9000], **{"Content-Range": f"bytes 0-8999/{len(plain)}"})
        done = ours.publish(other)
    assert done.sent == done.size != len(plain)
    assert served.json("GET", "/v2/bundles")[1][0]["signed_by"]


def test_a_refusal_has_the_servers_reason(served, engine, bundle, tmp_path):
    engine.fault = IntegrityFault("The tail is off.", file="tail", expected="E.", remedy="R.")
    with (
        publisher(served.url) as ours,
        pytest.raises(BundleRefused, match="The tail is off") as caught,
    ):
        ours.publish(bundle.path, aliases=["prod"])
    assert caught.value.exit_code == 1
    assert served.ids() == []
    assert names(tmp_path / "store" / "incoming") == []


def test_a_changed_bundle_is_not_sent(served, bundle, tmp_path):
    import shutil

    copy = shutil.copytree(bundle.path, tmp_path / "copy.bundle")
    (copy / "golden.safetensors").write_bytes(b"x")
    with publisher(served.url) as ours:
        with pytest.raises(IntegrityFault):
            ours.publish(copy)
        with pytest.raises(UsageFault, match="not a bundle"):
            ours.publish(tmp_path / "absent")
    assert served.status(bundle.manifest.bundle_id)["state"] == "unknown"
