"""A small arm64 Debian with Python, numpy and LiteRT, for qemu-user: no root, no chroot, no binfmt.

Debian's packages come through this machine's own apt sources, with the architecture set to arm64
and a private state folder, so that nothing of this machine's package database changes; wheels come
through pip's `--platform`. Built beside its place and renamed, so a sysroot is whole or absent; its
folder name is a hash of everything that decides its content.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from device_tests.cpus import CPUS, Cpu
from headtail.errors import EnvironmentFault, MissingDependency, UnknownName
from headtail.strictjson import canonical_bytes, from_json, parse

__all__ = ["Recipe", "Sysroot", "cache_folder", "ensure_sysroot", "recipe_for"]

CACHE = "HEADTAIL_CACHE"
RECORD = "sysroot.json"
LAYOUT = 1  # counts changes of this file that change what is built
STEP_TIMEOUT_S = 300.0

# The smallest set with which numpy and LiteRT import; names differ between Debian releases.
DEBIAN = {
    "bookworm": (
        "libbz2-1.0",
        "libc6",
        "libcrypt1",
        "libexpat1",
        "libffi8",
        "libgcc-s1",
        "liblzma5",
        "libpython3.11-minimal",
        "libpython3.11-stdlib",
        "libssl3",
        "libstdc++6",
        "python3.11-minimal",
        "zlib1g",
    ),
}
PYTHON = {"bookworm": "3.11"}
NUMPY = (
    "numpy==2.4.6"  # only carries arrays in and out; pinned so that equal keys mean equal content
)
PLATFORMS = ("manylinux2014_aarch64", "manylinux_2_27_aarch64", "manylinux_2_28_aarch64")
TOOLS = {"apt-get": "apt", "dpkg-deb": "dpkg"}


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a sysroot's content, but for Debian's point updates."""

    layout: int
    release: str
    python: str
    packages: tuple[str, ...]
    wheels: tuple[str, ...]
    cpuinfo: dict[str, str]

    @property
    def key(self) -> str:
        """First 16 hex digits of the SHA-256 of the recipe."""
        return hashlib.sha256(canonical_bytes(self)).hexdigest()[:16]


@dataclass(frozen=True)
class Record:
    """What was really installed: `.deb` and `.whl` file names, in `sysroot.json`."""

    recipe: Recipe
    packages: tuple[str, ...]
    wheels: tuple[str, ...]


class Sysroot:
    """A finished sysroot on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.record = from_json(Record, parse((path / RECORD).read_bytes()))
        self.site = path / "site"
        self.bytecode = path / "bytecode"

    def root(self, cpu: str) -> Path:
        """The folder to give to qemu's `-L`: the one root, with the `/proc/cpuinfo` of `cpu`."""
        return self.path / "cpu" / cpu

    def python(self, cpu: str) -> Path:
        """The arm64 interpreter, inside `root(cpu)`."""
        return self.root(cpu) / "usr" / "bin" / f"python{self.record.recipe.python}"


def recipe_for(release: str, *, litert: str) -> Recipe:
    """The recipe for a Debian release and a version of ai-edge-litert."""
    if release not in DEBIAN:
        raise EnvironmentFault(
            f"{UnknownName('Debian release', release, DEBIAN).what}",
            expected=f"The arm64 sysroot is known for: {', '.join(sorted(DEBIAN))}.",
            remedy="Run the emulated targets on one of them, or in a container of it.",
        )
    return Recipe(
        layout=LAYOUT,
        release=release,
        python=PYTHON[release],
        packages=DEBIAN[release],
        wheels=(f"ai-edge-litert=={litert}", NUMPY),
        cpuinfo={name: cpu.cpuinfo() for name, cpu in CPUS.items()},
    )


def cache_folder() -> Path:
    """`$HEADTAIL_CACHE/arm64-sysroot`, or `build/arm64-sysroot` in the checkout."""
    given = os.environ.get(CACHE)
    base = Path(given) if given else Path(__file__).resolve().parents[1] / "build"
    return base / "arm64-sysroot"


