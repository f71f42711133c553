import pytest

from headtail.bundle import verify_files, write_report
from headtail.bundle.verifying import check_layout
from headtail.errors import IntegrityFault
from tests.support.bundles import tiny_bundle, tiny_report


@pytest.fixture
def bundle(tmp_path):
    return tiny_bundle(tmp_path)


def test_an_untouched_bundle_with_or_without_report(bundle):
    verify_files(bundle)
    write_report(bundle, tiny_report().to_json())
    verify_files(bundle)


def test_a_manifest_changed_after_opening_is_found(bundle):
    (bundle.path / "manifest.json").write_bytes(b"{}")
    with pytest.raises(IntegrityFault, match=r"manifest\.json changed after it was read"):
        verify_files(bundle)


def test_the_sentence_says_which_file_and_what_to_do(bundle):
    path = bundle.file("tail/weights.safetensors")
    path.write_bytes(path.read_bytes().upper())
    with pytest.raises(IntegrityFault) as caught:
        verify_files(bundle)
    fault = caught.value
    assert fault.file == "tail/weights.safetensors"
    assert fault.what.startswith("tail/weights.safetensors has SHA-256 ")
    assert fault.expected.startswith("The manifest promises ")
    assert fault.remedy == "Fetch the bundle again, or export it again."
    assert fault.exit_code == 1


def test_the_layout_is_names_and_sizes_without_reading(bundle):
    check_layout(bundle)
    path = bundle.file("tail/weights.safetensors")
    data = path.read_bytes()
    path.write_bytes(data.upper())  # other bytes, as many: only verify_files finds that
    check_layout(bundle)
    path.write_bytes(data[:-1])
    with pytest.raises(IntegrityFault, match=r"tail/weights\.safetensors has \d+ bytes"):
        check_layout(bundle)
    path.write_bytes(data)
    (bundle.path / "extra").touch()
    with pytest.raises(IntegrityFault, match="extra is in the folder"):
        check_layout(bundle)
