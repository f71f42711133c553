"""`android/check_apk.py`, on archives made here and on libraries that really are for phones."""

import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.support.capabilities import require

CHECKER = Path(__file__).parents[2] / "android" / "check_apk.py"
# ExecuTorch's own library for Android, inside a package of the npm registry
PACKAGE = "react-native-executorch@0.9.3"
LIBRARY = "package/third-party/android/libs/executorch/arm64-v8a/libexecutorch.so"


def checked(apk: Path) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, str(CHECKER), str(apk)], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout.splitlines() + done.stderr.splitlines()


def elf(alignment: int) -> bytes:
    """A 64-bit ELF header and one loaded segment."""
    header = bytearray(64)
    header[:6] = b"\x7fELF\x02\x01"
    header[32:40] = (64).to_bytes(8, "little")
    header[54:58] = (56).to_bytes(2, "little") + (1).to_bytes(2, "little")
    return bytes(header) + (1).to_bytes(4, "little") + bytes(44) + alignment.to_bytes(8, "little")


def apk(folder: Path, content: dict[str, bytes]) -> Path:
    path = folder / "app.apk"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


GOOD = {
    "lib/arm64-v8a/libLiteRt.so": elf(16384),
    "lib/arm64-v8a/libexecutorch.so": elf(65536),
    "lib/arm64-v8a/libpybundle.so": b"\x1f\x8b an archive that only looks like a library",
    "assets/private.tar": b"code",
}


def test_a_good_one(tmp_path):
    code, said = checked(apk(tmp_path, GOOD))
    assert (code, said) == (0, ["right processor, 16 KB pages, both runtimes, no model inside"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lib/arm64-v8a/libLiteRt.so": elf(4096)}, "aligned to 4096 bytes"),
        ({"lib/x86/libfoo.so": elf(16384)}, "for x86"),
        ({"assets/net.tflite": b"weights"}, "net.tflite is a model"),
        ({"lib/arm64-v8a/libcut.so": b"\x7fELF"}, "aligned to 0 bytes"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, change, words):
    code, said = checked(apk(tmp_path, {**GOOD, **change}))
    assert code == 1
    assert len(said) == 1
    assert words in said[0]


def test_a_runtime_that_gradle_left_out(tmp_path):
    rest = {name: data for name, data in GOOD.items() if "LiteRt" not in name}
    assert checked(apk(tmp_path, rest)) == (
        1,
        ["libLiteRt.so is missing; see android.gradle_dependencies."],
    )


def test_what_is_no_apk(tmp_path):
    (tmp_path / "text.apk").write_text("none")
    assert checked(tmp_path / "text.apk")[0] == 2


@pytest.mark.slow
def test_executorchs_real_library_for_phones_has_16_kb_pages(tmp_path):
    npm = shutil.which("npm")
    require(npm is not None, "npm is not installed: apt-get install npm")
    done = subprocess.run(
        [str(npm), "pack", "--json", "--loglevel=error", PACKAGE],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    require(done.returncode == 0, f"the npm registry is out of reach: {done.stderr[-300:]}")
    (told,) = json.loads(done.stdout)
    with tarfile.open(tmp_path / told["filename"]) as archive:
        member = archive.extractfile(LIBRARY)
        assert member is not None
        library = member.read()
    assert len(library) > 1_000_000
    assert checked(apk(tmp_path, {**GOOD, "lib/arm64-v8a/libexecutorch.so": library}))[0] == 0
