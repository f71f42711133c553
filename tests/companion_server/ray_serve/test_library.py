"""What a replica accepts as a bundle that came through the object store."""

import hashlib
import tempfile
from pathlib import Path

import numpy as np
import pytest

from companion_server.ray_serve.library import Unpacked
from headtail.bundle import pack_zip
from headtail.errors import IntegrityFault, SchemaFault


@pytest.fixture(scope="module")
def packed(bundle, tmp_path_factory):
    path = tmp_path_factory.mktemp("packed") / "bundle.zip"
    pack_zip(bundle, path)
    return np.fromfile(path, np.uint8)


def digest(data):
    return hashlib.sha256(data.data).hexdigest()


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Where `tempfile` makes its folders, so that what is left can be seen."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_bundle_is_open_inside_the_block_and_gone_behind_it(bundle, packed, temporary):
    with Unpacked(bundle.manifest.bundle_id, digest(packed), packed) as opened:
        assert opened.manifest == bundle.manifest
        assert opened.golden().keys() == bundle.golden().keys()
        folder = Path(opened.path).parent
        assert folder.is_dir()
    assert list(temporary.iterdir()) == []


def test_other_bytes_than_were_packed_are_refused(bundle, packed, temporary):
    spoilt = packed.copy()
    spoilt[spoilt.size // 2] ^= 1
    with (
        pytest.raises(IntegrityFault, match="SHA-256 is another"),
        Unpacked(bundle.manifest.bundle_id, digest(packed), spoilt),
    ):
        pass
    assert list(temporary.iterdir()) == []


def test_a_zip_whose_files_do_not_match_its_manifest_is_refused(bundle, packed, temporary):
    spoilt = packed.copy()
    spoilt[spoilt.size // 2] ^= 1
    with (
        pytest.raises((IntegrityFault, SchemaFault)),
        Unpacked(bundle.manifest.bundle_id, digest(spoilt), spoilt),
    ):
        pass
    assert list(temporary.iterdir()) == []


def test_another_bundle_is_refused_though_it_is_whole(newer, packed, temporary):
    with (
        pytest.raises(IntegrityFault, match="the zip holds"),
        Unpacked(newer.manifest.bundle_id, digest(packed), packed),
    ):
        pass
    assert list(temporary.iterdir()) == []


def test_the_folder_goes_though_the_block_fails(bundle, packed, temporary):
    def fail():
        with Unpacked(bundle.manifest.bundle_id, digest(packed), packed):
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(temporary.iterdir()) == []
