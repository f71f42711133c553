"""A server as a clean machine starts it, and a phone: paired, answered, shut out, moved over.

The real command in a process of its own; the phone is `headtail.offload`, keys are changed with
`headtail keys` while the server runs.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from headtail.cli.main import main
from headtail.offload.client import Companion, pair
from headtail.offload.pinning import CertificateChanged
from headtail.offload.refusals import KeyRefused

ROOT = Path(__file__).parents[3]
TIMEOUT_S = 60


@contextlib.contextmanager
def served(bundle_path, state, port=0):
    """`headtail serve BUNDLE --json`, with what it announced."""
    options = ["--port", str(port), "--state-dir", str(state), "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "headtail.cli", "serve", str(bundle_path), *options],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HEADTAIL_SERVER_TUNE": "false"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=TIMEOUT_S)


def keys(state, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["keys", *arguments, "--state-dir", str(state)])
    assert ended.value.code == 0


def answered(companion, bundle):
    cut, golden = bundle.manifest.cut("c1"), bundle.golden()
    arrays = [golden[f"cut.c1.0.{spec.name}"] for spec in cut.tensors]
    name, bundle_id = bundle.manifest.name, bundle.manifest.bundle_id
    reply = companion.infer_tail(name, bundle_id, cut, "raw32", arrays, deadline_ms=5000)
    return reply.names == ("output_0", "output_1")


@pytest.mark.slow
def test_the_life_of_a_phone(bundle, tmp_path):
    state = tmp_path / "state"
    with served(bundle.path, state) as told:
        port = int(told["url"].rpartition(":")[2])
        url, pin, key = pair(told["pairing"], name="Pixel 8")
        assert (url, pin) == (told["url"], told["fingerprint"])
        with contextlib.closing(Companion(url, pin=pin, key=key)) as phone:
            assert answered(phone, bundle)
            keys(state, "revoke", key.split("_")[1])
            with pytest.raises(KeyRefused, match="Pair this device again"):
                answered(phone, bundle)
        with contextlib.closing(Companion(url, pin=pin, key=told["key"])) as desk:
            assert answered(desk, bundle)
    (state / "tls.pem").unlink()  # set up anew, or somebody else in its place
    with served(bundle.path, state, port) as again:
        assert again["fingerprint"] != pin
        with contextlib.closing(Companion(url, pin=pin, key=told["key"])) as desk:
            for _ in range(2):
                with pytest.raises(CertificateChanged, match=again["fingerprint"]):
                    answered(desk, bundle)
        url, pin, key = pair(again["pairing"], name="Pixel 8")
        with contextlib.closing(Companion(url, pin=pin, key=key)) as phone:
            assert answered(phone, bundle)
    lines = [json.loads(line) for line in (state / "audit.jsonl").read_text().splitlines()]
    done = [(line["verb"], line.get("name")) for line in lines]
    assert done.count(("pair", "Pixel 8")) == 2
    assert ("keys", "Pixel 8") in done
    assert any(line["verb"] == "refused" and line["status"] == 401 for line in lines)
    secrets = [text.split("_", 2)[2] for text in (key, told["key"])]
    kept = b"".join(path.read_bytes() for path in state.rglob("*.json*"))
    assert not any(secret.encode() in kept for secret in secrets)
