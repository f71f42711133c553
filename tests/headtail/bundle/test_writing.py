import dataclasses
import os
import stat

import pytest

from headtail.bundle import BundleWriter, open_bundle, write_report
from headtail.errors import SchemaFault, UsageFault
from headtail.metrics import wilson_interval
from headtail.tensorfile import dump
from tests.support.bundles import FILES, golden_tensors, manifest_of, tiny_bundle, tiny_report
from tests.support.folders import names, tree


def fill(writer, *, golden=None):
    golden = golden or golden_tensors()
    for rel, data in FILES.items():
        writer.add(rel, data)
    writer.add("golden.safetensors", dump(golden))
    return manifest_of(golden, name="tiny")


def test_the_folder_holds_exactly_what_the_design_says(tmp_path):
    bundle = tiny_bundle(tmp_path)
    assert bundle.path == tmp_path / "tiny.bundle"
    assert set(tree(bundle.path)) == {*FILES, "golden.safetensors", "manifest.json"}
    assert (bundle.path / "manifest.json").read_bytes() == bundle.manifest.to_bytes()
    assert len(bundle.manifest.bundle_id) == 64
    assert names(tmp_path) == ["tiny.bundle"]


def test_equal_inputs_give_equal_bytes(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, two = tiny_bundle(tmp_path / "a"), tiny_bundle(tmp_path / "b")
    assert tree(one.path) == tree(two.path)


def test_modes_are_normalised(tmp_path):
    source = tmp_path / "private"
    source.write_bytes(FILES["artifacts/tiny.fp32.tflite"])
    source.chmod(0o700)
    with BundleWriter(tmp_path / "x.bundle") as writer:
        manifest = fill(writer)
        writer.add("artifacts/extra", source)
        bundle = writer.publish(manifest)
    modes = {stat.S_IMODE(p.stat().st_mode) for p in bundle.path.rglob("*") if p.is_file()}
    folders = {stat.S_IMODE(p.stat().st_mode) for p in bundle.path.rglob("*") if p.is_dir()}
    assert (modes, folders) == ({0o644}, {0o755})
    assert stat.S_IMODE(bundle.path.stat().st_mode) == 0o755


def test_a_folder_is_added_file_by_file(tmp_path):
    package = tmp_path / "net.mlpackage"
    (package / "Data" / "weights").mkdir(parents=True)
    (package / "Manifest.json").write_bytes(b"{}")
    (package / "Data" / "weights" / "weight.bin").write_bytes(b"\1\2")
    with BundleWriter(tmp_path / "x.bundle") as writer:
        manifest = fill(writer)
        writer.add("artifacts/net.mlpackage", package)
        bundle = writer.publish(manifest)
    assert bundle.file("artifacts/net.mlpackage/Data/weights/weight.bin").read_bytes() == b"\1\2"


def test_leaving_without_publish_leaves_nothing(tmp_path):
    with BundleWriter(tmp_path / "x.bundle") as writer:
        fill(writer)
        (staged,) = names(tmp_path)
        assert staged.startswith(f".x.bundle.partial-{os.getpid()}")
    assert names(tmp_path) == []


def test_an_error_inside_the_block_leaves_nothing(tmp_path):
    def fail():
        with BundleWriter(tmp_path / "x.bundle") as writer:
            fill(writer)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert names(tmp_path) == []


def test_nothing_is_overwritten_unasked(tmp_path):
    before = tree(tiny_bundle(tmp_path).path)
    with pytest.raises(UsageFault, match=r"already exists.*force"):
        tiny_bundle(tmp_path)
    assert tree(tmp_path / "tiny.bundle") == before
    assert names(tmp_path) == ["tiny.bundle"]


def test_a_destination_that_appears_meanwhile_survives(tmp_path):
    with BundleWriter(tmp_path / "x.bundle") as writer:
        manifest = fill(writer)
        (tmp_path / "x.bundle").mkdir()
        (tmp_path / "x.bundle" / "theirs").write_bytes(b"kept")
        with pytest.raises(UsageFault, match="already exists"):
            writer.publish(manifest)
    assert tree(tmp_path) == {"x.bundle/theirs": b"kept"}


def test_force_replaces_the_whole_bundle_with_its_report(tmp_path):
    old = tiny_bundle(tmp_path)
    write_report(old, tiny_report().to_json())
    with BundleWriter(old.path, force=True) as writer:
        manifest = fill(writer)
        new = writer.publish(dataclasses.replace(manifest, task="other"))
    assert open_bundle(old.path).manifest == new.manifest != old.manifest
    assert not (new.path / "report.json").exists()
    assert names(tmp_path) == ["tiny.bundle"]


def test_force_replaces_nothing_but_bundles(tmp_path):
    precious = tmp_path / "photos.bundle"
    precious.mkdir()
    (precious / "holiday.jpg").write_bytes(b"\xff\xd8")
    link = tmp_path / "link.bundle"
    link.symlink_to(tiny_bundle(tmp_path).path)
    for destination in (precious, link):
        with (
            pytest.raises(UsageFault, match="is not a bundle"),
            BundleWriter(destination, force=True),
        ):
            pass
    assert tree(precious) == {"holiday.jpg": b"\xff\xd8"}


@pytest.mark.parametrize("name", ["net", ".bundle", "net.bundle.zip"])
def test_the_destination_is_named_like_a_bundle(tmp_path, name):
    with pytest.raises(UsageFault, match="not named like a bundle"), BundleWriter(tmp_path / name):
        pass


@pytest.mark.parametrize(
    "rel",
    ["../x", "/etc/x", "a/../b", "a\\b", "a//b", "", ".hidden", "a/.b", "manifest.json",
     "REPORT.JSON", "report.html", "signature", "a" * 256, "ä", "a\n", "a b"],
)  # fmt: skip
def test_names_that_no_bundle_may_hold(tmp_path, rel):
    with BundleWriter(tmp_path / "x.bundle") as writer:
        with pytest.raises(UsageFault, match="cannot hold a file named"):
            writer.add(rel, b"")
        assert [p.name for p in tmp_path.rglob("*")] == [p.name for p in tmp_path.iterdir()]


def test_each_file_is_added_once(tmp_path):
    with BundleWriter(tmp_path / "x.bundle") as writer:
        writer.add("a", b"1")
        for rel in ("a", "a/b"):
            with pytest.raises(UsageFault, match="added before"):
                writer.add(rel, b"2")


def test_names_that_differ_in_case_clash(tmp_path):
    with BundleWriter(tmp_path / "x.bundle") as writer:
        manifest = fill(writer)
        writer.add("GOLDEN.safetensors", b"")
        with pytest.raises(SchemaFault, match="clashes"):
            writer.publish(manifest)


def test_links_pipes_and_absent_files_are_refused(tmp_path):
    (tmp_path / "link").symlink_to("/etc/hostname")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inner").symlink_to("/etc")
    os.mkfifo(tmp_path / "pipe")
    with BundleWriter(tmp_path / "x.bundle") as writer:
        for name in ("link", "folder", "pipe", "absent"):
            with pytest.raises(UsageFault, match="cannot go into a bundle"):
                writer.add(f"artifacts/{name}", tmp_path / name)


def test_a_manifest_that_does_not_fit_is_not_published(tmp_path):
    def publish(**changes):
        with BundleWriter(tmp_path / "x.bundle") as writer:
            writer.publish(dataclasses.replace(fill(writer), **changes))

    with pytest.raises(SchemaFault, match=r"'absent' has no record @ \$\.files"):
        publish(golden="absent")
    tiny = manifest_of(golden_tensors(), name="tiny")
    (litert, coreml) = tiny.artifacts
    with pytest.raises(UsageFault, match="has 25 bytes, its manifest entry says 26"):
        publish(artifacts=(dataclasses.replace(litert, bytes=26),))
    boundless = dataclasses.replace(coreml.agreement, snr_db_mean=float("inf"))
    with pytest.raises(SchemaFault, match=r"got inf @ \$\.artifacts\[0\]\.agreement\.snr_db_mean"):
        publish(artifacts=(dataclasses.replace(coreml, agreement=boundless),))
    assert names(tmp_path) == []


def test_an_int_where_the_schema_has_a_float_is_written_as_a_float(tmp_path):
    with BundleWriter(tmp_path / "x.bundle") as writer:
        manifest = fill(writer)
        cut = dataclasses.replace(manifest.cuts[0], head_flops=1)
        writer.publish(dataclasses.replace(manifest, cuts=(cut,)))
    assert open_bundle(tmp_path / "x.bundle").manifest.cuts[0].head_flops == 1.0


def test_a_writer_is_used_inside_its_block(tmp_path):
    writer = BundleWriter(tmp_path / "x.bundle")
    with pytest.raises(UsageFault, match="not open"):
        writer.add("a", b"")
    with writer:
        manifest = fill(writer)
        writer.publish(manifest)
        with pytest.raises(UsageFault, match="not open"):
            writer.publish(manifest)
    assert (
        open_bundle(tmp_path / "x.bundle").manifest.artifacts[0].agreement.low
        == (wilson_interval(2, 2)[0])
    )
