import gc

import pytest

from headtail.bundle import open_bundle, pack_zip
from headtail.errors import IntegrityFault, UsageFault
from tests.support.bundles import tiny_bundle


def test_a_folder(tmp_path):
    bundle = tiny_bundle(tmp_path)
    assert open_bundle(bundle.path) == bundle
    assert open_bundle(bundle.path, check=False) == bundle


def test_without_check_only_the_manifest_is_read(tmp_path):
    bundle = tiny_bundle(tmp_path)
    bundle.file("golden.safetensors").write_bytes(b"changed")
    assert open_bundle(bundle.path, check=False) == bundle
    with pytest.raises(IntegrityFault, match=r"golden\.safetensors has 7 bytes"):
        open_bundle(bundle.path)


def test_a_zip_lives_as_long_as_its_bundle(tmp_path):
    bundle = tiny_bundle(tmp_path)
    pack_zip(bundle, tmp_path / "tiny.bundle.zip")
    opened = open_bundle(tmp_path / "tiny.bundle.zip")
    folder = opened.path
    assert opened.manifest == bundle.manifest
    assert folder.name == "tiny.bundle"
    assert opened.golden().keys() == bundle.golden().keys()
    del opened
    gc.collect()
    assert not folder.parent.exists()


def test_what_is_no_bundle(tmp_path):
    (tmp_path / "note.txt").write_text("hello")
    for path in (tmp_path, tmp_path / "note.txt", tmp_path / "absent.bundle"):
        with pytest.raises(UsageFault):
            open_bundle(path)
