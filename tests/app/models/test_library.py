"""The folder of installed bundles: what is listed, checked, copied, refused, deleted, cleared."""

import os
import shutil
import time

import pytest

from app.models.library import Library, NoRoom
from headtail.bundle import open_bundle
from headtail.errors import IntegrityFault, SchemaFault, UsageFault
from headtail.offload.partfile import open_part, part_path
from tests.support.bundles import tiny_bundle

QUOTA = 10_000_000


@pytest.fixture
def library(tmp_path):
    return Library(tmp_path / "models")


@pytest.fixture
def installed(library, bundle):
    return library.install(bundle.path, quota=QUOTA)


def flip(path, place=100):
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 1
    path.write_bytes(data)


def test_a_folder_that_is_not_there_is_empty(library):
    shelf = library.look()
    assert (shelf.found, shelf.parts, shelf.used) == ((), (), 0)


@pytest.mark.parametrize("source", ["folder", "zip"])
def test_a_bundle_is_checked_and_copied(library, bundle, zipped, source):
    path = library.install(bundle.path if source == "folder" else zipped, quota=QUOTA)
    assert path.name == f"tiny-{bundle.manifest.bundle_id[:12]}.bundle"
    assert open_bundle(path).manifest == bundle.manifest
    (found,) = library.look().found
    assert found.manifest == bundle.manifest
    assert found.fault is None
    assert found.bytes == library.look().used > sum(r.size for r in bundle.manifest.files.values())
    assert abs(found.installed_s - time.time()) < 60
    assert [p.name for p in library.folder.iterdir()] == [path.name]


def test_the_same_bundle_is_installed_once(library, installed, zipped):
    with pytest.raises(UsageFault, match="tiny is installed already"):
        library.install(zipped, quota=QUOTA)
    assert [f.path for f in library.look().found] == [installed]


@pytest.mark.parametrize("victim", ["artifacts/tiny.fp32.tflite", "golden.safetensors"])
def test_a_changed_byte_in_the_source_installs_nothing(library, bundle, tmp_path, victim):
    shutil.copytree(bundle.path, tmp_path / "bad.bundle")
    flip(tmp_path / "bad.bundle" / victim)
    with pytest.raises(IntegrityFault) as caught:
        library.install(tmp_path / "bad.bundle", quota=QUOTA)
    assert caught.value.file == victim
    assert list(library.folder.iterdir()) == []


def test_what_is_no_bundle_is_refused(library, tmp_path):
    (tmp_path / "photo.zip").write_bytes(b"PK not really")
    (tmp_path / "empty").mkdir()
    for name in ("photo.zip", "empty"):
        with pytest.raises(UsageFault, match=r"(not a bundle|does not end as a \.zip does)"):
            library.install(tmp_path / name, quota=QUOTA)
    assert list(library.folder.iterdir()) == []


def test_a_changed_byte_in_an_installed_bundle_is_found_by_verify_and_named(library, installed):
    library.verify(installed)
    flip(installed / "artifacts/tiny.fp32.tflite")
    assert library.look().found[0].fault is None  # names and sizes are as they should be
    with pytest.raises(IntegrityFault, match=r"artifacts/tiny\.fp32\.tflite has SHA-256"):
        library.verify(installed)


@pytest.mark.parametrize(
    ("damage", "names"),
    [
        (lambda path: (path / "golden.safetensors").unlink(), "golden.safetensors is missing"),
        (lambda path: (path / "extra").write_text("x"), "extra is in the folder"),
        (lambda path: flip(path / "manifest.json"), "manifest.json"),
        (lambda path: os.truncate(path / "tail/weights.safetensors", 3), "has 3 bytes"),
        (lambda path: (path / "manifest.json").unlink(), "is not a bundle"),
    ],
)
def test_damage_that_shows_at_once_is_listed_with_what_is_damaged(
    library, installed, damage, names
):
    damage(installed)
    (found,) = library.look().found
    assert found.path == installed
    assert names in str(found.fault)
    library.delete(installed)
    assert library.look().found == ()


def test_a_file_and_a_link_named_like_bundles_are_listed_and_can_be_deleted(library, bundle):
    library.folder.mkdir()
    (library.folder / "file.bundle").write_text("no folder")
    (library.folder / "link.bundle").symlink_to(bundle.path)
    found = {f.path.name: f for f in library.look().found}
    assert "is not a bundle" in str(found["file.bundle"].fault)
    for each in found.values():
        library.delete(each.path)
    assert list(library.folder.iterdir()) == []
    assert open_bundle(bundle.path)  # what the link led to is still there


