import pytest

from headtail.bundle.staging import Staging
from headtail.errors import UsageFault
from tests.support.folders import names


def test_parents_are_made_and_the_commit_is_a_rename(tmp_path):
    destination = tmp_path / "deep" / "er" / "x.bundle"
    with Staging(destination) as staging:
        (staging.path / "a").write_bytes(b"1")
        assert not destination.exists()
        inode = staging.path.stat().st_ino
        staging.commit()
    assert destination.stat().st_ino == inode
    assert names(destination.parent) == ["x.bundle"]


def test_the_old_bundle_comes_back_when_the_rename_fails(tmp_path):
    destination = tmp_path / "x.bundle"
    destination.mkdir()
    (destination / "manifest.json").write_bytes(b"old")
    with Staging(destination, force=True) as staging:
        real, staging.path = staging.path, staging.path / "gone"
        with pytest.raises(FileNotFoundError):
            staging.commit()
        staging.path = real
    assert (destination / "manifest.json").read_bytes() == b"old"
    assert names(tmp_path) == ["x.bundle"]


def test_two_writers_of_one_process_do_not_meet(tmp_path):
    with Staging(tmp_path / "x.bundle") as one, Staging(tmp_path / "x.bundle") as two:
        assert one.path != two.path
        one.commit()
        with pytest.raises(UsageFault, match="exists already"):
            two.commit()
    assert names(tmp_path) == ["x.bundle"]
