"""Malicious uploads through the real route: each is refused with a sentence and leaves nothing."""

import io
import json
import stat
import struct
import tracemalloc
import zipfile

import pytest

from headtail.bundle import pack_zip
from headtail.manifest import SCHEMA_VERSION
from tests.support.bundles import tiny_bundle
from tests.support.folders import names, tree
from tests.support.publishing import IdleEngine, publishing, repacked
from tests.support.sealing import sealed

WEIGHTS = "tail/weights.safetensors"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def engine():
    return IdleEngine()


@pytest.fixture(scope="module")
def served(tmp_path_factory, engine):
    root = tmp_path_factory.mktemp("around") / "store"
    root.mkdir()
    with publishing(root, engine=engine) as server:
        yield server


@pytest.fixture
def members(bundle):
    return tree(bundle.path)


def resealed(members, **changes):
    """A manifest with `changes` and a seal that fits, and its id."""
    data = sealed({**json.loads(members["manifest.json"]), **changes})
    return data, json.loads(data)["bundle_id"]


def refused(served, engine, bundle_id, data):
    """The sentence; nothing was loaded, nothing lies around, and a good upload still works."""
    root = served.store.folder.root
    around = names(root.parent)
    code, told = served.put(bundle_id, data)
    if code == 202:
        told = served.settled(bundle_id)
        assert told["state"] == "refused", told
    else:
        assert 400 <= code < 500, told
    assert names(root.parent) == around
    assert names(root / "bundles") == names(root / "incoming") == []
    assert served.ids() == []
    assert engine.events == []
    return told["error"]


@pytest.mark.parametrize(
    "name",
    [
        "../../../../outside/boo!",
        "/etc/cron.d/headtail-123",
        "..\\..\\windows\\sys.ini",
        "tail/../../aliases.json",
        "C:\\autoexec.bat---------",
        "tail/\0eights.safetensors",
    ],
)
def test_names_that_lead_elsewhere(served, engine, bundle, members, name):
    # written into the bytes, because zipfile cleans names up; not into the sealed manifest
    name = name.ljust(len(WEIGHTS), "x")
    assert len(name) == len(WEIGHTS)
    head, tail = repacked(members).split(members["manifest.json"])
    evil = members["manifest.json"].join(
        part.replace(WEIGHTS.encode(), name.encode()) for part in (head, tail)
    )
    error = refused(served, engine, bundle.manifest.bundle_id, evil)
    assert "is not a plain relative name" in error or "is not a readable .zip" in error


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFDIR])
def test_links_and_devices(served, engine, bundle, members, kind):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = ((kind if name == WEIGHTS else stat.S_IFREG) | 0o777) << 16
            archive.writestr(info, b"/etc/passwd" if name == WEIGHTS else data)
    error = refused(served, engine, bundle.manifest.bundle_id, buffer.getvalue())
    assert "has file mode" in error


def test_a_bomb(served, engine, bundle, members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, bytes(50_000_000) if name == WEIGHTS else data)
    assert len(buffer.getvalue()) < 100_000
    error = refused(served, engine, bundle.manifest.bundle_id, buffer.getvalue())
    assert "is compressed" in error


def test_a_bomb_that_says_it_is_stored(served, engine, bundle, members):
    """Sizes of the directory: 4 GB of a file of a few bytes."""
    data = bytearray(repacked(members))
    at = data.rindex(WEIGHTS.encode()) - 46
    assert data[at : at + 4] == b"PK\x01\x02"
    struct.pack_into("<2L", data, at + 20, 0xFFFFFF00, 0xFFFFFF00)
    error = refused(served, engine, bundle.manifest.bundle_id, bytes(data))
    assert "The manifest promises" in error or "is not a readable .zip" in error


def test_a_million_entries_are_counted_and_not_read(served, engine, bundle):
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 33, 0, 0, 0, 1, *[0] * 6)
    directory = (entry + b"a") * 1_000_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 16960, 16960, len(directory), 0, 0)
    tracemalloc.start()
    error = refused(served, engine, bundle.manifest.bundle_id, directory + end)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "entries" in error or "files" in error
    assert peak < 4 * len(directory)  # this process also holds the upload itself, twice


