"""Reports that lie: figures edited, another page, the seal done again but not canonically."""

import hashlib
import json

import pytest

from headtail.bundle import read_report, write_report
from headtail.errors import IntegrityFault
from tests.support.bundles import tiny_bundle, tiny_report
from tests.support.sealing import canonical


@pytest.fixture
def bundle(tmp_path):
    bundle = tiny_bundle(tmp_path)
    write_report(bundle, tiny_report().to_json())
    return bundle


def envelope(bundle):
    return json.loads((bundle.path / "report.json").read_bytes())


def resealed(value):
    digest = hashlib.sha256(canonical({**value, "sha256": ""})).hexdigest()
    return canonical({**value, "sha256": digest})


def expect(bundle, data, file="report.json"):
    (bundle.path / "report.json").write_bytes(data)
    with pytest.raises(IntegrityFault) as caught:
        read_report(bundle)
    assert caught.value.file == file
    return caught.value


def test_our_second_seal_agrees_with_the_first(bundle):
    assert resealed(envelope(bundle)) == (bundle.path / "report.json").read_bytes()


def test_a_better_figure(bundle):
    value = envelope(bundle)
    value["report"]["artifacts"][1]["agreement"] = 1.0
    assert "does not match its own SHA-256" in expect(bundle, canonical(value)).what


@pytest.mark.parametrize(
    "change",
    [
        {"more": 1},
        {"report": []},
        {"report": None},
        {"bundle_id": "0" * 64},
        {"bundle_id": None},
        {"bundle_id": ["x"]},
    ],
)
def test_sealed_again_with_other_content(bundle, change):
    expect(bundle, resealed({**envelope(bundle), **change}))


@pytest.mark.parametrize("digest", ["0" * 64, None, 7, []])
def test_sealed_again_for_another_page(bundle, digest):
    expect(bundle, resealed({**envelope(bundle), "html_sha256": digest}), file="report.html")


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b"null", b"{", b"\xff", b"[" * 100_000, b'{"a":1,"a":1}', b'{"a":1e999}',
     b'{"a":NaN}', b'"\\ud800"'],
)  # fmt: skip
def test_not_a_sealed_report(bundle, data):
    str(expect(bundle, data)).encode()


def test_a_huge_report_is_not_read(bundle):
    for rel in ("report.html", "report.json"):
        with (bundle.path / rel).open("r+b") as file:
            file.truncate(1 << 40)
        with pytest.raises(IntegrityFault, match="At most 8388608 bytes") as caught:
            read_report(bundle)
        assert caught.value.file == rel
