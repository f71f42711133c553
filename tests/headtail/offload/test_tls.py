"""The same over TLS: waking, staleness and counting go around the TLS layer, so they are tried."""

import shutil
import ssl
import subprocess
import threading

import pytest

from headtail.errors import ServerUnreachable
from headtail.offload.client import Companion
from tests.headtail.offload.test_client import IMAGE, ask
from tests.support.capabilities import require
from tests.support.tail_server import TailServer, head, tail


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    require(shutil.which("openssl") is not None, "no openssl for a certificate: .ci/packages.sh")
    folder = tmp_path_factory.mktemp("tls")
    files = ["-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    name = ["-subj", "/CN=companion", "-addext", "subjectAltName=IP:127.0.0.1"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run(
        ["openssl", "req", "-x509", *curve, "-days", "2", *files, *name],
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture
def server(bundle, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    with TailServer(bundle.manifest, context=context) as served:
        yield served


@pytest.fixture
def companion(server, certificate):
    context = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
    client = Companion(server.url, context=context)
    yield client
    client.close()


def test_one_connection_is_kept(companion, server, bundle):
    for _ in range(4):
        assert ask(companion, bundle).outputs[0].tolist() == tail(head(IMAGE)).tolist()
    assert (server.requests, server.connections) == (4, 1)


def test_a_kept_connection_that_the_server_closed_is_replaced(companion, server, bundle):
    ask(companion, bundle)
    server.drop_connections()
    assert ask(companion, bundle).names == ("logits",)
    assert (server.requests, server.connections) == (2, 2)


def test_abort_from_another_thread(companion, server, bundle):
    server.mode = "hang"
    failures = []

    def run():
        try:
            ask(companion, bundle)
        except ServerUnreachable as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert server.hanging.wait(5)
    companion.abort()
    thread.join(5)
    assert not thread.is_alive()
    assert len(failures) == 1
    server.release.set()
    server.mode = "good"
    assert ask(companion, bundle).names == ("logits",)


@pytest.mark.parametrize("mode", ["hang", "drip"])
def test_the_deadline(companion, server, bundle, mode):
    server.mode = mode
    with pytest.raises(ServerUnreachable, match="within 200 ms"):
        ask(companion, bundle, deadline_ms=200)


def test_an_unknown_authority_is_refused(server, bundle):
    companion = Companion(server.url)
    with pytest.raises(ServerUnreachable, match="self-signed certificate"):
        ask(companion, bundle)
    assert server.requests == 0
    companion.close()
