"""Manifests that lie. The attacker can seal them: only a signature would tell who wrote one."""

import json
import tracemalloc

import pytest

from headtail.bundle import open_bundle
from headtail.errors import HeadtailError, IntegrityFault, SchemaFault
from headtail.manifest import MAX_MANIFEST_BYTES
from tests.support.bundles import tiny_bundle
from tests.support.sealing import canonical, manifest_value, reseal, sealed


@pytest.fixture
def bundle(tmp_path):
    return tiny_bundle(tmp_path)


def put(bundle, data):
    (bundle.path / "manifest.json").write_bytes(data)


def resealed_fault(bundle, change):
    value = manifest_value(bundle.path)
    change(value)
    reseal(bundle.path, value)
    with pytest.raises(HeadtailError) as caught:
        open_bundle(bundle.path, check=False)
    return caught.value


def test_our_second_canonical_form_agrees_with_the_first(bundle):
    data = (bundle.path / "manifest.json").read_bytes()
    assert canonical(json.loads(data)) == data == sealed(json.loads(data))


NOT_CANONICAL = {
    "indented": lambda data: json.dumps(json.loads(data), indent=1, sort_keys=True).encode(),
    "trailing newline": lambda data: data + b"\n",
    "leading space": lambda data: b" " + data,
    "byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "UTF-16": lambda data: data.decode().encode("utf-16"),
    "other key order": lambda data: json.dumps(
        dict(reversed(json.loads(data).items())), separators=(",", ":")
    ).encode(),
    "escaped letter": lambda data: data.replace(b'"cat"', b'"\\u0063at"'),
    "escaped slash": lambda data: data.replace(b"tail/program", b"tail\\/program"),
    "1.0 as 1.00": lambda data: data.replace(b'"crop_fraction":1.0', b'"crop_fraction":1.00'),
    "1.0 as 1e0": lambda data: data.replace(b'"crop_fraction":1.0', b'"crop_fraction":1e0'),
    "duplicate key": lambda data: data[:-1] + b',"task":"image-classification"}',
    "duplicate key, the last one right": lambda data: b'{"task":"other",' + data[1:],
    "two documents": lambda data: data + data,
    "a list": lambda data: b"[" + data + b"]",
    "nothing": lambda data: b"",
    "null": lambda data: b"null",
    "a number": lambda data: b"7",
    "not UTF-8": lambda data: data.replace(b"cat", b"c\xfft"),
    "NUL": lambda data: data + b"\0",
    "NaN": lambda data: data.replace(b'"crop_fraction":1.0', b'"crop_fraction":NaN'),
    "infinity": lambda data: data.replace(b'"crop_fraction":1.0', b'"crop_fraction":Infinity'),
    "infinity by overflow": lambda data: data.replace(b'"scale":', b'"scale":1e999,"x":'),
    "lone surrogate": lambda data: data.replace(b'"cat"', b'"\\ud800"'),
    "a number of 5000 digits": lambda data: data.replace(b'"seed":7', b'"seed":' + b"7" * 5000),
    "no bundle_id": lambda data: data.replace(b'"bundle_id"', b'"bundle-id"'),
    "bundle_id null": lambda data: canonical({**json.loads(data), "bundle_id": None}),
    "bundle_id in capitals": lambda data: canonical(
        {**json.loads(data), "bundle_id": json.loads(data)["bundle_id"].upper()}
    ),
    "another bundle_id": lambda data: canonical({**json.loads(data), "bundle_id": "0" * 64}),
}


@pytest.mark.parametrize("case", NOT_CANONICAL)
def test_bytes_that_are_not_the_canonical_ones(bundle, case):
    before = (bundle.path / "manifest.json").read_bytes()
    data = NOT_CANONICAL[case](before)
    assert data != before
    put(bundle, data)
    for check in (True, False):
        with pytest.raises(IntegrityFault) as caught:
            open_bundle(bundle.path, check=check)
        assert caught.value.file == "manifest.json"
        str(caught.value).encode()


@pytest.mark.parametrize("version", [1, 99, 0, -1, None, "1", 1.5, True])
def test_another_schema_version(bundle, version):
    fault = resealed_fault(bundle, lambda value: value.update(schema_version=version))
    assert isinstance(fault, SchemaFault)
    assert "schema_version" in fault.what


def test_a_newer_schema_says_what_to_do_even_if_its_keys_are_new(bundle):
    fault = resealed_fault(
        bundle, lambda value: value.update(schema_version=99, shiny={"key": [1, 2]})
    )
    assert fault.remedy == "Update Headtail to read this bundle."
    assert fault.exit_code == 2


