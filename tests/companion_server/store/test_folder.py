import os
import subprocess
import sys
from pathlib import Path

import pytest

from companion_server.store.faults import StorageFull
from companion_server.store.folder import StoreFolder
from headtail.bundle import open_bundle
from headtail.errors import EnvironmentFault, IntegrityFault
from tests.support.folders import names, tree
from tests.support.publishing import file_size_limit, zipped


@pytest.fixture
def folder(root):
    opened = StoreFolder(root)
    yield opened
    opened.close()


@pytest.fixture
def archive(tiny, tmp_path):
    (tmp_path / "upload").write_bytes(zipped(tiny))
    return tmp_path / "upload"


def publish(folder, archive, bundle_id):
    with folder.staged(archive, bundle_id) as staged:
        return folder.publish(staged)


def test_nothing_is_made_before_something_is_written(folder, root, archive, tiny):
    assert folder.held() == []
    assert folder.size() == 0
    assert names(root) == []
    bundle_id = tiny.manifest.bundle_id
    published = publish(folder, archive, bundle_id)
    assert published.path == root / "bundles" / f"{bundle_id}.bundle"
    assert tree(open_bundle(published.path).path) == tree(tiny.path)
    assert folder.held() == [(bundle_id, published.path)]
    assert folder.size() == sum(map(len, tree(tiny.path).values()))
    assert names(root / "incoming") == []


def test_a_staged_bundle_that_is_not_published_leaves_nothing(folder, root, archive, tiny):
    with folder.staged(archive, tiny.manifest.bundle_id):
        assert names(root / "incoming") != []
    assert names(root / "incoming") == []
    assert folder.held() == []


def test_another_bundle_than_promised(folder, root, archive):
    with pytest.raises(IntegrityFault, match="is that of bundle"), folder.staged(archive, "1" * 64):
        raise AssertionError
    assert names(root / "incoming") == []


def test_publishing_replaces_what_is_broken_and_removal_leaves_nothing(folder, root, archive, tiny):
    bundle_id = tiny.manifest.bundle_id
    published = publish(folder, archive, bundle_id)
    (published.path / "golden.safetensors").write_bytes(b"broken")
    publish(folder, archive, bundle_id)
    open_bundle(published.path)
    held = (published.path / "golden.safetensors").open("rb")
    folder.discard(bundle_id)
    folder.discard(bundle_id)  # once more is no harm
    assert folder.held() == []
    assert names(root / "bundles") == names(root / "incoming") == []
    assert len(held.read()) > 100  # who has it open can read on
    held.close()


def test_without_room_nothing_is_half_there(folder, root, archive, tiny):
    folder.prepare()
    with (
        file_size_limit(1000),
        pytest.raises(StorageFull, match="There is no room in"),
        folder.staged(archive, tiny.manifest.bundle_id),
    ):
        raise AssertionError
    assert names(root / "incoming") == names(root / "bundles") == []


def test_what_a_crash_left_is_cleared_and_uploads_are_kept(folder, root):
    folder.prepare()
    folder.close()
    for name in ("unpack-1", "removed-2"):
        (root / "incoming" / name / "x.bundle").mkdir(parents=True)
    (root / "incoming" / "stray").touch()
    part = f"{'1' * 64}.100.part"
    (root / "incoming" / part).write_bytes(b"PK")
    (root / "bundles" / "notes").mkdir()
    again = StoreFolder(root)
    assert names(root / "incoming") == [part]
    assert again.held() == []  # what is not named like a bundle is none
    again.close()


def test_one_process_owns_the_folder(folder, root):
    folder.prepare()
    with pytest.raises(EnvironmentFault, match="belongs to another server"):
        StoreFolder(root)
    beside = StoreFolder(root, read_only=True)
    with pytest.raises(EnvironmentFault, match="was opened to read only"):
        beside.prepare()
    folder.close()
    StoreFolder(root).close()


def test_the_lock_ends_with_its_process(root):
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from companion_server.store.folder import StoreFolder\n"
        "StoreFolder(Path(sys.argv[1])).prepare()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    here = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code, root], cwd=here, check=False)
    assert done.returncode == -9
    StoreFolder(root).close()


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises((EnvironmentFault, OSError)):
        StoreFolder(tmp_path / "file" / "store").prepare()
    if os.access("/proc", os.R_OK):
        with pytest.raises((EnvironmentFault, OSError)):  # not even root makes folders there
            StoreFolder(Path("/proc/store")).prepare()
