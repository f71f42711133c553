"""Each operator from coremltools' builder through a package on disk, against numpy or torch.

One package per group holds all its cases, for the first opset that has them and for the newest.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from exporters.mil import Mode

from . import built_gather, built_image, built_index, built_math, built_norm, built_reduce
from .building import Case, results, same, write

pytestmark = pytest.mark.slow  # imports the converter

# name -> how the cases are made, the opsets they are for, whether float16 is computed too
Group = tuple[Callable[[], list[Case]], tuple[str, ...], bool]
GROUPS: dict[str, Group] = {
    "scattering": (built_gather.scattering, ("iOS15", "iOS17"), False),
    "gathering": (built_gather.gathering, ("iOS15", "iOS16", "iOS18"), False),
    "negative gathering": (built_gather.negative_gathering, ("iOS15", "iOS16"), False),
    "batched gathering": (built_gather.batched_gathering, ("iOS16", "iOS18"), False),
    "narrow gathering": (built_gather.narrow_gathering, ("iOS17",), False),
    "slicing": (built_index.slicing, ("iOS15", "iOS18"), True),
    "updating": (built_index.updating, ("iOS18",), True),
    "sampling": (built_image.sampling, ("iOS15", "iOS18"), False),
    "blocks": (built_image.blocks, ("iOS15", "iOS18"), True),
    "norms and pools": (built_norm.norms_and_pools, ("iOS15", "iOS18"), False),
    "attention": (built_norm.attention, ("iOS18",), True),
    "unary": (built_math.unary, ("iOS15", "iOS18"), False),
    "binary": (built_math.binary, ("iOS15", "iOS18"), False),
    "casting": (built_math.casting, ("iOS17",), False),
    "reductions": (built_reduce.reductions, ("iOS15", "iOS18"), False),
    "matrices": (built_reduce.matrices, ("iOS15", "iOS18"), True),
}
CASES = {group: make() for group, (make, _, _) in GROUPS.items()}
RUNS = [
    (group, target, half)
    for group, (_, targets, halves) in GROUPS.items()
    for target, half in [*((t, False) for t in targets), *([(targets[-1], True)] * halves)]
]


@pytest.fixture(scope="session")
def computed(coremltools: Any, tmp_path_factory: pytest.TempPathFactory):
    """computed(group, target, half) -> {case: results}."""

    @lru_cache
    def run(group: str, target: str, half: bool) -> dict[str, list[Any]]:
        path: Path = tmp_path_factory.mktemp("built") / "ops.mlpackage"
        write(CASES[group], target, path, half=half)
        return results(path, CASES[group], Mode.DECLARED if half else Mode.FP32)

    return run


@pytest.mark.parametrize(
    ("group", "target", "half", "case"),
    [
        pytest.param(*run, case, id=f"{run[0]}-{run[1]}{'-fp16' * run[2]}-{case.name}")
        for run in RUNS
        for case in CASES[run[0]]
    ],
)
def test_operator(computed: Any, group: str, target: str, half: bool, case: Case) -> None:
    got, wanted = computed(group, target, half)[case.name], case.expected(half=half)
    assert len(got) == len(wanted)
    for one, other in zip(got, wanted, strict=True):
        same(one, other, case, half=half)
