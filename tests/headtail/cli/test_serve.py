"""`headtail serve` says where it listens once, when it is ready: a line, or one JSON object."""

import http.client
import json
import logging
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from companion_server.serving import print_address, serve
from tests.companion_server.conftest import write_bundle

ROOT = Path(__file__).parents[3]
TIMEOUT_S = 60


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("served")).path


def is_ready(url):
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    try:
        connection.request("GET", "/v2/health/ready")
        return connection.getresponse().status == 200
    finally:
        connection.close()


def test_announce_is_called_once_with_the_address(bundle, capsys):
    urls = []

    def announce(url):
        urls.append(url)
        signal.raise_signal(signal.SIGINT)  # what ends a server

    serve([bundle], announce=announce, port=0)
    [url] = urls
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
    assert capsys.readouterr().out == ""


def test_the_plain_line(capsys):
    print_address("http://127.0.0.1:1")
    assert capsys.readouterr().out == "listening on http://127.0.0.1:1\n"


@pytest.mark.slow
@pytest.mark.parametrize("as_json", [True, False])
def test_one_line_when_ready_and_none_after(bundle, as_json):
    process = subprocess.Popen(
        [sys.executable, "-m", "headtail.cli", "serve", str(bundle), "--port", "0"]
        + ["--json"] * as_json,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        assert process.stderr
        line = process.stdout.readline()
        assert line, process.stderr.read()
        if as_json:
            body = json.loads(line)
            assert set(body) == {"url", "bundles"}
            assert body["bundles"] == [str(bundle)]
            url = body["url"]
        else:
            url = line.removeprefix("listening on ").rstrip("\n")
        assert is_ready(url)
        process.send_signal(signal.SIGTERM)
        rest, errors = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
        process.communicate()
    assert (rest, process.returncode) == ("", 0)
    assert "Traceback" not in errors


def test_log_handlers_of_other_libraries_stay_open(bundle):
    class Watched(logging.Handler):
        closed = False

        def close(self):
            self.closed = True
            super().close()

    watched = Watched()
    serve([bundle], announce=lambda _url: signal.raise_signal(signal.SIGINT), port=0)
    assert not watched.closed
    watched.close()
