"""`headtail serve` says where it listens once, when it is ready: a line, or one JSON object."""

import functools
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

from companion_server.announcement import Announcement, print_announcement
from companion_server.serving import serve
from headtail.offload.client import Companion
from headtail.offload.refusals import Refusal
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


@pytest.mark.slow
def test_announce_is_called_once_with_the_address(bundle, capsys, tmp_path):
    told = []

    def announce(announcement):
        told.append(announcement)
        signal.raise_signal(signal.SIGINT)  # what ends a server

    serve([bundle], announce=announce, port=0, tls=False, auth=False, state_dir=tmp_path)
    [announcement] = told
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", announcement.url)
    assert announcement == Announcement(announcement.url)
    assert capsys.readouterr().out == ""


def test_the_plain_line(capsys):
    print_announcement(Announcement("http://127.0.0.1:1"))
    assert capsys.readouterr().out == "listening on http://127.0.0.1:1\n"


def test_what_a_first_start_says(capsys):
    uri = "headtail://pair?url=https%3A%2F%2F192.0.2.1%3A8707&token=" + "a" * 22
    print_announcement(Announcement("https://192.0.2.1:8707", "ab" * 32, "ht_key", uri, "h:1"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "listening on https://192.0.2.1:8707"
    assert "gRPC on h:1" in lines
    assert "certificate SHA-256 " + "ab" * 32 in lines
    assert "API key, shown this once: ht_key" in lines
    assert lines[-1] == uri
    assert len(lines) > 20  # the code itself


@pytest.mark.slow
def test_a_clean_machine_gets_tls_a_key_and_a_pairing_code_and_keeps_them(bundle, tmp_path):
    first, second = started_once(bundle, tmp_path), started_once(bundle, tmp_path)
    assert first["url"].startswith("https://127.0.0.1:")
    assert re.fullmatch("[0-9a-f]{64}", first["fingerprint"])
    assert second["fingerprint"] == first["fingerprint"]
    assert first["key"].startswith("ht_")
    assert "key" not in second  # shown once
    assert first["pairing"].startswith("headtail://pair?url=https")
    assert second["pairing"] != first["pairing"]


def started_once(bundle, state_dir):
    """What `--json` says of a server whose defaults were not touched; it is asked with its pin."""
    arguments = ["serve", str(bundle), "--port", "0", "--state-dir", str(state_dir), "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "headtail.cli", *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        told = json.loads(process.stdout.readline())
        companion = Companion(told["url"], pin=told["fingerprint"])
        with pytest.raises(Refusal, match="401"):
            companion.bundles()
        companion.close()
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    return told


@pytest.mark.slow
@pytest.mark.parametrize("as_json", [True, False])
def test_one_line_when_ready_and_none_after(bundle, as_json, tmp_path):
    plain = ["--no-tls", "--no-auth", "--state-dir", str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-m", "headtail.cli", "serve", str(bundle), "--port", "0", *plain]
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


@pytest.mark.slow
def test_log_handlers_of_other_libraries_stay_open(bundle, tmp_path):
    class Watched(logging.Handler):
        closed = False

        def close(self):
            self.closed = True
            super().close()

    watched = Watched()
    end = functools.partial(signal.raise_signal, signal.SIGINT)
    own = {"tls": False, "auth": False, "state_dir": tmp_path}
    serve([bundle], announce=lambda _told: end(), port=0, **own)
    assert not watched.closed
    watched.close()
