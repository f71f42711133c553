"""Attacks on a package: each broken file is refused with an IntegrityFault that names it."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from exporters.mil.package import Package
from exporters.mil.program import read_program
from headtail.errors import ConversionFailed, IntegrityFault

from .handmade import MODEL, linear_code, write_package

WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"
PROTO = f"Data/{MODEL}"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return write_package(tmp_path / "net.mlpackage", main=linear_code())


def patch(file: Path, at: int, data: bytes) -> None:
    content = bytearray(file.read_bytes())
    content[at : at + len(data)] = data
    file.write_bytes(content)


def set_root(package: Path, item: object) -> None:
    file = package / "Manifest.json"
    manifest = json.loads(file.read_text())
    manifest["itemInfoEntries"]["root"]["path"] = item
    file.write_text(json.dumps(manifest))


def test_a_whole_package_is_read(package: Path) -> None:
    assert list(read_program(package).functions) == ["main"]


RECORD = 64  # where the only record starts
HUGE = struct.pack("<Q", 1 << 62)


@pytest.mark.parametrize(
    ("at", "data", "word"),
    [
        (4, struct.pack("<I", 3), "version 3"),
        (RECORD, b"\0\0\0\0", "starts with 0x0"),
        (RECORD + 4, struct.pack("<I", 1), "type code 1"),
        (RECORD + 8, HUGE, "claims"),
        (RECORD + 8, struct.pack("<Q", 44), "44 bytes"),
        (RECORD + 16, HUGE, "claims"),
        (RECORD + 16, struct.pack("<Q", 0), "claims"),
        (RECORD + 16, struct.pack("<Q", RECORD), "claims"),
        (RECORD + 16, struct.pack("<Q", 130), "claims"),
    ],
)
def test_a_bad_blob_record_is_refused(package: Path, at: int, data: bytes, word: str) -> None:
    patch(package / WEIGHTS, at, data)
    with pytest.raises(IntegrityFault, match=word) as caught:
        read_program(package)
    assert caught.value.remedy == "Export the model again or copy the package again."


@pytest.mark.parametrize("size", [0, 7, 63, 64, 100, 128, 170])
def test_a_truncated_blob_file_is_refused_by_name(package: Path, size: int) -> None:
    file = package / WEIGHTS
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(IntegrityFault) as caught:
        read_program(package)
    assert caught.value.file == str(file)


@pytest.mark.parametrize("offset", [0, 1, 65, 1 << 40, (1 << 64) - 64])
def test_a_blob_offset_outside_is_refused(package: Path, offset: int) -> None:
    opened = Package(package)
    with pytest.raises(IntegrityFault, match=f"record offset {offset} is outside"):
        opened.blob("@model_path/weights/weight.bin", offset, 2)


@pytest.mark.parametrize(
    "name",
    ["@model_path/../../../etc/passwd", "/etc/passwd", "weights/weight.bin", "@model_path/gone"],
)
def test_a_blob_outside_the_package_is_refused(package: Path, name: str) -> None:
    with pytest.raises(IntegrityFault):
        Package(package).blob(name, 64, 2)


def test_a_link_out_of_the_package_is_refused(package: Path, tmp_path: Path) -> None:
    file = package / WEIGHTS
    file.rename(tmp_path / "elsewhere.bin")
    file.symlink_to(tmp_path / "elsewhere.bin")
    with pytest.raises(IntegrityFault, match="leaves the package"):
        read_program(package)


@pytest.mark.parametrize(
    "item", ["../outside.mlmodel", "/etc/passwd", "a\0b", "gone.mlmodel", 7, None, ["x"], ""]
)
def test_a_root_path_that_is_not_inside_is_refused(package: Path, item: object) -> None:
    (package / "outside.mlmodel").write_bytes(b"")
    set_root(package, item)
    with pytest.raises(IntegrityFault):
        Package(package)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", "3", '{"rootModelIdentifier": "x", "itemInfoEntries": []}', "[" * 99999],
)
def test_a_manifest_that_names_no_root_is_refused(package: Path, text: str) -> None:
    (package / "Manifest.json").write_text(text)
    with pytest.raises(IntegrityFault, match=r"Manifest\.json: the root model cannot be found"):
        Package(package)


@pytest.mark.parametrize("file", ["Manifest.json", PROTO, WEIGHTS])
def test_a_missing_file_is_named(package: Path, file: str) -> None:
    (package / file).unlink()
    with pytest.raises(IntegrityFault, match="missing") as caught:
        read_program(package)
    assert caught.value.file == str(package / file)


def test_a_manifest_of_a_gigabyte_is_not_read(package: Path) -> None:
    with (package / "Manifest.json").open("r+b") as stream:
        stream.truncate(1 << 30)  # sparse
    with pytest.raises(IntegrityFault, match="1073741824 bytes"):
        Package(package)


def test_every_cut_of_the_proto_is_refused_or_harmless(package: Path) -> None:
    file = package / PROTO
    whole = file.read_bytes()
    for size in range(len(whole)):
        file.write_bytes(whole[:size])
        with pytest.raises((IntegrityFault, ConversionFailed)):
            read_program(package)


def test_a_neural_network_is_not_an_ml_program(package: Path) -> None:
    opened = Package(package)
    opened.model.neuralNetwork.SetInParent()
    (package / PROTO).write_bytes(opened.model.SerializeToString())
    with pytest.raises(ConversionFailed, match="holds a model of type neuralNetwork"):
        Package(package)


def test_reading_a_package_does_not_import_coremltools(package: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from exporters.mil.program import read_program; "
        f"read_program(Path({str(package)!r})); "
        "assert 'coremltools' not in sys.modules and 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