def test_a_huge_manifest(served, engine, bundle, members):
    padded = members["manifest.json"] + b" " * (9 << 20)
    error = refused(
        served, engine, bundle.manifest.bundle_id, repacked({**members, "manifest.json": padded})
    )
    assert error.startswith("manifest.json is too large.")


def test_a_manifest_of_nothing_but_brackets(served, engine, bundle, members):
    data = repacked({**members, "manifest.json": b"[" * 1_000_000})
    assert "Nested" in refused(served, engine, bundle.manifest.bundle_id, data)


@pytest.mark.parametrize("version", [1, SCHEMA_VERSION + 1])
def test_another_schema(served, engine, members, version):
    manifest, bundle_id = resealed(members, schema_version=version)
    error = refused(served, engine, bundle_id, repacked({**members, "manifest.json": manifest}))
    assert f"Schema version {version}" in error


def test_a_wrong_hash(served, engine, bundle, members):
    data = repacked({**members, WEIGHTS: b"not weighed\n"})
    assert f"{WEIGHTS} has other bytes" in refused(served, engine, bundle.manifest.bundle_id, data)


def test_a_wrong_id(served, engine, members):
    assert "is that of bundle" in refused(served, engine, "1" * 64, repacked(members))


def test_a_broken_seal(served, engine, bundle, members):
    manifest = members["manifest.json"].replace(b'"task":', b'"tusk":')
    data = repacked({**members, "manifest.json": manifest})
    error = refused(served, engine, bundle.manifest.bundle_id, data)
    assert "does not match its own bundle_id" in error


def test_more_or_less_than_promised(served, engine, bundle, members):
    bundle_id = bundle.manifest.bundle_id
    extra = repacked({**members, "tail/extra.py": b"import os"})
    assert "tail/extra.py is in the .zip" in refused(served, engine, bundle_id, extra)
    less = repacked({name: data for name, data in members.items() if name != WEIGHTS})
    assert f"{WEIGHTS} is missing" in refused(served, engine, bundle_id, less)


@pytest.mark.parametrize("share", [0.0005, 0.1, 0.5, 0.99])
def test_truncated(served, engine, bundle, tmp_path, share):
    pack_zip(bundle, tmp_path / "b.zip")
    data = (tmp_path / "b.zip").read_bytes()
    refused(served, engine, bundle.manifest.bundle_id, data[: max(1, int(len(data) * share))])


def test_two_manifests(served, engine, bundle, members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("manifest.json", b"{}")
    error = refused(served, engine, bundle.manifest.bundle_id, buffer.getvalue())
    assert "appears twice" in error


def test_a_name_in_the_manifest_that_leads_elsewhere(served, engine, members):
    files = json.loads(members["manifest.json"])["files"]
    manifest, bundle_id = resealed(members, files={**files, "../../x": files[WEIGHTS]})
    error = refused(served, engine, bundle_id, repacked({**members, "manifest.json": manifest}))
    assert "is not plain" in error


def test_a_model_name_that_is_a_path_touches_nothing(served, engine, members):
    """The name of a model is text: it may say anything and becomes no path."""
    manifest, bundle_id = resealed(members, name="../../../../tmp/x")
    code, _ = served.put(bundle_id, repacked({**members, "manifest.json": manifest}))
    assert code == 202
    assert served.settled(bundle_id)["state"] == "live"
    assert names(served.store.folder.root / "bundles") == [f"{bundle_id}.bundle"]
    assert served.ask("DELETE", f"/v2/bundles/{bundle_id}")[0] == 204
    engine.events.clear()


def test_the_writer_of_these_attacks_can_write_a_good_archive(served, engine, bundle, members):
    bundle_id = bundle.manifest.bundle_id
    assert served.put(bundle_id, repacked(members))[0] == 202
    assert served.settled(bundle_id)["state"] == "live"
    assert served.ask("DELETE", f"/v2/bundles/{bundle_id}")[0] == 204
    engine.events.clear()
