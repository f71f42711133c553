"""Zips whose signature lies: by nobody, of something else, too long, in the wrong place."""

import json

import pytest

from headtail.bundle import pack_zip, unpack_zip
from headtail.bundle.signature import MAX_SIGNATURE_BYTES, make_key, sign
from headtail.errors import IntegrityFault
from tests.support.bundles import tiny_bundle
from tests.support.folders import names, tree
from tests.support.publishing import repacked


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    folder = tmp_path_factory.mktemp("signed")
    bundle = tiny_bundle(folder)
    make_key(folder / "key.pem")
    sign(bundle, folder / "key.pem")
    return tree(bundle.path)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("other"), name="other")


def refused(tmp_path, members):
    (tmp_path / "evil.zip").write_bytes(repacked(members))
    with pytest.raises(IntegrityFault) as caught:
        unpack_zip(tmp_path / "evil.zip", tmp_path / "x.bundle")
    assert names(tmp_path) == ["evil.zip"]
    return caught.value


def test_the_writer_of_these_attacks_can_write_a_good_archive(tmp_path, members):
    (tmp_path / "good.zip").write_bytes(repacked(members))
    assert tree(unpack_zip(tmp_path / "good.zip", tmp_path / "x.bundle").path) == members


def test_a_bit_of_it_changed(tmp_path, members):
    for at in range(0, len(members["signature"]), 7):
        changed = bytearray(members["signature"])
        changed[at] ^= 1
        fault = refused(tmp_path, {**members, "signature": bytes(changed)})
        assert fault.file == "signature"


def test_it_is_of_another_bundle(tmp_path, members, bundle):
    fault = refused(tmp_path, {**tree(bundle.path), "signature": members["signature"]})
    assert "is not of this manifest" in fault.what


def test_it_is_huge(tmp_path, members):
    padded = members["signature"] + b" " * MAX_SIGNATURE_BYTES
    assert refused(tmp_path, {**members, "signature": padded}).what == "signature is too large."


@pytest.mark.parametrize("name", ["Signature", "signature.json", "tail/signature", "signature/x"])
def test_it_is_called_otherwise(tmp_path, members, name):
    moved = {key: data for key, data in members.items() if key != "signature"}
    assert refused(tmp_path, {**moved, name: members["signature"]}).file == name


def test_there_are_two(tmp_path, members):
    value = json.loads(members["signature"])
    twice = json.dumps({**value, "signatures": [value]}, separators=(",", ":")).encode()
    assert "Unknown key" in refused(tmp_path, {**members, "signature": twice}).what


def test_an_unsigned_zip_is_still_a_bundle(tmp_path, members, bundle):
    pack_zip(bundle, tmp_path / "plain.zip")
    assert "signature" not in tree(unpack_zip(tmp_path / "plain.zip", tmp_path / "x.bundle").path)