def test_a_bundle_of_another_version_says_so(library, installed):
    manifest = (installed / "manifest.json").read_text()
    (installed / "manifest.json").unlink()
    resealed = tiny_of_schema(manifest, 99)
    (installed / "manifest.json").write_bytes(resealed)
    (found,) = library.look().found
    assert isinstance(found.fault, SchemaFault)


def tiny_of_schema(text, version):
    import hashlib

    from headtail.strictjson import canonical_bytes, parse

    value = {**parse(text.encode()), "schema_version": version, "bundle_id": ""}
    value["bundle_id"] = hashlib.sha256(canonical_bytes(value)).hexdigest()
    return canonical_bytes(value)


def test_only_what_is_in_the_folder_is_deleted(library, installed, bundle, tmp_path):
    for path in (bundle.path, tmp_path, installed / "golden.safetensors"):
        with pytest.raises(UsageFault, match="is not an installed bundle"):
            library.delete(path)
    library.delete(library.folder / "gone.bundle")  # is gone already
    assert open_bundle(installed)
    assert open_bundle(bundle.path)


def test_more_than_the_quota_is_refused_before_a_byte(library, installed, tmp_path):
    other = tiny_bundle(tmp_path, name="other")
    used = library.look().used
    with pytest.raises(NoRoom, match="MB are kept on this device"):
        library.install(other.path, quota=used + 10)
    assert [f.path for f in library.look().found] == [installed]
    library.install(other.path, quota=3 * used)
    assert len(library.look().found) == 2


def test_what_is_here_already_counts_once_and_the_disk_bounds_too(library):
    library.check_room(1000, used=900, quota=1000, held=900)
    with pytest.raises(NoRoom, match="would make"):
        library.check_room(1000, used=900, quota=1000, held=800)
    with pytest.raises(NoRoom, match="are needed while the bundle is unpacked"):
        library.check_room(1 << 60, used=0, quota=1 << 62)


def test_what_a_crash_left_is_cleared_and_what_is_being_written_is_not(library, installed):
    old, new, doomed = (
        library.folder / name for name in (".install-old", ".install-new", ".deleted-1")
    )
    for folder in (old, new, doomed):
        folder.mkdir()
        (folder / "file").write_text("x")
    for path in (old / "file", old):
        os.utime(path, (1, 1))
    library.look()
    assert sorted(p.name for p in library.folder.iterdir()) == [".install-new", installed.name]


def test_what_a_killed_download_unpacked_is_cleared_at_once_and_of_a_running_one_is_not(library):
    library.folder.mkdir()
    left, running, foreign = (
        library.folder / name
        for name in (".a.bundle.x1y2", ".b.bundle.x1y2", ".c.bundle.partial-1-x1y2")
    )
    for folder in (left, running, foreign):
        folder.mkdir()
    with open_part(part_path(library.folder / "b.bundle", "b" * 64)) as file:
        file.write(b"x")
        file.flush()
        library.look()
        assert {p.name for p in library.folder.iterdir() if p.is_dir()} == {
            running.name,
            foreign.name,
        }


def test_an_unfinished_download_is_listed_and_told_from_one_that_runs(library):
    library.folder.mkdir()
    part = part_path(library.folder / "net.bundle", "a" * 64)
    with open_part(part) as file:
        file.write(b"12345")
        file.flush()
        (found,) = library.look().parts
        assert (found.held, found.busy, found.digest) == (5, True, "a" * 64)
        assert found.destination == library.folder / "net.bundle"
        with (
            pytest.raises(UsageFault, match="is being downloaded by somebody else"),
            open_part(part),
        ):
            pass
    assert not library.look().parts[0].busy
    library.delete(part)
    assert library.look().parts == ()


@pytest.mark.parametrize(
    ("name", "bundle_id", "want"),
    [
        ("efficientnet_lite0", "ab" * 32, "efficientnet_lite0-abababababab.bundle"),
        ("../../etc/passwd", "../x" * 16, "etc_passwd-.._x.._x.._x.bundle"),
        ("", "0" * 64, "model-000000000000.bundle"),
        ("Ein Netz/ü" * 40, "1" * 64, None),
    ],
)
def test_attack_where_a_bundle_goes_is_never_what_a_server_says(library, name, bundle_id, want):
    path = library.destination(name, bundle_id)
    assert path.parent == library.folder
    assert len(path.name) < 100
    assert not path.name.startswith(".")
    if want:
        assert path.name == want
