"""What the Java adapters are exercised with, fetched and built once and kept in a cache.

Of ExecuTorch's Android package the real classes are used, as react-native-executorch ships them on
npm, in both generations of their API. Android's own half of it cannot be loaded here: the stubs and
`executorch_jni.cpp` in this folder stand in for it, on the desk's real libexecutorch. LiteRT's
Java classes are on no registry that is reached from here: `litert/` is a stand-in for them.
Nothing that is fetched or built is committed.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.capabilities import require

__all__ = [
    "PHONE_PYJNIUS",
    "PYJNIUS",
    "REACT_NATIVE_EXECUTORCH",
    "Jvm",
    "executorch_jvm",
    "litert_jvm",
]

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
KEPT = CHECKOUT / "build" / "java"  # by version: what is there never has to be fetched again
PHONE_PYJNIUS = "1.7.0"  # what python-for-android 2026.5.9 builds
PYJNIUS = (PHONE_PYJNIUS, "1.9.0")
REACT_NATIVE_EXECUTORCH = ("0.8.5", "0.9.3")  # older API generation, newer API generation
_LIBRARIES = (
    "executorch",
    "executorch_kernels_optimized",
    "executorch_kernels_quantized",
    "executorch_backend_xnnpack",
    "executorch_threadpool",
)
_STEP_TIMEOUT_S = 180.0


@dataclass(frozen=True)
class Jvm:
    """A process that holds a Python with this pyjnius and a JVM with these classes."""

    pyjnius: str
    classpath: tuple[Path, ...]
    options: tuple[str, ...]

    def run(self, module: str, *arguments: str, timeout_s: float = 120.0) -> str:
        """Standard output of `python -m module arguments`; the test fails with its last lines.

        The module calls `start_jvm()` before it imports what imports jnius.
        """
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=CHECKOUT,
            env={**os.environ, **self.environment()},
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
        assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def environment(self) -> dict[str, str]:
        """What the process needs in its environment."""
        settings = {
            "classpath": [str(path) for path in self.classpath],
            "options": list(self.options),
        }
        path = os.pathsep.join([str(_pyjnius(self.pyjnius)), str(CHECKOUT)])
        return {
            "PYTHONPATH": path,
            "JAVA_HOME": str(_java_home()),
            "HEADTAIL_TEST_JVM": json.dumps(settings),
            "OMP_NUM_THREADS": "1",
        }


def start_jvm() -> None:
    """Set up jnius as the parent process asked."""
    import jnius_config

    settings = json.loads(os.environ["HEADTAIL_TEST_JVM"])
    jnius_config.add_options("-Xrs", "-Xss4m", *settings["options"])
    jnius_config.set_classpath(*settings["classpath"])


def executorch_jvm(*, pyjnius: str, classes: str) -> Jvm:
    """ExecuTorch's real Java classes of a version of react-native-executorch, on libexecutorch."""
    jar = _executorch_jar(classes)
    stubs = _compiled("stubs", HERE / "stubs")
    library = _executorch_jni()
    return Jvm(pyjnius, (jar, stubs), (f"-Dheadtail.executorch.jni={library}",))


def litert_jvm(*, pyjnius: str) -> Jvm:
    """The stand-in for LiteRT's Java classes."""
    library = _litert_jni()
    return Jvm(
        pyjnius, (_compiled("litert", HERE / "litert"),), (f"-Dheadtail.litert.jni={library}",)
    )


def _java_home() -> Path:
    compiler = shutil.which("javac")
    require(compiler is not None, "javac is not installed (default-jdk-headless)")
    return Path(str(compiler)).resolve().parents[1]


def _kept(name: str, fill: Callable[[Path], None]) -> Path:
    """The folder `name` of the cache; `fill` makes it once, whole or not at all."""
    place = KEPT / name
    if not place.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=place.parent) as staging:
            made = Path(staging, "made")
            made.mkdir()
            fill(made)
            if not place.is_dir():  # another process may have been faster
                made.rename(place)
    return place


def _pyjnius(version: str) -> Path:
    def fill(folder: Path) -> None:
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-compile"]
        _step([*pip, "--target", str(folder), f"pyjnius=={version}"], folder)

    return _kept(f"pyjnius-{version}", fill)


def _executorch_jar(version: str) -> Path:
    name = "package/android/libs/classes.jar"

    def fill(folder: Path) -> None:
        require(shutil.which("npm") is not None, "npm is not installed")
        _step(["npm", "pack", "--silent", f"react-native-executorch@{version}"], folder)
        package = next(folder.glob("*.tgz"))
        jar = folder / name
        jar.parent.mkdir(parents=True)
        with tarfile.open(package) as archive, jar.open("wb") as out:
            held = archive.extractfile(name)
            assert held is not None, f"{package.name} has no {name}"
            shutil.copyfileobj(held, out)
        package.unlink()

    return _kept(f"react-native-executorch-{version}", fill) / name


def _compiled(name: str, sources: Path) -> Path:
    files = sorted(sources.rglob("*.java"))

    def fill(folder: Path) -> None:
        _step(
            ["javac", "--release", "8", "-Xlint:-options", "-d", str(folder), *map(str, files)],
            folder,
        )

    return _kept(f"{name}-{_digest(files)}", fill)


def _executorch_jni() -> Path:
    package, version = _installed("executorch")
    headers = package / "include"
    portable = headers / "executorch/runtime/core/portable_type/c10"
    flags = ["-DC10_USING_CUSTOM_GENERATED_MACROS", "-DET_EVENT_TRACER_ENABLED"]
    flags += ["-DET_USE_THREADPOOL", f"-I{headers}", f"-I{portable}"]
    libraries = [f"-l{name}" for name in _LIBRARIES]
    return _linked("executorch", flags, package / "lib", libraries, version)


def _litert_jni() -> Path:
    package, version = _installed("ai-edge-litert")
    return _linked("litert", [], package, ["-l:libLiteRt.so"], version)


def _installed(distribution: str) -> tuple[Path, str]:
    found = importlib.util.find_spec(distribution.replace("-", "_"))
    require(found is not None, f"{distribution} is not installed")
    assert found is not None
    folder = Path(next(iter(found.submodule_search_locations or ())))
    return folder, importlib.metadata.version(distribution)


def _linked(
    name: str, flags: Sequence[str], folder: Path, libraries: Sequence[str], version: str
) -> Path:
    """`<name>_jni.cpp` as a shared library that finds `libraries` in `folder`."""
    source = HERE / f"{name}_jni.cpp"
    library = f"libheadtail_{name}_jni.so"

    def fill(made: Path) -> None:
        require(shutil.which("g++") is not None, "g++ is not installed")
        java = _java_home() / "include"
        command = ["g++", "-std=c++17", "-O1", "-w", "-shared", "-fPIC", *flags]
        command += [f"-I{java}", f"-I{java / 'linux'}", str(source), "-o", str(made / library)]
        command += [f"-L{folder}", "-Wl,--no-as-needed", *libraries]
        command += [f"-Wl,-rpath,{folder}", f"-Wl,-rpath-link,{folder}"]
        _step(command, made)

    place = hashlib.sha256(str(folder).encode()).hexdigest()[:6]
    return _kept(f"{name}-jni-{version}-{_digest([source])}-{place}", fill) / library


def _digest(files: Sequence[Path]) -> str:
    together = hashlib.sha256()
    for file in files:
        together.update(file.name.encode() + b"\0" + file.read_bytes())
    return together.hexdigest()[:12]


def _step(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=_STEP_TIMEOUT_S
    )
    require(done.returncode == 0, f"`{' '.join(command[:3])} ...` failed: {done.stderr[-800:]}")
