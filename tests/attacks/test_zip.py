"""Archives that lie: names that lead outside, bombs, links, headers that contradict each other."""

import io
import json
import os
import stat
import struct
import tracemalloc
import zipfile
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.bundle import open_bundle, pack_zip, unpack_zip
from headtail.bundle.transport import MAX_BUNDLE_BYTES, MAX_ENTRIES
from headtail.errors import HeadtailError, IntegrityFault, SchemaFault, TooLarge, UsageFault
from tests.support.bundles import FILES, tiny_bundle
from tests.support.folders import names, tree
from tests.support.sealing import sealed

TFLITE = "artifacts/tiny.fp32.tflite"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def content(bundle):
    return tree(bundle.path)


def write(path, members, *, compression=zipfile.ZIP_STORED, mode=None, comment=b""):
    """A .zip of (name, bytes) pairs, as somebody else's tool would write it."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = compression
            info.external_attr = ((mode or {}).get(name, stat.S_IFREG | 0o644)) << 16
            archive.writestr(info, data)
        archive.comment = comment


def refusal(tmp_path, kind=HeadtailError):
    """Unpacking `evil.zip` is refused and leaves nothing, inside the folder or outside."""
    (tmp_path / "deep").mkdir(exist_ok=True)
    before = names(tmp_path)
    with pytest.raises(kind) as caught:
        unpack_zip(tmp_path / "evil.zip", tmp_path / "deep" / "x.bundle")
    assert names(tmp_path) == before
    assert names(tmp_path / "deep") == []
    str(caught.value).encode()
    return caught.value


def test_a_stored_zip_by_another_tool_is_fine(tmp_path, content):
    write(tmp_path / "good.zip", content.items())
    assert tree(unpack_zip(tmp_path / "good.zip", tmp_path / "x.bundle").path) == content


@pytest.mark.parametrize(
    "name",
    ["../outside", "a/../../outside", "/outside", "//outside", "C:\\outside", "..\\outside",
     "artifacts\\x", "artifacts/", "./x", "x\0.png", "ä", "x" * 256, "", "."],
)  # fmt: skip
def test_names_that_lead_elsewhere(tmp_path, content, name):
    members = [*content.items(), ("PLACEHOLDER", b"boo")]
    write(tmp_path / "evil.zip", members)
    # written into the bytes, because zipfile itself cleans some names up
    raw = name.encode()
    data = (tmp_path / "evil.zip").read_bytes()
    at = data.rindex(b"PLACEHOLDER")
    local = data.index(b"PLACEHOLDER")
    grown = len(raw) - len(b"PLACEHOLDER")

    def patched(position, length_at, before):
        head = before[:position]
        head = head[:length_at] + struct.pack("<H", len(raw)) + head[length_at + 2 :]
        return head + raw + before[position + len(b"PLACEHOLDER") :]

    data = patched(at, at - 18, data)
    data = patched(local, local - 4, data)
    end = len(data) - 22
    directory, offset = struct.unpack_from("<2L", data, end + 12)
    data = (
        data[: end + 12] + struct.pack("<2L", directory + grown, offset + grown) + data[end + 20 :]
    )
    (tmp_path / "evil.zip").write_bytes(data)
    fault = refusal(tmp_path, IntegrityFault)
    assert "is not a plain relative name" in fault.what or "is not a readable .zip" in fault.what


def test_a_plain_name_that_the_manifest_does_not_promise(tmp_path, content):
    for name in ("artifacts/extra.so", "report.json"):
        write(tmp_path / "evil.zip", [*content.items(), (name, b"boo")])
        fault = refusal(tmp_path, IntegrityFault)
        assert (fault.file, fault.what) == (name, f"{name} is in the .zip.")


def test_a_file_left_out(tmp_path, content):
    write(tmp_path / "evil.zip", [pair for pair in content.items() if pair[0] != TFLITE])
    assert refusal(tmp_path, IntegrityFault).what == f"{TFLITE} is missing from the .zip."


def test_no_manifest_or_one_in_a_folder(tmp_path, content):
    for prefix, left_out in (("", "manifest.json"), ("tiny.bundle/", "")):
        write(
            tmp_path / "evil.zip",
            [(prefix + name, data) for name, data in content.items() if name != left_out],
        )
        assert "is not a bundle" in refusal(tmp_path, UsageFault).what


@pytest.mark.parametrize("rel", [TFLITE, "manifest.json"])
def test_a_duplicate_name(tmp_path, content, rel):
    with pytest.warns(UserWarning, match="Duplicate name"):
        write(tmp_path / "evil.zip", [*content.items(), (rel, content[rel])])
    fault = refusal(tmp_path, IntegrityFault)
    assert (fault.file, fault.what) == (rel, f"{rel} appears twice.")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO, stat.S_IFCHR])
def test_a_member_that_is_a_link_or_a_device(tmp_path, content, kind):
    data = {**content, TFLITE: b"../../../etc/passwd"}
    write(tmp_path / "evil.zip", data.items(), mode={TFLITE: kind | 0o777})
    fault = refusal(tmp_path, IntegrityFault)
    assert fault.file == TFLITE
    assert "has file mode" in fault.what


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_members(tmp_path, content, method):
    write(tmp_path / "evil.zip", content.items(), compression=method)
    assert "is compressed" in refusal(tmp_path, IntegrityFault).what


def test_a_bomb_is_not_inflated(tmp_path, content):
    write(tmp_path / "evil.zip", [(TFLITE, bytes(50_000_000))], compression=zipfile.ZIP_DEFLATED)
    assert (tmp_path / "evil.zip").stat().st_size < 100_000
    tracemalloc.start()
    refusal(tmp_path, IntegrityFault)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


def directory_entries(data):
    """Offsets of the central directory's entries."""
    position = data.index(b"PK\x01\x02")
    while data[position : position + 4] == b"PK\x01\x02":
        yield position
        lengths = struct.unpack_from("<3H", data, position + 28)
        position += 46 + sum(lengths)


