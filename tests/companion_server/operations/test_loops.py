"""TLS handshakes that do not come, through real sockets."""

import asyncio
import socket
import ssl
import subprocess

import pytest

from companion_server.operations.loops import guarded_loop
from tests.support.capabilities import require


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    import shutil

    require(shutil.which("openssl") is not None, "openssl is not installed: bash .ci/packages.sh")
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-subj", "/CN=localhost", "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate, key)
    return made


def run(coroutine, **options):
    with asyncio.Runner(loop_factory=lambda: guarded_loop(**options)) as runner:
        return runner.run(coroutine)


def test_a_handshake_that_does_not_come_is_ended(context):
    made = []

    async def wait_for_the_end():
        def protocol():
            made.append(1)
            return asyncio.Protocol()

        loop = asyncio.get_running_loop()
        server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=context)
        address = server.sockets[0].getsockname()
        silent = socket.create_connection(address)
        silent.setblocking(False)
        try:
            data = await asyncio.wait_for(loop.sock_recv(silent, 100), 10)
        except ConnectionResetError:
            data = b""
        finally:
            silent.close()
            server.close()
            await server.wait_closed()
        return data

    assert run(wait_for_the_end(), handshake_s=0.1) == b""


def test_without_tls_nothing_changes():
    async def ask():
        async def answer(_reader, writer):
            writer.write(b"hello")
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        data = await reader.read()
        writer.close()
        server.close()
        await server.wait_closed()
        return data

    assert run(ask()) == b"hello"


def test_uvicorn_takes_it_by_name():
    import uvicorn

    config = uvicorn.Config("app", loop="companion_server.operations.loops:guarded_loop")
    factory = config.get_loop_factory()
    assert factory is guarded_loop