SCHEMA = {
    "unknown key": (lambda v: v.update(more=1), "Unknown key 'more' @ $."),
    "unknown key deep": (
        lambda v: v["artifacts"][0]["entries"][0].update(more=1),
        "Unknown key 'more' @ $.artifacts[0].entries[0].",
    ),
    "missing key": (lambda v: v.pop("tails"), "Missing key 'tails' @ $."),
    "string for a number": (
        lambda v: v["files"]["golden.safetensors"].update(size="9"),
        "Expected an integer, got '9' @ $.files.golden.safetensors.size.",
    ),
    "float for an integer": (
        lambda v: v["files"]["golden.safetensors"].update(size=9.0),
        "Expected an integer, got 9.0 @ $.files.golden.safetensors.size.",
    ),
    "boolean for an integer": (
        lambda v: v["evaluation"].update(count=True),
        "Expected an integer, got True @ $.evaluation.count.",
    ),
    "integer beyond every float": (
        lambda v: v["cuts"][0].update(head_flops=10**400),
        "Expected a number, got 1000",
    ),
    "list for an object": (lambda v: v.update(files=[]), "Expected an object, got list @ $.files."),
    "object for a list": (lambda v: v.update(labels={}), "Expected a list, got dict @ $.labels."),
    "no record": (lambda v: v.update(golden="gone"), "'gone' has no record @ $.files."),
    "artifact without files": (
        lambda v: v["artifacts"][0].update(path="artifacts/tiny"),
        "'artifacts/tiny' has no record @ $.files.",
    ),
    "unknown dtype": (
        lambda v: v["inputs"][0].update(dtype="f8"),
        "Unknown dtype 'f8' @ $.inputs[0].",
    ),
    "negative size": (lambda v: v["inputs"][0].update(shape=[-1]), "shape [-1]"),
    "rank 99": (lambda v: v["inputs"][0].update(shape=[1] * 99), "has shape [1, 1"),
    "division by zero": (lambda v: v["preprocess"].update(std=[1.0, 0.0, 1.0]), "out of range"),
    "unknown layout": (
        lambda v: v["preprocess"].update(layout="CHW"),
        "Unknown layout 'CHW' @ $.preprocess.",
    ),
    "gigantic picture": (lambda v: v["preprocess"].update(height=10**9), "out of range"),
}


@pytest.mark.parametrize("case", SCHEMA)
def test_a_sealed_manifest_must_still_fit_the_schema(bundle, case):
    change, sentence = SCHEMA[case]
    fault = resealed_fault(bundle, change)
    assert sentence in fault.what


NAMES = [
    "../outside", "/etc/passwd", "a/../../outside", "./a", "a/./b", "a//b", "a/", "", ".",
    "..", "C:\\x", "a\\..\\b", "a\0b", "a\nb", "~/x", "a b", "ä", "x" * 256, "-rf", ".git/config",
    "manifest.json", "MANIFEST.JSON", "report.json", "report.html", "signature",
    "golden.safetensors/below", "Golden.safetensors", "Golden.Safetensors/below",
    "manifest.json/below", "Report.html/below",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_file_names_that_lead_elsewhere_or_clash(bundle, name):
    def change(value):
        value["files"][name] = value["files"]["golden.safetensors"]

    fault = resealed_fault(bundle, change)
    assert isinstance(fault, SchemaFault)
    assert "is not plain, reserved or clashes with another @ $.files." in fault.what


def test_a_promise_of_an_exabyte_is_refused_by_size_alone(bundle):
    value = manifest_value(bundle.path)
    value["files"]["golden.safetensors"]["size"] = 1 << 60
    reseal(bundle.path, value)
    tracemalloc.start()
    with pytest.raises(IntegrityFault, match="promises 1152921504606846976"):
        open_bundle(bundle.path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


def test_a_negative_size(bundle):
    value = manifest_value(bundle.path)
    value["files"]["golden.safetensors"]["size"] = -1
    reseal(bundle.path, value)
    with pytest.raises(IntegrityFault, match="promises -1"):
        open_bundle(bundle.path)


def test_deep_nesting_does_not_reach_the_recursive_parser(bundle):
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        depth = 1_000_000
        put(bundle, opening * depth + b"1" + closing * depth)
        with pytest.raises(IntegrityFault, match="Nested 1000000 levels deep, limit 32") as caught:
            open_bundle(bundle.path)
        assert caught.value.file == "manifest.json"


def test_a_huge_manifest_is_not_read(bundle):
    with (bundle.path / "manifest.json").open("r+b") as file:
        file.truncate(1 << 40)  # sparse: a terabyte that takes no room on the disk
    tracemalloc.start()
    with pytest.raises(IntegrityFault, match=f"At most {MAX_MANIFEST_BYTES} bytes") as caught:
        open_bundle(bundle.path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.file == "manifest.json"
    assert peak < 1_000_000
