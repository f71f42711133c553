"""The probe against real servers, TLS and plain."""

import asyncio
import contextlib
import socket
import ssl
import subprocess
import sys

import pytest

from companion_server.operations.probe import NO_ANSWER, NOT_READY, READY, probe
from companion_server.security.certificates import ensure_certificate


def application(ready):
    async def app(scope, _receive, send):
        assert scope["path"] == "/v2/health/ready"
        status = 200 if ready else 503
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}"})

    return app


@pytest.mark.parametrize(("ready", "code"), [(True, READY), (False, NOT_READY)])
def test_ready_or_not(serve, ready, code):
    assert probe(f"http://127.0.0.1:{serve(application(ready))}") == code


def test_over_tls_with_a_certificate_that_nobody_signed(serve, tmp_path):
    made = ensure_certificate(tmp_path, names=("127.0.0.1",))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.chain, made.key)
    port = serve(application(True), ssl_context_factory=lambda *_: context)
    assert probe(f"https://127.0.0.1:{port}") == READY


def test_nobody_there(capsys):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # so that nobody else listens there meanwhile
        assert probe(f"http://127.0.0.1:{silent.getsockname()[1]}") == NO_ANSWER
    assert "does not answer" in capsys.readouterr().err


def test_something_else_answers():
    async def babble(_reader, writer):
        writer.write(b"220 mail.example ESMTP\r\n")
        with contextlib.suppress(ConnectionResetError):
            await writer.drain()
        writer.close()

    async def ask():
        server = await asyncio.start_server(babble, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            return await asyncio.to_thread(probe, f"http://127.0.0.1:{port}")

    assert asyncio.run(ask()) == NO_ANSWER


@pytest.mark.slow
def test_as_docker_calls_it(serve):
    port = serve(application(True))
    command = [sys.executable, "-m", "companion_server.operations.probe"]
    environ = {"HEADTAIL_SERVER_PORT": str(port), "HEADTAIL_SERVER_TLS": "0", "HOME": "/"}
    environ["HEADTAIL_SERVER_HOST"] = "0.0.0.0"
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"http://127.0.0.1:{port}/v2/health/ready: 200\n"
