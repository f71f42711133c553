"""A float16 or compressed package against the float32 one: no false alarm, and faults found."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from exporters.mil.comparison import PRECISIONS, compare
from headtail.errors import IntegrityFault, UnknownName
from quantizers import coreml_backend, recipe
from quantizers.plan import Plan

from .mutations import FAULTS, Faults
from .nets import NETS, build, photos

Small = Callable[[str, str, str], Path]
CAUGHT = 0.97


def test_an_unknown_precision_lists_what_exists() -> None:
    with pytest.raises(UnknownName, match=", ".join(sorted(PRECISIONS))):
        compare(Path("a"), Path("b"), precision="fp8")


@pytest.mark.slow  # runs the real converter
@pytest.mark.parametrize("name", NETS)
def test_float16_is_the_same_program(name: str, small_net: Small) -> None:
    exact, other = (small_net(name, precision, "iOS18") for precision in ("FLOAT32", "FLOAT16"))
    found = compare(exact, other, precision="fp16")
    found.check()
    assert found.ops > 0
    assert found.constants > found.ops


@pytest.mark.slow  # runs the real converter
@pytest.mark.parametrize("name", ["resnet", "vision_transformer"])
def test_compressed_is_the_same_program(name: str, small_net: Small, convert: Any) -> None:
    exact = small_net(name, "FLOAT32", "iOS18")
    compress = partial(coreml_backend.quantize_model, plan=Plan(recipe.recipe("w8")))
    other = convert(
        build(name), (photos()[:1],), f"{name}_w8", precision="FLOAT16", compress=compress
    )
    compare(exact, other, precision="w8").check()


@pytest.mark.slow  # runs the real converter
def test_single_faults_are_found_by_name(small_net: Small, tmp_path: Path) -> None:
    found: dict[str, list[bool]] = {}
    for name in ("mobilenet_v2_like", "vision_transformer"):
        exact, other = (small_net(name, precision, "iOS17") for precision in ("FLOAT32", "FLOAT16"))
        for kind, mutant in Faults(other, tmp_path / name):
            found.setdefault(kind, []).append(_refused(exact, mutant))
    assert set(found) >= set(FAULTS) - {"bilinear corners aligned"}
    every = [caught for kind in found.values() for caught in kind]
    assert sum(every) >= CAUGHT * len(every), found


def _refused(exact: Path, mutant: Path) -> bool:
    try:
        return bool(compare(exact, mutant, precision="fp16").findings)
    except IntegrityFault:  # the interpreter does not even read it
        return True
