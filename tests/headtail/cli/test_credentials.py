"""`--key-file` and `--pin` of the commands that talk to a companion server."""

import json

import pytest
from PIL import Image

from companion_server.security.certificates import ensure_certificate, tls_context
from headtail.cli.credentials import KEY_VARIABLE, read_key
from headtail.cli.main import main
from headtail.errors import UsageFault
from tests.support.bundles import tiny_bundle
from tests.support.tail_server import TailServer

KEY = "ht_0123456789ab_" + "x" * 43


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "photo.png"
    Image.new("RGB", (8, 8)).save(path)
    return path


def failed(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main([*map(str, arguments), "--json"])
    return ended.value.code, json.loads(capsys.readouterr().out)


def test_another_certificate_than_the_pinned_one(bundle, image, tmp_path, capsys):
    ours = ensure_certificate(tmp_path / "ours")
    with TailServer(bundle.manifest, context=tls_context(ours)) as server:
        options = ["--server", server.url, "--pin", "ab" * 32]
        code, told = failed(capsys, "run", bundle.path, image, *options)
    assert (code, told["error"]) == (3, "CertificateChanged")
    assert ours.fingerprint in told["what"]


def test_a_key_that_is_none_is_told_before_anything_is_sent(bundle, image, tmp_path, capsys):
    (tmp_path / "key").write_text("not a key\n")
    options = ["--server", "http://127.0.0.1:1", "--key-file", tmp_path / "key"]
    code, told = failed(capsys, "run", bundle.path, image, *options)
    assert (code, told["error"]) == (2, "UsageFault")
    assert "headtail keys add" in told["remedy"]


def test_where_the_key_comes_from(tmp_path, monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    assert read_key(None) is None
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    assert read_key(None) == KEY
    (tmp_path / "key").write_text(f"{KEY}2\n")
    assert read_key(tmp_path / "key") == f"{KEY}2"
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(UsageFault, match="cannot be read"):
            read_key(path)
    (tmp_path / "key").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageFault, match="cannot be read"):
        read_key(tmp_path / "key")
