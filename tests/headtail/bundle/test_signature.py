import hashlib
import json
import stat

import pytest

from headtail.bundle import open_bundle, pack_zip, unpack_zip, verify_files
from headtail.bundle.signature import check_trusted, make_key, read_signature, sign
from headtail.errors import IntegrityFault, UsageFault
from tests.support.bundles import tiny_bundle
from tests.support.folders import names


@pytest.fixture
def bundle(tmp_path):
    return tiny_bundle(tmp_path)


@pytest.fixture
def key(tmp_path):
    make_key(tmp_path / "key.pem")
    return tmp_path / "key.pem"


def test_a_signature_is_read_back_and_travels_in_the_zip(bundle, key, tmp_path):
    assert read_signature(bundle) is None
    signature = sign(bundle, key)
    assert open_bundle(bundle.path).manifest == bundle.manifest
    assert read_signature(bundle) == signature
    pack_zip(bundle, tmp_path / "b.zip")
    back = unpack_zip(tmp_path / "b.zip", tmp_path / "back.bundle")
    assert read_signature(back) == signature
    verify_files(back)


def test_the_key_signs_the_same_bytes_in_the_same_way(bundle, key, tmp_path):
    digests = set()
    for _ in range(2):
        sign(bundle, key)
        pack_zip(bundle, tmp_path / "b.zip")
        digests.add(hashlib.sha256((tmp_path / "b.zip").read_bytes()).hexdigest())
    assert len(digests) == 1
    assert "signature" in names(bundle.path)


def test_a_key_is_private_and_never_overwritten(key):
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    with pytest.raises(UsageFault, match="already exists"):
        make_key(key)


def test_another_keys_signature_is_replaced_only_by_force(bundle, key, tmp_path):
    first = sign(bundle, key)
    other = tmp_path / "other.pem"
    public = make_key(other)
    with pytest.raises(UsageFault, match=f"signed by key {first.public_key} already"):
        sign(bundle, other)
    assert sign(bundle, other, force=True).public_key == public


@pytest.mark.parametrize("content", [b"", b"-----BEGIN PRIVATE KEY-----\n", b"\0" * 32])
def test_what_is_no_key(bundle, tmp_path, content):
    path = tmp_path / "no.pem"
    path.write_bytes(content)
    with pytest.raises(UsageFault, match="cannot be used as a key"):
        sign(bundle, path)
    with pytest.raises(UsageFault, match="cannot be used as a key"):
        sign(bundle, tmp_path / "absent.pem")


def test_a_key_of_another_kind(bundle, tmp_path):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (tmp_path / "ec.pem").write_bytes(pem)
    with pytest.raises(UsageFault, match="holds"):
        sign(bundle, tmp_path / "ec.pem")


def test_whom_to_trust(bundle, key, tmp_path):
    with pytest.raises(IntegrityFault, match="signed by nobody"):
        check_trusted(bundle, ["0" * 64])
    public = sign(bundle, key).public_key
    check_trusted(bundle, ["0" * 64, public])
    with pytest.raises(IntegrityFault, match=f"signed by key {public}"):
        check_trusted(bundle, ["0" * 64])


def spoil(bundle, change):
    path = bundle.path / "signature"
    value = json.loads(path.read_bytes())
    data = change(value)
    path.write_bytes(
        data if isinstance(data, bytes) else json.dumps(data, separators=(",", ":")).encode()
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda v: b"",
        lambda v: b"{}",
        lambda v: b"x" * 2000,
        lambda v: {**v, "extra": 1},
        lambda v: {**v, "algorithm": "none"},
        lambda v: {**v, "public_key": v["public_key"].upper()},
        lambda v: {**v, "public_key": "0" * 64},
        lambda v: {**v, "public_key": "01" + "0" * 62},
        lambda v: {**v, "signature": "0" * 128},
        lambda v: {**v, "signature": v["signature"][:-2]},
        lambda v: json.dumps(v).encode(),  # not canonical
    ],
)
def test_a_signature_that_does_not_fit_is_found_wherever_the_bundle_is_opened(
    bundle, key, tmp_path, change
):
    sign(bundle, key)
    pack_zip(bundle, tmp_path / "good.zip")
    spoil(bundle, change)
    for attempt in (
        lambda: open_bundle(bundle.path),
        lambda: pack_zip(bundle, tmp_path / "b.zip"),
        lambda: sign(bundle, key, force=True),
    ):
        with pytest.raises(IntegrityFault) as caught:
            attempt()
        assert caught.value.file == "signature"


def test_another_bundles_signature_does_not_fit(bundle, key, tmp_path):
    other = tiny_bundle(tmp_path, name="other")
    sign(other, key)
    (other.path / "signature").rename(bundle.path / "signature")
    with pytest.raises(IntegrityFault, match="is not of this manifest"):
        open_bundle(bundle.path)


def test_a_signature_that_is_a_link(bundle, key, tmp_path):
    sign(bundle, key)
    (bundle.path / "signature").rename(tmp_path / "signature")
    (bundle.path / "signature").symlink_to(tmp_path / "signature")
    with pytest.raises(IntegrityFault, match="symbolic link"):
        open_bundle(bundle.path)
