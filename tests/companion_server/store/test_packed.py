import hashlib
import os
import shutil
import tempfile

import pytest

from companion_server.store.faults import StorageFull
from companion_server.store.packed import pack
from headtail.bundle import open_bundle
from headtail.errors import IntegrityFault
from tests.support.publishing import file_size_limit, zipped


@pytest.fixture
def copy(tiny, tmp_path):
    return open_bundle(shutil.copytree(tiny.path, tmp_path / "copy.bundle"))


@pytest.fixture
def stored(copy):
    held = pack(copy)
    yield held
    held.zip_file.close()


def test_the_packed_copy_has_no_name_and_any_part_of_it_can_be_read(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    stored = pack(tiny)
    assert list(tmp_path.iterdir()) == []
    whole = b"".join(stored.read(0, stored.zip_bytes))
    assert hashlib.sha256(whole).hexdigest() == stored.zip_sha256
    assert whole == zipped(tiny)
    readers = [stored.read(at, at + 5) for at in (0, 100, 7)]  # interleaved, out of order
    assert [next(reader) for reader in readers] == [whole[:5], whole[100:105], whole[7:12]]
    with pytest.raises(OSError, match="1 bytes too early"):
        list(stored.read(stored.zip_bytes, stored.zip_bytes + 1))


def test_the_copy_lives_as_long_as_somebody_reads_it(tiny):
    stored = pack(tiny)
    file, reader = stored.zip_file, stored.read(0, stored.zip_bytes)
    next(reader)
    del stored
    assert not file.closed
    del reader
    assert file.closed


def elsewhere(path):
    return next(p for p in path.parents if p.name == "copy.bundle").with_name("moved")


CHANGES = {
    "a byte": lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?"),
    "gone": lambda path: path.unlink(),
    "shorter": lambda path: os.truncate(path, 3),
    "a link": lambda path: (path.rename(elsewhere(path)), path.symlink_to(elsewhere(path))),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("rel", ["tail/weights.safetensors", "manifest.json"])
def test_a_change_on_disk_is_found_and_the_copy_is_what_it_was(stored, copy, change, rel):
    stored.check()
    CHANGES[change](copy.path / rel)
    with pytest.raises(IntegrityFault) as caught:
        stored.check()
    assert caught.value.file == rel
    whole = b"".join(stored.read(0, stored.zip_bytes))
    assert hashlib.sha256(whole).hexdigest() == stored.zip_sha256


def test_a_change_that_keeps_size_and_time_is_found(stored, copy):
    weights = copy.path / "tail/weights.safetensors"
    before = weights.stat()
    weights.write_bytes(b"?" * before.st_size)
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(IntegrityFault):  # the inode's change time cannot be set
        stored.check()


def test_what_changes_nothing_is_looked_at_once_and_is_fine(stored, copy):
    (copy.path / "golden.safetensors").touch()
    stored.check()
    stored.check()


def test_the_folder_is_gone(stored, copy):
    shutil.rmtree(copy.path)
    with pytest.raises(IntegrityFault):
        stored.check()


def test_no_room_for_the_copy(tiny):
    with file_size_limit(1000), pytest.raises(StorageFull, match="There is no room in"):
        pack(tiny)
