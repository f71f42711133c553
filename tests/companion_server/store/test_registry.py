import dataclasses
import shutil

import pytest

from companion_server.store import BundleStore, StoreRules
from companion_server.store.faults import StorageFull, StoreConflict
from headtail.bundle import open_bundle, pack_zip
from headtail.errors import (
    BundleMismatch,
    EnvironmentFault,
    IntegrityFault,
    UnknownName,
    UsageFault,
)
from tests.companion_server.conftest import write_bundle
from tests.support.bundles import tiny_bundle
from tests.support.folders import names
from tests.support.publishing import file_size_limit


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


@pytest.fixture
def kept(root, tiny, tmp_path):
    """A store whose folder holds one published bundle."""
    store = BundleStore([root])
    publish(store, tiny, tmp_path)
    yield store
    store.close()


def publish(store, bundle, tmp_path, allow=lambda _model: None):
    archive = archived(bundle, tmp_path)
    stored = store.stage(archive, bundle.manifest.bundle_id, allow)
    assert not archive.exists()
    store.add(stored)
    return stored


def test_what_was_published_is_there_again_with_its_aliases(kept, root, tiny, other, tmp_path):
    bundle_id = tiny.manifest.bundle_id
    kept.set_alias("tiny", "prod", bundle_id)
    kept.close()
    again = BundleStore([root, other.path])
    assert list(again.bundles) == [bundle_id, other.manifest.bundle_id]
    assert again.version("tiny", "prod").published
    assert again.aliases("tiny") == {"latest": bundle_id, "prod": bundle_id}
    assert not again.version("other").published
    assert again.aliases("other") == {"latest": other.manifest.bundle_id}
    again.close()


def test_latest_is_what_was_published_last_also_after_a_restart(root, tmp_path):
    bundles = [versioned(tmp_path, note) for note in ("first", "second", "third")]
    ids = [bundle.manifest.bundle_id for bundle in bundles]
    store = BundleStore([root])
    for bundle in (bundles[0], bundles[2], bundles[1]):
        publish(store, bundle, tmp_path)
    assert store.version("tiny").bundle_id == ids[1]
    store.set_alias("tiny", "latest", ids[0])  # by hand, until the next publication
    store.close()
    store = BundleStore([root])
    assert store.version("tiny").bundle_id == ids[0]
    assert [stored.bundle_id for stored in store.versions("tiny")] == [ids[0], ids[2], ids[1]]
    store.remove(ids[0])
    store.discard(ids[0])
    assert store.version("tiny").bundle_id == ids[1]  # the newest that is left
    store.close()


def versioned(tmp_path, note):
    bundle = tiny_bundle(tmp_path)
    manifest = dataclasses.replace(bundle.manifest, source=note).sealed()
    (bundle.path / "manifest.json").write_bytes(manifest.to_bytes())
    (bundle.path).rename(tmp_path / f"{note}.bundle")
    return open_bundle(tmp_path / f"{note}.bundle")


def test_an_alias_holds_its_bundle(kept, tiny):
    bundle_id = tiny.manifest.bundle_id
    kept.set_alias("tiny", "prod", bundle_id)
    with pytest.raises(StoreConflict, match="prod of 'tiny' point"):
        kept.remove(bundle_id)
    kept.set_alias("tiny", "prod", None)
    kept.remove(bundle_id)
    with pytest.raises(UnknownName):
        kept.version("tiny")


def test_an_alias_that_points_to_nothing_here_is_a_mismatch(kept, root, tiny, other):
    kept.set_alias("tiny", "prod", tiny.manifest.bundle_id)
    kept.close()
    path = root / "aliases.json"
    path.write_text(path.read_text().replace(tiny.manifest.bundle_id, "1" * 64))
    store = BundleStore([root])
    assert store.version("tiny").bundle_id == tiny.manifest.bundle_id
    with pytest.raises(BundleMismatch) as caught:
        store.version("tiny", "prod")
    assert set(caught.value.held) == {tiny.manifest.bundle_id}
    store.close()


def test_without_room_nothing_changes(kept, other, tmp_path):
    bundles, aliases = dict(kept.bundles), kept.aliases("tiny")
    archive = archived(other, tmp_path)
    with file_size_limit(3000), pytest.raises(StorageFull):
        kept.stage(archive, other.manifest.bundle_id, lambda _model: None)
    with file_size_limit(10), pytest.raises(StorageFull):
        kept.set_alias("tiny", "prod", kept.version("tiny").bundle_id)
    assert (dict(kept.bundles), kept.aliases("tiny")) == (bundles, aliases)
    assert names(kept.folder.incoming) == []


def test_a_store_beside_another_reads_only(kept, root, tiny, other, tmp_path):
    beside = BundleStore([root], rules=StoreRules(read_only=True))
    assert beside.version("tiny").bundle_id == tiny.manifest.bundle_id
    with pytest.raises(EnvironmentFault, match="to read only"):
        beside.stage(archived(other, tmp_path), other.manifest.bundle_id, lambda _model: None)
    beside.close()
    with pytest.raises(EnvironmentFault, match="belongs to another server"):
        BundleStore([root])


def test_a_trusted_key_that_is_none():
    with pytest.raises(UsageFault, match="is no Ed25519 public key"):
        StoreRules(trusted_keys=("AB" * 32,))


def test_a_root_given_apart_is_made_when_it_is_needed(tiny, other, tmp_path):
    store = BundleStore([tiny.path], root=tmp_path / "state" / "bundles")
    assert not (tmp_path / "state").exists()
    publish(store, other, tmp_path)
    assert names(tmp_path / "state" / "bundles") == [
        ".lock",
        "aliases.json",
        "bundles",
        "incoming",
    ]
    store.close()


def archived(bundle, tmp_path):
    path = tmp_path / "upload"
    pack_zip(bundle, path)
    return path
