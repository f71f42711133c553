"""Every class, selector, function and constant that the pictures' bridge uses is Apple's."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.coreml_fake.evidence import declared
from tests.pictures_fake.evidence import pyobjc_constants, read_declarations
from tests.pictures_fake.framework import compiling_pictures

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
FAKE = ROOT / "tests" / "pictures_fake"
HEADERS = [FAKE / name / f"{name}.h" for name in ("UIKit", "PhotosUI", "Vision")]
SOURCES = sorted((ROOT / "ios" / "pictures").glob("*.m"))
LOADED = "loadFileRepresentationForTypeIdentifierCompletionHandler("


@pytest.fixture(scope="module")
def sdk():
    return read_declarations()


def test_every_declared_method_is_one_of_the_sdks(sdk):
    methods = [method for header in HEADERS for method in declared(header.read_text())]
    assert len(methods) == 20
    assert [m for m in methods if not sdk.knows(m.owner, m.selector)] == []


def test_every_declared_class_is_one_of_the_sdks(sdk):
    headers = "\n".join(header.read_text() for header in HEADERS)
    names = set(re.findall(r"^@(?:interface|protocol) (\w+)", headers, re.MULTILINE))
    assert names - set(sdk.classes) == set()
    bases = dict(re.findall(r"^@interface (\w+) : (\w+)", headers, re.MULTILINE))
    assert bases["VNDetectBarcodesRequest"] == "VNRequest"
    assert sdk.classes["VNDetectBarcodesRequest"][0] == "VNImageBasedRequest"  # itself a VNRequest
    assert sdk.classes["VNImageBasedRequest"][0] == "VNRequest"


def test_the_constants_have_apples_values(sdk):
    mode = "PHPickerConfigurationAssetRepresentationMode"
    assert sdk.value(mode, "Compatible") == 2
    assert sdk.value("UIModalPresentationStyle", "FullScreen") == 0
    assert sdk.value("CGImageAlphaInfo", "kCGImageAlphaNone") == 0
    assert sdk.value("CGColorRenderingIntent", "kCGRenderingIntentDefault") == 0
    assert sdk.line("declare var VNBarcodeSymbologyQR:")
    mac = pyobjc_constants()
    assert f"${mode}Compatible@2$" in mac
    assert "$VNBarcodeSymbologyQR$" in mac
    assert 'b"picker:didFinishPicking:"' in mac


def test_the_c_functions_take_what_is_passed(sdk):
    calls = {"CGImageCreate": 11, "CGDataProviderCreateWithData": 4}
    assert {name: len(sdk.arguments(name)) for name in calls} == calls
    assert sdk.arguments("CGColorSpaceCreateDeviceGray") == []
    assert sdk.arguments("CGImageCreate")[:5] == [
        "width",
        "height",
        "bitsPerComponent",
        "bitsPerPixel",
        "bytesPerRow",
    ]


def test_the_block_that_is_written_out_is_of_the_type_that_is_called(sdk):
    """A block of URL and error, returning nothing: `v24@?0@8@16`."""
    told = sdk.line(LOADED)
    assert "completionHandler: (p1: NSURL | null, p2: NSError | null) => void" in told
    assert sdk.knows("NSItemProvider", "hasItemConformingToTypeIdentifier:")
    (source,) = (path.read_text() for path in SOURCES if path.name == "photo_picker.m")
    assert '"v24@?0@8@16"' in source
    assert "(const struct headtail_block *block, NSURL *file, NSError *fault)" in source


@pytest.mark.parametrize(
    ("owner", "selector"),
    [
        ("PHPickerConfiguration", "setSelectionLimits:"),
        ("PHPickerResult", "setItemProvider:"),  # it can only be read
        ("UIViewController", "presentViewController:completion:animated:"),
        ("VNBarcodeObservation", "payload"),
        ("VNBarcodeReader", "payloadStringValue"),
    ],
)
def test_the_evidence_can_say_no(sdk, owner, selector):
    assert not sdk.knows(owner, selector)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("setSymbologies:", "setSymbology:"), ("VNBarcodeSymbologyQR", "VNBarcodeSymbologyQr")],
)
def test_a_misspelt_name_does_not_compile(tmp_path, right, wrong):
    source = (ROOT / "ios" / "pictures" / "code_reader.m").read_text()
    assert right in source
    misspelt = tmp_path / "misspelt.m"
    misspelt.write_text(source.replace(right, wrong))
    command = compiling_pictures("-fsyntax-only", str(misspelt))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert wrong.rstrip(":") in done.stderr


def test_what_only_one_compiler_takes_is_not_used():
    """gcc compiles the tests' bridge and Xcode the phone's: no ARC, block or object literal."""
    for path in SOURCES:
        source = re.sub(r'@?"[^"]*"|//.*', "", path.read_text())
        source = source.replace("typedef void (^headtail_loaded)(NSURL *, NSError *);", "")
        assert "autoreleasepool" not in source
        assert not re.search(r"@[\[{(]|\^\s*[{(]|\(\^", source), path.name
