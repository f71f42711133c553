import hashlib
import zipfile

import pytest

from headtail.bundle import pack_zip, unpack_zip, verify_files, write_report
from headtail.errors import IntegrityFault, UsageFault
from tests.support.bundles import tiny_bundle, tiny_report
from tests.support.folders import names


@pytest.fixture
def bundle(tmp_path):
    return tiny_bundle(tmp_path)


def test_round_trip(bundle, tmp_path):
    pack_zip(bundle, tmp_path / "b.zip")
    back = unpack_zip(tmp_path / "b.zip", tmp_path / "back.bundle")
    assert back.manifest == bundle.manifest
    verify_files(back)
    assert names(tmp_path) == ["b.zip", "back.bundle", "tiny.bundle"]


def test_the_bytes_depend_on_the_content_only(bundle, tmp_path):
    pack_zip(bundle, tmp_path / "a.zip")
    bundle.file("golden.safetensors").touch()
    write_report(bundle, tiny_report().to_json())
    pack_zip(bundle, tmp_path / "b.zip")
    digests = {hashlib.sha256((tmp_path / n).read_bytes()).hexdigest() for n in ("a.zip", "b.zip")}
    assert len(digests) == 1


def test_the_profile_is_as_documented(bundle, tmp_path):
    pack_zip(bundle, tmp_path / "b.zip")
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        infos = archive.infolist()
    names = [info.filename for info in infos]
    assert names == sorted([*bundle.manifest.files, "manifest.json"])
    for info in infos:
        assert info.compress_type == zipfile.ZIP_STORED
        assert info.date_time == (1980, 1, 1, 0, 0, 0)
        assert info.external_attr >> 16 == 0o100644
        assert not info.extra
        assert not info.comment


def test_a_file_that_changed_is_not_packed(bundle, tmp_path):
    bundle.file("tail/program.json").write_bytes(b'{"not":"a programme"}')
    with pytest.raises(IntegrityFault, match=r"tail/program\.json has other bytes"):
        pack_zip(bundle, tmp_path / "b.zip")
    bundle.file("tail/program.json").unlink()
    with pytest.raises(IntegrityFault, match=r"tail/program\.json is missing"):
        pack_zip(bundle, tmp_path / "b.zip")
    assert names(tmp_path) == ["tiny.bundle"]


def test_unpacking_overwrites_nothing(bundle, tmp_path):
    pack_zip(bundle, tmp_path / "b.zip")
    with pytest.raises(UsageFault, match="already exists"):
        unpack_zip(tmp_path / "b.zip", bundle.path)
    verify_files(bundle)
