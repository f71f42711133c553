"""The arm64 sysroot: its key, its cpuinfo, and what is left when it cannot be built."""

from __future__ import annotations

from pathlib import Path

import pytest

from device_tests.cpus import CPUS
from device_tests.sysroot import cache_folder, ensure_sysroot, recipe_for
from headtail.errors import EnvironmentFault, MissingDependency

RECIPE = recipe_for("bookworm", litert="2.3.0")


def programs(folder: Path, **scripts: str) -> Path:
    """A folder for PATH that holds these shell scripts and nothing else."""
    folder.mkdir()
    for name, body in scripts.items():
        path = folder / name.replace("_", "-")
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
    return folder


def test_the_key_follows_everything_that_decides_the_content() -> None:
    assert recipe_for("bookworm", litert="2.3.0").key == RECIPE.key
    assert recipe_for("bookworm", litert="2.3.1").key != RECIPE.key
    assert len(RECIPE.key) == 16


def test_an_unknown_release_is_refused_with_what_is_known() -> None:
    with pytest.raises(EnvironmentFault, match=r"'sid'.*bookworm"):
        recipe_for("sid", litert="2.3.0")


def test_cpuinfo_claims_two_arm_cores_with_their_own_features() -> None:
    older, newer = (CPUS[name].cpuinfo() for name in ("cortex-a53", "cortex-a76"))
    for text, part in ((older, "0xd03"), (newer, "0xd0b")):
        assert text.count("processor\t: ") == 2
        assert text.count("CPU implementer\t: 0x41\n") == 2
        assert text.count(f"CPU part\t: {part}\n") == 2
    # the dot product is what tells the two profiles' int8 kernels apart
    assert "asimddp" in newer
    assert "asimddp" not in older


def test_max_is_no_profile() -> None:
    assert "max" not in {cpu.model for cpu in CPUS.values()}


def test_cache_is_where_the_variable_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HEADTAIL_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path / "arm64-sysroot"
    monkeypatch.delenv("HEADTAIL_CACHE")
    assert cache_folder().parts[-2:] == ("build", "arm64-sysroot")


def test_a_machine_without_apt_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(programs(tmp_path / "bin")))
    with pytest.raises(MissingDependency, match=r"apt is not installed.*arm64 sysroot"):
        ensure_sysroot(RECIPE, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_failed_download_says_why_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failing = programs(
        tmp_path / "bin", apt_get="echo 'E: no route' >&2; exit 100", dpkg_deb="exit 1"
    )
    monkeypatch.setenv("PATH", str(failing))
    with pytest.raises(EnvironmentFault, match=r"apt-get.*E: no route.*Check the network"):
        ensure_sysroot(RECIPE, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
