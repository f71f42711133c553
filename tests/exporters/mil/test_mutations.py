"""Does the fp32 gate notice a wrong program? Every single-operator fault of five nets.

What is honest to expect: structural faults are noticed at 85 dB, unless the input never reaches
them. A larger epsilon and an approximated GELU change the function by less than the gate can be
sure of; they must be looked for by comparing attributes or with `watch`, operator by operator.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch

from exporters.mil import Program
from headtail.errors import IntegrityFault

from .mutations import FAULTS, Faults
from .nets import NETS, build, photos
from .test_models import FP32_GATE_DB, worst_snr

pytestmark = pytest.mark.slow  # runs the real converter

REFUSED_DB = -999.0  # the interpreter refused the program: noticed
UNREACHED = {  # no activation of this net exceeds 5.5 on this photo
    ("segmenter", "clip maximum 0.5 lower"): 2,
}
UNCERTAIN = {
    "batch_norm epsilon x 100",
    "layer_norm epsilon x 100",
    "gelu approximated by tanh",
}


Figures = dict[tuple[str, str], list[float]]


@pytest.fixture(scope="module")
def figures(small_net: Any, tmp_path_factory: pytest.TempPathFactory) -> Figures:
    """(net, kind of fault) -> dB of every mutant."""
    found: Figures = defaultdict(list)
    for name in NETS:
        net, image = build(name), photos()[:1]
        with torch.no_grad():
            wanted = net(image)
        # iOS17 has no attention operator: softmax and its axis are in the program.
        package = small_net(name, "FLOAT32", "iOS17")
        for kind, mutant in Faults(package, tmp_path_factory.mktemp(name)):
            found[name, kind].append(measure(mutant, image, wanted))
    return found


def measure(mutant: Path, image: torch.Tensor, wanted: Any) -> float:
    try:
        return worst_snr(wanted, Program(mutant).function("main").run([image]))
    except IntegrityFault:
        return REFUSED_DB


def caught(values: list[float]) -> int:
    return sum(value < FP32_GATE_DB for value in values)


def test_structural_faults_are_caught(figures: Figures) -> None:
    for kind in FAULTS:
        values = [v for (_, k), found in figures.items() if k == kind for v in found]
        assert values, f"{kind} was never tried"
        print(
            f"{kind:34} n {len(values):3}  median {median(values):6.1f} dB  caught {caught(values)}"
        )
    missed = {
        key: len(values) - caught(values)
        for key, values in figures.items()
        if key[1] not in UNCERTAIN and caught(values) < len(values)
    }
    assert missed == UNREACHED


def test_what_the_gate_cannot_promise_is_counted(figures: Figures) -> None:
    """Some of these fall through; were they all caught, the docstring would be wrong."""
    values = [v for (_, kind), found in figures.items() if kind in UNCERTAIN for v in found]
    assert 0 < caught(values) < len(values)
