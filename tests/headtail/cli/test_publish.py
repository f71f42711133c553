"""The command end to end with a server that was started in this process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headtail.cli.main import main
from headtail.errors import IntegrityFault
from tests.companion_server.conftest import write_bundle
from tests.support.bundles import tiny_bundle
from tests.support.publishing import IdleEngine, publishing

HERE = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("tiny"))


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["publish", *map(str, arguments), "--json"])
    return ended.value.code, json.loads(capsys.readouterr().out)


def test_publish_with_an_alias(bundle, tmp_path, capsys):
    with publishing(tmp_path, engine=IdleEngine()) as served:
        code, told = run(capsys, bundle.path, "--to", served.url, "--alias", "prod,canary")
        assert code == 0
        assert told["state"] == "live"
        assert told["aliases"] == ["prod", "canary"]
        assert served.aliases("tiny")["canary"] == told["bundle_id"] == bundle.manifest.bundle_id


def test_what_is_refused_before_anything_is_sent(bundle, tmp_path, capsys, monkeypatch):
    nobody = "http://127.0.0.1:9"
    (tmp_path / "key").write_text("not a key\n")
    code, told = run(capsys, bundle.path, "--to", nobody, "--key-file", tmp_path / "key")
    assert (code, told["error"]) == (2, "UsageFault")
    assert "not a key" not in told["what"]
    code, told = run(capsys, bundle.path, "--to", nobody, "--key-file", tmp_path / "absent")
    assert (code, "cannot be read" in told["what"]) == (2, True)
    code, told = run(capsys, bundle.path, "--to", nobody, "--pin", "12")
    assert (code, "fingerprint" in told["what"]) == (2, True)
    monkeypatch.setenv("HEADTAIL_API_KEY", "wrong")
    code, told = run(capsys, bundle.path, "--to", nobody)
    assert (code, "is not an API key" in told["what"]) == (2, True)


def test_a_refused_bundle_is_exit_code_1(bundle, tmp_path, capsys):
    engine = IdleEngine()
    engine.fault = IntegrityFault("The tail is off.", file="tail", expected="E.", remedy="R.")
    with publishing(tmp_path, engine=engine) as served:
        code, told = run(capsys, bundle.path, "--to", served.url)
    assert (code, told["error"]) == (1, "BundleRefused")


@pytest.mark.slow
def test_publish_to_a_real_server_with_its_key_and_its_certificate(tmp_path, capsys, monkeypatch):
    bundle = write_bundle(tmp_path)
    (tmp_path / "store").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(HERE), "HEADTAIL_SERVER_TUNE": "false"}
    command = [sys.executable, "-m", "headtail", "serve", tmp_path / "store", "--port", "0"]
    with subprocess.Popen(
        [*command, "--json"],
        env={**environment, "HEADTAIL_SERVER_STATE_DIR": str(tmp_path / "state")},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        server = json.loads(process.stdout.readline())
        to = (bundle.path, "--to", server["url"], "--alias", "prod")
        code, told = run(capsys, *to)
        assert (code, told["error"]) == (3, "ServerUnreachable")  # an unknown certificate
        code, told = run(capsys, *to, "--pin", "1" * 64)
        assert (code, told["error"]) == (3, "CertificateChanged")
        code, told = run(capsys, *to, "--pin", server["fingerprint"])
        assert (code, told["error"]) == (1, "KeyRefused")
        (tmp_path / "key").write_text(f"{server['key']}\n")
        options = ("--pin", server["fingerprint"], "--key-file", tmp_path / "key")
        code, told = run(capsys, *to, *options)
        assert (code, told["state"], told["sent"]) == (0, "live", told["size"])
        monkeypatch.setenv("HEADTAIL_API_KEY", server["key"])
        code, told = run(capsys, *to, "--pin", server["fingerprint"])
        assert (code, told["sent"]) == (0, 0)
        process.terminate()
