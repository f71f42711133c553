"""The folder of built code: nothing in it is trusted that this user did not put there whole."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from companion_server.tails.built import MOST_ATTEMPTS, BuiltFiles
from headtail.errors import EnvironmentFault


@pytest.fixture
def built(tmp_path):
    return BuiltFiles(tmp_path / "tuned")


def made(built, content=b"code"):
    path = built.folder / ".being-made"
    path.write_bytes(content)
    return path


def kept(built, content=b"code"):
    key = built.key("b" * 64, "c1", "executorch")
    built.attempt(key)
    built.keep(key, made(built, content))
    return key


def test_the_folder_is_for_this_user_alone(built):
    assert built.folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_folder_that_others_may_enter_is_refused(tmp_path, mode):
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(EnvironmentFault, match=f"mode {mode:o}"):
        BuiltFiles(folder)


def test_a_link_in_place_of_the_folder_is_refused(built, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(built.folder)
    with pytest.raises(EnvironmentFault):
        BuiltFiles(link)


def test_what_was_kept_is_found_by_another_process_of_this_machine(built):
    key = kept(built)
    again = BuiltFiles(built.folder)
    found = again.find(again.key("b" * 64, "c1", "executorch"))
    assert found is not None
    assert found.read_bytes() == b"code"
    assert found.stat().st_mode & 0o777 == 0o600
    assert again.record(key)["bytes"] == 4


def test_bundle_entry_and_backend_each_have_their_own_key(built):
    keys = {
        built.key(bundle, entry, backend)
        for bundle in ("a" * 64, "b" * 64)
        for entry in ("", "c1")
        for backend in ("executorch", "inductor")
    }
    assert len(keys) == 8


@pytest.mark.parametrize("change", ["byte", "shorter", "gone", "link", "record"])
def test_a_changed_file_is_not_found_and_may_be_built_again(built, tmp_path, change):
    key = kept(built)
    code = built.folder / f"{key}.code"
    if change == "byte":
        code.write_bytes(b"cods")
    elif change == "shorter":
        code.write_bytes(b"cod")
    elif change == "gone":
        code.unlink()
    elif change == "link":
        elsewhere = tmp_path / "elsewhere"
        elsewhere.write_bytes(b"code")
        code.unlink()
        code.symlink_to(elsewhere)
    else:
        (built.folder / f"{key}.json").write_bytes(b'{"state": "ready"')
    assert built.find(key) is None
    assert built.attempt(key) == 1


def test_a_build_that_ended_without_a_word_counts_as_an_attempt(built):
    key = built.key("b" * 64, "", "inductor")
    assert [built.attempt(key) for _ in range(MOST_ATTEMPTS)] == [1, 2, 3]
    assert built.find(key) is None


def test_a_failure_is_kept_with_its_reason(built):
    key = built.key("b" * 64, "", "inductor")
    built.attempt(key)
    built.fail(key, "no such operator")
    assert built.record(key) == {"state": "failed", "reason": "no such operator"}
    assert built.find(key) is None


TRIAL = """
import os, sys
from pathlib import Path
from companion_server.tails.built import BuiltFiles
os._exit(not BuiltFiles(Path(sys.argv[1])).begin_trial(sys.argv[2]))
"""


def try_and_die(built, key):
    """A trial begun by a process that ends in it; not a fork: other tests leave threads here."""
    command = [sys.executable, "-c", TRIAL, str(built.folder), key]
    return subprocess.run(command, cwd=Path(__file__).parents[3], check=False).returncode == 0


def test_code_that_ended_two_processes_is_not_tried_again(built):
    key = kept(built)
    assert try_and_die(built, key)
    assert try_and_die(built, key)  # the first may have been killed by somebody else
    assert not built.begin_trial(key)
    assert built.find(key) is None
    assert "ended 2 processes" in built.record(key)["reason"]


def test_a_death_is_forgotten_after_a_trial_that_came_to_its_end(built):
    key = kept(built)
    assert try_and_die(built, key)
    assert built.begin_trial(key)
    built.end_trial(key)
    assert try_and_die(built, key)
    assert built.begin_trial(key)


def test_a_trial_that_came_to_its_end_leaves_the_file_as_it_was(built):
    key = kept(built)
    assert built.begin_trial(key)
    built.end_trial(key)
    assert built.begin_trial(key)
    assert built.find(key) is not None


def test_over_its_limit_the_folder_loses_what_was_unused_for_longest(tmp_path):
    built = BuiltFiles(tmp_path / "tuned", most_bytes=250)
    keys = [built.key("b" * 64, entry, "executorch") for entry in ("", "c1", "c2")]
    for age, key in zip((300, 200), keys[:2], strict=True):
        built.keep(key, made(built, b"x" * 100))
        old = built.folder / f"{key}.code"
        os.utime(old, (old.stat().st_atime, old.stat().st_mtime - age))
    built.keep(keys[2], made(built, b"x" * 100))
    assert [built.find(key) is not None for key in keys] == [False, True, True]
