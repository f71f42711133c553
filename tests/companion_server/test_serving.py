"""The server as a process of its own, as `headtail serve` and the demo start it."""

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.companion_server.conftest import write_bundle

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 60


def start(*arguments, temporary=None, **given):
    settings = {"tls": False, "auth": False, **given}
    environment = {
        **os.environ,
        **({"TMPDIR": str(temporary)} if temporary else {}),
        "PYTHONPATH": str(ROOT),
        **{f"HEADTAIL_SERVER_{key.upper()}": str(value) for key, value in settings.items()},
    }
    return subprocess.Popen(
        [sys.executable, "-m", "companion_server", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_port_0_is_announced_and_a_signal_ends_it_and_leaves_nothing(bundle_path, tmp_path, end):
    process = start(bundle_path, temporary=tmp_path, port=0)
    try:
        line = process.stdout.readline()
        match = re.fullmatch(r"listening on http://127\.0\.0\.1:(\d+)\n", line)
        assert match, line + process.stderr.read()
        connection = http.client.HTTPConnection("127.0.0.1", int(match[1]), timeout=10)
        connection.request("GET", "/v2/health/ready")
        reply = connection.getresponse()
        assert reply.status == 200  # announced means ready
        assert reply.headers["date"]  # RFC 9110 §6.6.1
        connection.close()
        process.send_signal(end)
        rest, errors = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
        process.communicate()
    assert (rest, errors) == ("", "")
    assert process.returncode == (-end if end is signal.SIGKILL else 0)
    assert list(tmp_path.iterdir()) == []  # no packed bundle is left behind


def finished(process):
    output, errors = process.communicate(timeout=TIMEOUT_S)
    assert output == ""
    assert "Traceback" not in errors
    return process.returncode, errors


@pytest.mark.slow
def test_a_tail_that_is_wrong_ends_the_process_with_one_error(tmp_path):
    state = tmp_path / "state"
    spoilt = write_bundle(tmp_path, spoil=True).path
    code, errors = finished(start(spoilt, port=0, auth=True, tls=True, state_dir=state))
    assert code == 1
    assert "dB against the golden output" in errors
    # the first key is shown once, when the server is ready: one made now would be nobody's
    assert (state / "tls.pem").exists()
    assert not (state / "keys.json").exists()


@pytest.mark.slow
def test_a_taken_port_a_changed_byte_and_a_misspelt_setting(bundle_path, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, errors = finished(start(bundle_path, port=port))
        assert code == 2
        assert f"Cannot listen on 127.0.0.1 port {port}" in errors
    copy = shutil.copytree(bundle_path, tmp_path / "copy.bundle")
    golden = copy / "golden.safetensors"
    golden.write_bytes(golden.read_bytes()[:-1])
    code, errors = finished(start(copy, port=0))
    assert code == 1
    assert "golden.safetensors" in errors
    code, errors = finished(start(bundle_path, prot=0))
    assert code == 2
    assert "Did you mean 'port'?" in errors
