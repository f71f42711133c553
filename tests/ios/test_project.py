"""What `ios/` gives to an Xcode project: property lists that parse and say what the app does."""

import plistlib
import re
from pathlib import Path

from headtail.offload.pairing import PREFIX

IOS = Path(__file__).parents[2] / "ios"
# https://developer.apple.com/documentation/bundleresources/describing-use-of-required-reason-api
REASONS = {
    "NSPrivacyAccessedAPICategoryFileTimestamp": {"DDA9.1", "C617.1", "3B52.1"},
    "NSPrivacyAccessedAPICategorySystemBootTime": {"35F9.1", "8FFB.1", "3D61.1"},
    "NSPrivacyAccessedAPICategoryDiskSpace": {"85F4.1", "E174.1", "7D9E.1", "B728.1"},
}


def read(name):
    return plistlib.loads((IOS / name).read_bytes())


def test_info_plist_asks_for_the_camera_and_the_local_network_only():
    added = read("Info-additions.plist")
    asked = {key: words for key, words in added.items() if key.endswith("UsageDescription")}
    assert sorted(asked) == ["NSCameraUsageDescription", "NSLocalNetworkUsageDescription"]
    assert all(words.endswith(".") and len(words) > 40 for words in asked.values())
    assert "NSAppTransportSecurity" not in added
    assert "UIFileSharingEnabled" not in added


def test_info_plist_takes_the_links_of_pairing_codes():
    (kind,) = read("Info-additions.plist")["CFBundleURLTypes"]
    assert kind["CFBundleURLSchemes"] == [PREFIX.partition("://")[0]]


def test_the_privacy_manifest_declares_what_python_calls():
    manifest = read("PrivacyInfo.xcprivacy")
    assert manifest["NSPrivacyTracking"] is False
    assert manifest["NSPrivacyTrackingDomains"] == []
    assert manifest["NSPrivacyCollectedDataTypes"] == []
    declared = {
        entry["NSPrivacyAccessedAPIType"]: set(entry["NSPrivacyAccessedAPITypeReasons"])
        for entry in manifest["NSPrivacyAccessedAPITypes"]
    }
    assert declared.keys() == REASONS.keys()
    for category, reasons in declared.items():
        assert reasons
        assert reasons <= REASONS[category]


def test_the_guide_names_every_file_and_every_key():
    guide = (IOS / "README.md").read_text()
    files = {path.name for path in IOS.iterdir() if path.is_file()} - {"README.md"}
    assert {name for name in files if name not in guide} == set()
    for key in read("Info-additions.plist"):
        assert f"`{key}`" in guide


def test_what_only_one_compiler_takes_is_not_used():
    """gcc compiles the tests' bridge and Xcode the phone's: no ARC, block or object literal."""
    for path in IOS.glob("*.m"):
        source = re.sub(r'@?"[^"]*"|//.*', "", path.read_text())
        assert "autoreleasepool" not in source
        assert not re.search(r"@[\[{(]|\^\s*[{(]", source), path.name