def ensure_sysroot(recipe: Recipe, *, cache: Path) -> Sysroot:
    """The sysroot of `recipe` in `cache`, built now if it is not there.

    Building takes seconds and downloads about 50 MB. Raises `MissingDependency` or
    `EnvironmentFault`; then nothing half-built is in `cache`.
    """
    place = cache / recipe.key
    if (place / RECORD).is_file():
        return Sysroot(place)
    for tool, package in TOOLS.items():
        if shutil.which(tool) is None:
            raise MissingDependency(
                package,
                needed_for="the arm64 sysroot",
                install="use Debian 12 or a container of it",
            )
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{recipe.key}.", dir=cache) as staging:
        built = _build(recipe, Path(staging))
        _publish(built, place)
    return Sysroot(place)


def _publish(built: Path, place: Path) -> None:
    try:
        built.rename(place)
    except OSError as error:
        if (place / RECORD).is_file():  # another process finished the same one first
            return
        raise EnvironmentFault(
            f"The finished sysroot cannot be moved to {place} ({error.strerror}).",
            expected="The folder is absent, or a whole sysroot.",
            remedy=f"Remove it with: rm -r {place}",
        ) from None


def _build(recipe: Recipe, staging: Path) -> Path:
    built = staging / "built"
    (built / "root").mkdir(parents=True)
    packages = _packages(recipe, staging)
    wheels = _wheels(recipe, staging)
    for package in packages:
        _step(["dpkg-deb", "-x", str(package), str(built / "root")], cwd=staging)
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(built / "site")
    for name, cpu in CPUS.items():
        _profile(built, name, cpu)
    names = [tuple(sorted(file.name for file in files)) for files in (packages, wheels)]
    (built / RECORD).write_bytes(canonical_bytes(Record(recipe, *names)))
    return built


def _packages(recipe: Recipe, staging: Path) -> list[Path]:
    state, downloads = staging / "apt", staging / "deb"
    for folder in ("lists/partial", "cache/archives/partial"):
        (state / folder).mkdir(parents=True)
    (state / "status").touch()
    downloads.mkdir()
    options = {
        "APT::Architecture": "arm64",
        "APT::Architectures::": "arm64",
        "APT::Sandbox::User": "root",
        "Dir::State::lists": str(state / "lists"),
        "Dir::State::status": str(state / "status"),
        "Dir::Cache": str(state / "cache"),
    }
    apt = ["apt-get", "-q", *(word for o in options.items() for word in ("-o", "=".join(o)))]
    # a third-party source without arm64 must not decide; whether every package came does
    _step([*apt, "update"], cwd=downloads, check=False)
    _step([*apt, "download", *recipe.packages], cwd=downloads)
    return sorted(downloads.glob("*.deb"))


def _wheels(recipe: Recipe, staging: Path) -> list[Path]:
    downloads = staging / "whl"
    command = [sys.executable, "-m", "pip", "download", "-q", "--dest", str(downloads)]
    command += ["--no-deps", "--only-binary=:all:", "--implementation", "cp"]
    command += ["--python-version", recipe.python]
    command += [word for platform in PLATFORMS for word in ("--platform", platform)]
    _step([*command, *recipe.wheels], cwd=staging)
    return sorted(downloads.glob("*.whl"))


def _profile(built: Path, name: str, cpu: Cpu) -> None:
    # qemu's -L redirects absolute opens into the root, so the file in it is the guest's
    # /proc/cpuinfo; without one XNNPACK reads the x86 one, finds no core and LiteRT crashes
    folder = built / "cpu" / name
    (folder / "proc").mkdir(parents=True)
    (folder / "proc" / "cpuinfo").write_text(cpu.cpuinfo(), encoding="ascii")
    for top in sorted((built / "root").iterdir()):
        (folder / top.name).symlink_to(Path("..", "..", "root", top.name))


def _step(command: Sequence[str], *, cwd: Path, check: bool = True) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=STEP_TIMEOUT_S,
        )
        said, failed = done.stderr.strip() or done.stdout.strip(), check and done.returncode != 0
    except (OSError, subprocess.TimeoutExpired) as error:
        said, failed = str(error), True
    if failed:
        raise EnvironmentFault(
            f"Building the arm64 sysroot failed at `{' '.join(command[:3])} ...`:"
            f" {json.dumps(said[-500:])}.",
            expected="Debian's arm64 packages and PyPI's aarch64 wheels can be downloaded.",
            remedy="Check the network and `apt-get update`, then run again.",
        )
