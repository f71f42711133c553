"""What does not belong in a bundle's folder: links, pipes, strangers, folders for files."""

import os
import socket

import pytest

from headtail.bundle import open_bundle, pack_zip
from headtail.errors import IntegrityFault
from tests.support.bundles import tiny_bundle

TFLITE = "artifacts/tiny.fp32.tflite"


@pytest.fixture
def bundle(tmp_path):
    return tiny_bundle(tmp_path)


def fault_of(bundle):
    with pytest.raises(IntegrityFault) as caught:
        open_bundle(bundle.path)
    return caught.value


@pytest.mark.parametrize("rel", [TFLITE, "manifest.json"])
def test_a_file_replaced_by_a_link_to_the_same_bytes(bundle, tmp_path, rel):
    path = bundle.path / rel
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    fault = fault_of(bundle)
    assert (fault.file, fault.what) == (rel, f"{rel} is a symbolic link.")


def test_a_link_is_not_packed_either(bundle, tmp_path):
    path = bundle.file(TFLITE)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IntegrityFault, match="is a symbolic link"):
        pack_zip(bundle, tmp_path / "b.zip")


def test_a_dangling_link(bundle):
    bundle.file(TFLITE).unlink()
    bundle.file(TFLITE).symlink_to("nowhere")
    assert fault_of(bundle).file == TFLITE


def test_a_folder_replaced_by_a_link_to_the_same_folder(bundle, tmp_path):
    (bundle.path / "tail").rename(tmp_path / "elsewhere")
    (bundle.path / "tail").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert fault_of(bundle).file == "tail"


def test_a_link_that_leads_back_up_is_not_followed(bundle):
    (bundle.path / "artifacts" / "loop").symlink_to(bundle.path, target_is_directory=True)
    assert fault_of(bundle).file == "artifacts/loop"


def test_a_report_that_is_a_link(bundle, tmp_path):
    for name in ("report.json", "report.html"):
        (bundle.path / name).symlink_to("/etc/hostname")
    assert fault_of(bundle).file == "report.json"


def test_a_pipe_is_refused_and_not_waited_for(bundle):
    bundle.file(TFLITE).unlink()
    os.mkfifo(bundle.file(TFLITE))
    assert fault_of(bundle).what == f"{TFLITE} is not a regular file."


def test_a_socket(bundle, monkeypatch):
    monkeypatch.chdir(bundle.path / "tail")  # a socket's path has at most 108 bytes
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")
        assert fault_of(bundle).file == "tail/s"


def test_a_folder_where_a_file_should_be(bundle):
    bundle.file(TFLITE).unlink()
    bundle.file(TFLITE).mkdir()
    assert fault_of(bundle).what == f"{TFLITE} is not a regular file."


@pytest.mark.parametrize(
    "rel",
    ["artifacts/extra.so", ".DS_Store", "artifacts/tiny.fp32.mlpackage/.hidden", "Signature",
     "signature.bak", "Report.json", "report.json.bak"],
)  # fmt: skip
def test_a_stranger(bundle, rel):
    (bundle.path / rel).write_bytes(b"boo")
    fault = fault_of(bundle)
    assert fault.file == rel
    assert fault.expected == "The manifest does not promise it."


def test_a_signature_that_is_none(bundle):
    (bundle.path / "signature").write_bytes(b"boo")
    fault = fault_of(bundle)
    assert fault.file == "signature"
    assert fault.expected == "A signature fits the manifest beside it, or is left out."


def test_an_empty_folder_is_a_stranger_too(bundle):
    (bundle.path / "tail" / "empty").mkdir()
    assert fault_of(bundle).file == "tail/empty"


def test_a_stranger_whose_name_is_no_text(bundle):
    with open(os.fsencode(bundle.path) + b"/\xff", "wb"):  # noqa: PTH123  # a Path holds text
        pass
    fault = fault_of(bundle)
    assert fault.file == "\\udcff"
    str(fault).encode()


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root may read anything")
def test_a_file_that_may_not_be_read(bundle):
    bundle.file(TFLITE).chmod(0)
    assert fault_of(bundle).what == f"{TFLITE} cannot be read (Permission denied)."
