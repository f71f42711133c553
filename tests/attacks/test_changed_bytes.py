"""Every byte of every file of a bundle, flipped: found, and the file named."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.bundle import open_bundle, read_report, verify_files, write_report
from headtail.bundle.reading import load_manifest
from headtail.errors import IntegrityFault
from tests.support.bundles import FILES, tiny_bundle, tiny_report

ALL = ("manifest.json", "golden.safetensors", "report.json", "report.html", *FILES)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    bundle = tiny_bundle(tmp_path_factory.mktemp("bundle"))
    write_report(bundle, tiny_report().to_json())
    return bundle


def expect_fault(bundle, rel, data):
    path = bundle.path / rel
    before = path.read_bytes()
    path.write_bytes(data)
    try:
        with pytest.raises(IntegrityFault) as caught:
            open_bundle(bundle.path)
    finally:
        path.write_bytes(before)
    assert caught.value.file == rel
    assert rel in caught.value.what


def test_the_list_of_files_is_complete(bundle):
    found = {p.relative_to(bundle.path).as_posix() for p in bundle.path.rglob("*") if p.is_file()}
    assert found == set(ALL)
    open_bundle(bundle.path)


@pytest.mark.parametrize("rel", ALL)
def test_every_byte_of_it(bundle, rel):
    # the parts of open_bundle, to save time: each file is looked at by just one of them
    look = {
        "manifest.json": lambda: load_manifest(bundle.path),
        "report.json": lambda: read_report(bundle),
        "report.html": lambda: read_report(bundle),
    }.get(rel, lambda: verify_files(bundle))
    with (bundle.path / rel).open("r+b", buffering=0) as file:
        content = file.read()
        for position, byte in enumerate(content):
            # another bit at each position, so that case, digits, signs and white space all change
            put_byte(file, position, byte ^ 1 << position % 8)
            with pytest.raises(IntegrityFault) as caught:
                look()
            assert caught.value.file == rel
            put_byte(file, position, byte)
    open_bundle(bundle.path)


def put_byte(file, position, byte):
    file.seek(position)
    file.write(bytes([byte]))


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(ALL), st.data())
def test_any_other_value_of_any_byte(bundle, rel, data):
    content = bytearray((bundle.path / rel).read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    expect_fault(bundle, rel, content)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(ALL), st.data())
def test_truncation(bundle, rel, data):
    content = (bundle.path / rel).read_bytes()
    expect_fault(bundle, rel, content[: data.draw(st.integers(0, len(content) - 1))])


@pytest.mark.parametrize("rel", ALL)
def test_an_empty_file_and_an_appended_byte(bundle, rel):
    content = (bundle.path / rel).read_bytes()
    for data in (b"", content + b"\n", content + b"\0", b" " + content):
        expect_fault(bundle, rel, data)


@pytest.mark.parametrize("rel", ALL)
def test_a_missing_file(bundle, rel):
    path = bundle.path / rel
    before = path.read_bytes()
    path.unlink()
    try:
        # without its manifest a folder is no bundle at all
        with pytest.raises(Exception, match=rel) as caught:
            open_bundle(bundle.path)
    finally:
        path.write_bytes(before)
    kind = "UsageFault" if rel == "manifest.json" else "IntegrityFault"
    assert type(caught.value).__name__ == kind