def patch(path, *, field, value, form="<L", which=0):
    """Set one field of one central directory entry."""
    data = bytearray(path.read_bytes())
    struct.pack_into(form, data, list(directory_entries(data))[which] + field, value)
    path.write_bytes(data)


FIELDS: dict[str, tuple[dict[str, Any], str]] = {
    "encrypted": ({"field": 8, "value": 1, "form": "<H"}, "is encrypted"),
    "declares 4 GB stored": ({"field": 24, "value": 0xFFFFFFF0}, "is compressed"),
    "size in a ZIP64 field that is absent": ({"field": 24, "value": 0xFFFFFFFF}, ""),
    "unknown method": ({"field": 10, "value": 77, "form": "<H"}, "is compressed"),
    "offset beyond the end": ({"field": 42, "value": 0x7FFFFFFF}, ""),
    "offset into another member": ({"field": 42, "value": 50}, ""),
    "wrong checksum": ({"field": 16, "value": 0}, ""),
    "needs version 9.9": ({"field": 6, "value": 99, "form": "<H"}, ""),
}


@pytest.mark.parametrize("which", [0, -1])
@pytest.mark.parametrize("case", FIELDS)
def test_directory_fields_that_lie(bundle, tmp_path, case, which):
    pack_zip(bundle, tmp_path / "evil.zip")
    fields, sentence = FIELDS[case]
    patch(tmp_path / "evil.zip", which=which, **fields)
    assert sentence in refusal(tmp_path, IntegrityFault).what


def test_sizes_that_agree_with_each_other_but_not_with_the_file(bundle, tmp_path):
    pack_zip(bundle, tmp_path / "evil.zip")
    for field in (20, 24):
        patch(tmp_path / "evil.zip", field=field, value=0x7FFFFFFF)
    fault = refusal(tmp_path, IntegrityFault)
    assert fault.what == f"{sorted(FILES)[0]} has 2147483647 bytes."


END_RECORDS = {
    "a million entries": ({8: 0xFFFF, 10: 0xFFFF}, TooLarge),
    "entries just over the limit": ({8: MAX_ENTRIES + 1, 10: MAX_ENTRIES + 1}, TooLarge),
    "other counts": ({8: 1}, IntegrityFault),
    "several disks": ({4: 1}, IntegrityFault),
}


@pytest.mark.parametrize("case", END_RECORDS)
def test_end_records_that_lie(bundle, tmp_path, case):
    pack_zip(bundle, tmp_path / "evil.zip")
    data = bytearray((tmp_path / "evil.zip").read_bytes())
    changes, kind = END_RECORDS[case]
    for field, value in changes.items():
        struct.pack_into("<H", data, len(data) - 22 + field, value)
    (tmp_path / "evil.zip").write_bytes(data)
    refusal(tmp_path, kind)


