"""Copying a bundle: the same bytes, checked on the way, or nothing."""

import pytest

from headtail.bundle import open_bundle, write_report
from headtail.bundle.copying import copy_bundle
from headtail.errors import IntegrityFault, UsageFault
from tests.support.bundles import tiny_bundle, tiny_report


@pytest.fixture
def bundle(tmp_path):
    return tiny_bundle(tmp_path / "from")


@pytest.fixture
def destination(tmp_path):
    (tmp_path / "to").mkdir()
    return tmp_path / "to" / "copy.bundle"


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_copy_is_the_bundle_and_its_report_stays_at_home(bundle, destination):
    whole = content(bundle.path)
    write_report(bundle, tiny_report().to_json())
    copied = copy_bundle(bundle, destination)
    assert copied.path == destination
    assert open_bundle(destination).manifest == bundle.manifest
    assert content(destination) == whole


@pytest.mark.parametrize("rel", ["golden.safetensors", "artifacts/tiny.fp32.tflite"])
def test_a_changed_byte_is_named_and_leaves_nothing(bundle, destination, rel):
    path = bundle.file(rel)
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(IntegrityFault) as caught:
        copy_bundle(bundle, destination)
    assert caught.value.file == rel
    assert list(destination.parent.iterdir()) == []


def test_attack_a_link_in_place_of_a_file_is_not_followed(bundle, destination, tmp_path):
    path = bundle.file("golden.safetensors")
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IntegrityFault, match="is a symbolic link"):
        copy_bundle(bundle, destination)
    assert list(destination.parent.iterdir()) == []


def test_what_is_there_is_not_overwritten(bundle, destination):
    copy_bundle(bundle, destination)
    with pytest.raises(UsageFault, match="already exists"):
        copy_bundle(bundle, destination)
