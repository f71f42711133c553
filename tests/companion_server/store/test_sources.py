import os
import shutil

import pytest

from companion_server.store.sources import survey
from headtail.bundle import pack_zip
from headtail.errors import UsageFault


def test_bundles_and_zips_are_held_as_they_lie(tiny, tmp_path):
    pack_zip(tiny, tmp_path / "b.zip")
    found = survey([tiny.path, tmp_path / "b.zip"])
    assert found.bundles == (tiny.path, tmp_path / "b.zip")
    assert found.root is None


def test_a_folder_of_bundles_is_a_store_and_its_newest_comes_last(tiny, other, root):
    for source, name, second in ((tiny, "b.bundle", 1), (other, "a.bundle", 2)):
        shutil.copytree(source.path, root / name)
        os.utime(root / name / "manifest.json", ns=(second, second))
    (root / "notes.txt").write_text("other things beside bundles are nobody's business")
    found = survey([root])
    assert found.bundles == (root / "b.bundle", root / "a.bundle")
    assert found.root == root


def test_an_empty_folder_begins_a_store(root):
    (root / ".hidden").touch()
    assert survey([root, root]) == survey([root])
    assert (survey([root]).bundles, survey([root]).root) == ((), root)
    (root / "bundles").mkdir()
    assert survey([root]).root == root


def test_what_is_neither(tmp_path, root):
    (root / "holiday.jpg").touch()
    with pytest.raises(UsageFault, match=r"holds 'holiday\.jpg' and other things"):
        survey([root])
    with pytest.raises(UsageFault, match="absent does not exist"):
        survey([tmp_path / "absent"])
    with pytest.raises(UsageFault, match="No bundle was given"):
        survey([])


def test_a_server_has_one_store(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with pytest.raises(UsageFault, match="are both folders of bundles"):
        survey([tmp_path / "a", tmp_path / "b"])
