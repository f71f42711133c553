import signal
import subprocess
import sys
from pathlib import Path

import pytest

import headtail
from headtail.bundle import open_bundle
from headtail.bundle.staging import Staging
from headtail.errors import UsageFault
from tests.support.bundles import tiny_bundle
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
        with pytest.raises(UsageFault, match="already exists"):
            two.commit()
    assert names(tmp_path) == ["x.bundle"]


KILLED = """
import os, signal, sys
from pathlib import Path
from headtail.bundle import BundleWriter

with BundleWriter(Path(sys.argv[1])) as writer:
    writer.add("artifacts/half", b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_writer_leaves_no_bundle_and_is_in_nobodys_way(tmp_path):
    destination = tmp_path / "tiny.bundle"
    root = Path(headtail.__file__).parents[1]
    process = subprocess.run([sys.executable, "-c", KILLED, destination], cwd=root, check=False)
    assert process.returncode == -signal.SIGKILL
    (left,) = names(tmp_path)
    assert left.startswith(".tiny.bundle.partial-")
    with pytest.raises(UsageFault, match="is not a bundle"):
        open_bundle(destination)
    assert open_bundle(tiny_bundle(tmp_path).path).path == destination
