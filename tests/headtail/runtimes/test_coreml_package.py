"""What a package says about itself, read without protobuf, and read when it is broken.

A real file is read in test_coreml_contract.py.
"""

import json
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.errors import IntegrityFault
from headtail.runtimes.coreml_package import PackageFunction, content_key, read_functions
from tests.coreml_fake.packages import MODEL, feature, field, write_package

X, Y, Z = feature("x", 1), feature("y", 1), feature("z", 1)
FUNCTIONS = {
    "head_a": {"inputs": [X], "outputs": [Z, Y]},
    "forward": {"inputs": [Z, X], "outputs": [Y]},
}


@pytest.fixture
def package(tmp_path):
    return write_package(tmp_path / "net.mlpackage", FUNCTIONS)


def test_functions_and_the_order_of_their_tensors(package):
    assert read_functions(package) == {
        "head_a": PackageFunction("head_a", ("x",), ("z", "y")),
        "forward": PackageFunction(None, ("z", "x"), ("y",)),
    }


def test_a_package_without_functions_is_forward(tmp_path):
    """As coremltools writes a model of one function, and a SavedModel is converted."""
    package = write_package(tmp_path / "one.mlpackage", FUNCTIONS)
    description = (
        field(1, field(1, b"image")) + field(10, field(1, b"b")) + field(10, field(1, b"a"))
    )
    (package / "Data" / MODEL).write_bytes(b"\x08\x07" + field(2, description))
    assert read_functions(package) == {"forward": PackageFunction(None, ("image",), ("b", "a"))}


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("Manifest.json", b"{", "net.mlpackage is no Core ML package"),
        ("Manifest.json", b"[]", "is no Core ML package"),
        ("Manifest.json", b'{"itemInfoEntries": {}, "rootModelIdentifier": "A"}', "'A'"),
        ("Data/" + MODEL, b"", "lists no inputs or no outputs"),
        ("Data/" + MODEL, b"\x12\xff\x01", "a field of 255 bytes ends outside"),
        ("Data/" + MODEL, b"\x12\x80", "ends inside a number"),
        ("Data/" + MODEL, b"\x08" + b"\xff" * 11, "longer than 64 bits"),
        ("Data/" + MODEL, b"\x0b", "wire type 3"),
        ("Data/" + MODEL, b"\x09\x00", "ends inside a number"),
        ("Data/" + MODEL, field(2, field(20, field(1, b"\xff"))), "decode"),
    ],
)
def test_a_broken_package_is_named_with_its_fault(package, file, content, words):
    (package / file).write_bytes(content)
    with pytest.raises(IntegrityFault, match=words) as caught:
        read_functions(package)
    assert caught.value.file == "net.mlpackage"


def test_a_model_outside_its_package_is_not_read(package, tmp_path):
    shutil.copy(package / "Data" / MODEL, tmp_path / "model.mlmodel")
    manifest = json.loads((package / "Manifest.json").read_text())
    manifest["itemInfoEntries"]["A"]["path"] = "../../model.mlmodel"
    (package / "Manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(IntegrityFault, match="is outside"):
        read_functions(package)


def test_what_is_no_package_is_refused(tmp_path):
    (tmp_path / "file.mlpackage").write_bytes(b"not a folder")
    for name in ("file.mlpackage", "absent.mlpackage"):
        with pytest.raises(IntegrityFault, match=name):
            read_functions(tmp_path / name)


@settings(deadline=None, max_examples=150)
@given(at=st.integers(0, 10_000), value=st.integers(0, 255), cut=st.integers(0, 40))
def test_a_changed_byte_is_read_or_refused(tmp_path_factory, at, value, cut):
    folder = tmp_path_factory.getbasetemp() / "changed.mlpackage"
    package = folder if folder.is_dir() else write_package(folder, FUNCTIONS)
    path = package / "Data" / MODEL
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[at % len(whole)] = value
    path.write_bytes(changed[: len(changed) - cut])
    try:
        assert all(isinstance(name, str) for name in read_functions(package))
    except IntegrityFault:
        pass
    finally:
        path.write_bytes(whole)


def test_the_key_is_of_the_content_alone(package, tmp_path):
    key = content_key(package)
    assert content_key(shutil.copytree(package, tmp_path / "copy.mlpackage")) == key
    weights = package / "Data" / "weights.bin"
    weights.write_bytes(b"1")
    one = content_key(package)
    weights.write_bytes(b"2")
    two = content_key(package)
    weights.rename(package / "Data" / "moved.bin")
    assert len({key, one, two, content_key(package)}) == 4