def test_bytes_before_between_and_behind(bundle, tmp_path):
    pack_zip(bundle, tmp_path / "good.zip")
    data = (tmp_path / "good.zip").read_bytes()
    middle = data.index(b"PK\x01\x02")
    for evil in (b"MZ" + data, data[:middle] + b"x" + data[middle:], data + b"x"):
        (tmp_path / "evil.zip").write_bytes(evil)
        refusal(tmp_path)


def test_a_comment_and_extra_fields_are_refused(tmp_path, content):
    write(tmp_path / "evil.zip", content.items(), comment=b"hello")
    refusal(tmp_path, UsageFault)
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        for name, data in content.items():
            info = zipfile.ZipInfo(name)
            info.extra = struct.pack("<2H", 0xCAFE, 400) + bytes(400)
            archive.writestr(info, data)
    assert "no extra fields" in refusal(tmp_path, IntegrityFault).expected


def test_a_file_larger_than_any_bundle_is_not_opened(tmp_path, bundle):
    pack_zip(bundle, tmp_path / "evil.zip")
    data = (tmp_path / "evil.zip").read_bytes()
    with (tmp_path / "evil.zip").open("wb") as file:
        file.truncate(MAX_BUNDLE_BYTES + 1)  # sparse
        file.seek(0, os.SEEK_END)
        file.write(data[-22:])
    assert "Split the model" in refusal(tmp_path, TooLarge).remedy


def test_a_manifest_that_is_changed_newer_or_huge(tmp_path, content):
    value = json.loads(content["manifest.json"])
    for data, kind in (
        (content["manifest.json"].replace(b'"cat"', b'"bat"'), IntegrityFault),
        (sealed({**value, "schema_version": 99}), SchemaFault),
        (bytes((8 << 20) + 1), IntegrityFault),
    ):
        write(tmp_path / "evil.zip", [*{**content, "manifest.json": data}.items()])
        refusal(tmp_path, kind)


def test_more_promised_than_the_archive_holds(tmp_path, content):
    value = json.loads(content["manifest.json"])
    value["files"][TFLITE]["size"] = 1 << 60
    write(tmp_path / "evil.zip", [*{**content, "manifest.json": sealed(value)}.items()])
    assert "promises 1152921504606846976" in refusal(tmp_path, IntegrityFault).expected


def test_a_changed_file_is_named(tmp_path, content):
    changed = content[TFLITE].replace(b"not", b"yes")
    write(tmp_path / "evil.zip", [*{**content, TFLITE: changed}.items()])
    assert refusal(tmp_path, IntegrityFault).file == TFLITE


@pytest.mark.parametrize("size", [0, 1, 21, 22, 100])
def test_what_is_no_zip(tmp_path, size):
    (tmp_path / "evil.zip").write_bytes(bytes(size))
    refusal(tmp_path, UsageFault)


def test_open_bundle_cleans_up_after_a_refused_zip(tmp_path, content, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    write(tmp_path / "evil.zip", [*{**content, TFLITE: b"other"}.items()])
    with pytest.raises(IntegrityFault):
        open_bundle(tmp_path / "evil.zip")
    assert names(tmp_path / "temporary") == []


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_any_flipped_byte_unpacks_to_the_same_bundle_or_is_refused(tmp_path_factory, bundle, data):
    folder = tmp_path_factory.mktemp("flip")
    pack_zip(bundle, folder / "evil.zip")
    content = bytearray((folder / "evil.zip").read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    (folder / "evil.zip").write_bytes(content)
    try:
        back = unpack_zip(folder / "evil.zip", folder / "x.bundle")
    except HeadtailError as error:
        str(error).encode()
        assert names(folder) == ["evil.zip"]
        return
    # dates, modes and the like are not content
    assert tree(back.path) == tree(bundle.path)


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_any_truncation_is_refused(tmp_path_factory, bundle, data):
    folder = tmp_path_factory.mktemp("cut")
    pack_zip(bundle, folder / "whole.zip")
    content = (folder / "whole.zip").read_bytes()
    (folder / "evil.zip").write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(HeadtailError):
        unpack_zip(folder / "evil.zip", folder / "x.bundle")


def test_the_writer_of_these_attacks_can_write_a_good_archive(tmp_path, content):
    # without this, every refusal above might be for a reason of our own making
    buffer = io.BytesIO()
    write(buffer, content.items())
    (tmp_path / "evil.zip").write_bytes(buffer.getvalue())
    unpack_zip(tmp_path / "evil.zip", tmp_path / "x.bundle")
