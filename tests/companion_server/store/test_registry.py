import hashlib
import shutil
import tempfile

import pytest

from companion_server.store import BundleStore
from headtail.errors import BundleMismatch, IntegrityFault, UnknownName, UsageFault
from tests.companion_server.conftest import write_bundle


@pytest.fixture
def both(bundle, newer):
    store = BundleStore([bundle.path, newer.path])
    yield store
    store.close()


def test_a_changed_byte_is_found_before_anything_is_served(bundle_path, tmp_path):
    copy = shutil.copytree(bundle_path, tmp_path / "copy.bundle")
    weights = copy / "tail/weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(IntegrityFault, match=r"tail/weights\.safetensors"):
        BundleStore([copy])


def test_no_bundle_is_a_usage_fault():
    with pytest.raises(UsageFault, match="No bundle was given"):
        BundleStore([])


def test_equal_bundles_are_held_once(bundle_path):
    store = BundleStore([bundle_path, bundle_path])
    assert len(store.bundles) == 1
    store.close()


def test_equal_content_gives_equal_zips(tmp_path):
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
    stores = [BundleStore([write_bundle(tmp_path / place).path]) for place in ("a", "b")]
    first, second = (store.version("toy") for store in stores)
    assert (first.bundle_id, first.zip_sha256) == (second.bundle_id, second.zip_sha256)
    for store in stores:
        store.close()


def test_the_last_version_given_is_the_default(both, bundle, newer):
    assert both.version("toy").bundle_id == newer.manifest.bundle_id
    assert both.version("toy", bundle.manifest.bundle_id).bundle_id == bundle.manifest.bundle_id


def test_a_version_that_is_not_held_lists_those_that_are(both, bundle, newer):
    with pytest.raises(BundleMismatch) as caught:
        both.version("toy", "0" * 64)
    cuts = ["c1", "c2"]
    assert caught.value.held == {
        bundle.manifest.bundle_id: cuts,
        newer.manifest.bundle_id: cuts,
    }


def test_unknown_model_and_bundle(both):
    with pytest.raises(UnknownName, match="Known: toy"):
        both.version("cat")
    with pytest.raises(UnknownName, match="Unknown bundle"):
        both.bundle("cat")


def test_the_packed_copy_has_no_name_and_any_part_of_it_can_be_read(
    bundle_path, tmp_path, monkeypatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    store = BundleStore([bundle_path])
    assert list(tmp_path.iterdir()) == []
    stored = store.version("toy")
    whole = b"".join(stored.read(0, stored.zip_bytes))
    assert hashlib.sha256(whole).hexdigest() == stored.zip_sha256
    readers = [stored.read(at, at + 5) for at in (0, 100, 7)]  # interleaved, out of order
    assert [next(reader) for reader in readers] == [whole[:5], whole[100:105], whole[7:12]]
    with pytest.raises(OSError, match="1 bytes too early"):
        list(stored.read(stored.zip_bytes, stored.zip_bytes + 1))
    store.close()
    assert stored.zip_file.closed
