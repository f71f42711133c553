"""The faults that benchmarks/mutations.py makes, on small programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.faults import FAULTS, Faults
from exporters.mil.comparison import compare
from headtail.errors import HeadtailError

from .handmade import MODEL, linear_code, write_package


def caught(exact: Path, other: Path) -> bool:
    try:
        return bool(compare(exact, other, precision="fp16").findings)
    except HeadtailError:  # not even read
        return True


def test_every_fault_changes_the_program_and_is_repeatable(tmp_path: Path) -> None:
    whole = write_package(tmp_path / "net.mlpackage", main=linear_code())
    untouched = (whole / "Data" / MODEL).read_bytes()
    runs: list[list[tuple[str, bytes]]] = []
    for number in (0, 1):
        folder = tmp_path / str(number)
        folder.mkdir()
        made = []
        for kind, faulty in Faults(whole, folder, seed=7, per_kind=2):
            made.append((kind, (faulty / "Data" / MODEL).read_bytes()))
            assert caught(whole, faulty), kind
        runs.append(made)
    assert runs[0] == runs[1]
    assert untouched not in [content for _, content in runs[0]]
    assert (whole / "Data" / MODEL).read_bytes() == untouched
    kinds = {kind for kind, _ in runs[0]}
    assert kinds == {
        "weight: a channel negated",
        "weight: two channels exchanged",
        "weight: one element halved",
        "activation: another one",
        "declared shape",
        "declared type",
    }


@pytest.mark.slow  # runs the real converter
def test_faults_of_float16_files_are_caught(
    small_net: Callable[[str, str, str], Path], tmp_path: Path
) -> None:
    kinds = set()
    for name in ("vision_transformer", "segmenter"):
        exact, other = (small_net(name, precision, "iOS18") for precision in ("FLOAT32", "FLOAT16"))
        for kind, faulty in Faults(other, tmp_path, seed=0, per_kind=1):
            assert caught(exact, faulty), f"{name}: {kind}"
            kinds.add(kind)
    assert len(kinds) > len(FAULTS) // 2
