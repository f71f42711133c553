"""What Core ML's converter gets wrong in single operators, and that the exact forms arrive.

Every row was found by converting the operator alone and computing the file with the interpreter.
`silent` rows are written without a word and are something else; `refused` rows raise.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody reads at once
from torch import Tensor, nn

from exporters.capture import flat_graph
from exporters.mil import Program
from exporters.prepare import prepare
from headtail.metrics import snr_db

from .conftest import quiet

SILENT_DB = 85.0  # the gate of fp32 packages: below it a file is wrong
EXACT_DB = 120.0

GROUPS = 4  # of rows that are converted together
SPELLED = {"and of masks", "xor of masks"}

Case = tuple[Callable[..., Any], tuple[Tensor, ...]]


class Calls(nn.Module):
    """A function as a module; layers that it closes over are not captured as parameters."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


def _normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7))


def _norm(norm: nn.Module) -> nn.Module:
    for number, tensor in enumerate([*norm.parameters(), *norm.buffers()]):
        if tensor.is_floating_point():
            tensor.data = _normal(*tensor.shape).abs() + 0.1 * (number + 1)
    return norm.eval()


IMAGE, SEQUENCE = _normal(1, 4, 9, 11), _normal(2, 6, 8)
SMALL = _normal(2, 5).abs() * 1e-2 + 1e-5
WIDE = _normal(1, 8, 6, 6)
QUERY = _normal(1, 4, 5, 8)
KEY, VALUE = _normal(2, 1, 2, 5, 8)

SILENT: dict[str, Case] = {
    "gelu tanh": (lambda x: F.gelu(x, approximate="tanh"), (SEQUENCE * 2,)),
    "reciprocal": (torch.reciprocal, (SMALL,)),
    "number by tensor": (lambda x: 0.3 / x, (SMALL,)),
    "log_softmax": (lambda x: F.log_softmax(x, 1), (SEQUENCE * 30,)),
    "rms_norm": (_norm(nn.RMSNorm(8, eps=1e-3)), (SEQUENCE,)),
    "instance_norm with statistics": (
        _norm(nn.InstanceNorm2d(4, affine=True, track_running_stats=True)),
        (IMAGE,),
    ),
    "add alpha": (lambda x: torch.add(x, x.flip(0), alpha=0.3), (SEQUENCE,)),
    "sub alpha": (lambda x: torch.sub(x, x.flip(0), alpha=2.0), (SEQUENCE,)),
    "elu scale": (lambda x: torch.ops.aten.elu(x, 0.7, 1.3, 0.5), (SEQUENCE,)),
    "softplus threshold": (lambda x: F.softplus(x, 1, 2), (SEQUENCE * 3,)),
    "var of everything": (lambda x: x.var(), (SEQUENCE,)),
    "bilinear antialias": (
        lambda x: F.interpolate(x, (5, 4), mode="bilinear", antialias=True),
        (IMAGE,),
    ),
    "nearest by factor": (lambda x: F.interpolate(x, scale_factor=1.7), (IMAGE,)),
}
REFUSED: dict[str, Case] = {
    "rms_norm without epsilon": (nn.RMSNorm(8).eval(), (SEQUENCE * 1e-3,)),
    "bilinear by factor": (
        lambda x: F.interpolate(x, scale_factor=1.7, mode="bilinear"),
        (IMAGE,),
    ),
    "bicubic": (lambda x: F.interpolate(x, (17, 20), mode="bicubic"), (IMAGE,)),
    "bicubic corners": (
        lambda x: F.interpolate(x, (17, 20), mode="bicubic", align_corners=True),
        (IMAGE,),
    ),
    "bicubic antialias": (
        lambda x: F.interpolate(x, (5, 4), mode="bicubic", antialias=True),
        (IMAGE,),
    ),
    "nearest-exact": (lambda x: F.interpolate(x, (13, 20), mode="nearest-exact"), (IMAGE,)),
    "circular": (lambda x: F.pad(x, (1, 2, 2, 1), mode="circular"), (IMAGE,)),
    "negative pad": (lambda x: F.pad(x, (-1, 2, 2, -1)), (IMAGE,)),
    "divisor": (lambda x: F.avg_pool2d(x, 3, 2, 1, divisor_override=4), (IMAGE,)),
    "rsub alpha": (lambda x: torch.rsub(x, 1.0, alpha=2.0), (SEQUENCE,)),
    "addmm": (lambda x: torch.addmm(x[0], x[0, :, :6], x[1], beta=0.5, alpha=2), (SEQUENCE,)),
    "addcmul": (lambda x: torch.addcmul(x, x, x, value=0.3), (SEQUENCE,)),
    "addcdiv": (lambda x: torch.addcdiv(x, x, x, value=0.3), (SMALL,)),
    "lerp": (lambda x: torch.lerp(x, x.flip(0), 0.3), (SEQUENCE,)),
    "var_mean": (lambda x: torch.var_mean(x, -1, keepdim=True), (SEQUENCE,)),
    "celu": (lambda x: F.celu(x, 0.6), (SEQUENCE,)),
    "hardshrink": (lambda x: F.hardshrink(x, 0.4), (SEQUENCE,)),
    "log_sigmoid": (F.logsigmoid, (SEQUENCE,)),
    "trunc": (torch.trunc, (SEQUENCE * 3,)),
    "fmod": (lambda x: torch.fmod(x, 0.7), (SEQUENCE,)),
    "round to decimals": (lambda x: torch.round(x, decimals=1), (SEQUENCE,)),
    "gather of a part": (
        lambda x: x.gather(1, torch.tensor([[[0, 1, 2]], [[2, 1, 0]]])),
        (SEQUENCE,),
    ),
    "take_along_dim": (lambda x: x.take_along_dim(torch.tensor([[[0, 2]]]), 2), (SEQUENCE,)),
    "cosine": (lambda x: F.cosine_similarity(x, x.flip(1), -1), (SEQUENCE,)),
    "channel shuffle": (lambda x: F.channel_shuffle(x, 2), (WIDE,)),
    "grouped attention": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True),
        (QUERY, KEY, VALUE),
    ),
    "and of masks": (lambda x: (x > 0) & (x < 1), (SEQUENCE,)),
    "xor of masks": (lambda x: (x > 0) ^ (x > 1), (SEQUENCE,)),
}


def _module(case: Case) -> nn.Module:
    return case[0] if isinstance(case[0], nn.Module) else Calls(case[0])


def _graph(case: Case) -> torch.fx.GraphModule:
    return flat_graph(torch.export.export(_module(case), case[1]))


def _wanted(case: Case) -> tuple[Tensor, ...]:
    with torch.no_grad():
        wanted = case[0](*case[1])
    return wanted if isinstance(wanted, tuple) else (wanted,)


def _snr(wanted: tuple[Tensor, ...], given: list[Tensor] | tuple[Tensor, ...]) -> float:
    assert len(wanted) == len(given)
    return min(
        snr_db(reference=w.reshape(g.shape).double().numpy(), candidate=g.double().numpy())
        for w, g in zip(wanted, given, strict=True)
    )


class Together(nn.Module):
    """Many cases as one program: converting them one by one takes minutes."""

    def __init__(self, cases: Sequence[Case]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(_module(case) for case in cases)
        self.counts = [len(inputs) for _, inputs in cases]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        results: list[Tensor] = []
        for part, count in zip(self.parts, self.counts, strict=True):
            result = part(*inputs[:count])
            results += result if isinstance(result, tuple) else (result,)
            inputs = inputs[count:]
        return tuple(results)


def _converted(
    cases: Mapping[str, Case], convert: Callable[..., Path], *, prepared: bool
) -> dict[str, float]:
    """Case -> dB of its results as computed by the file that holds them all."""
    inputs = tuple(tensor.clone() for _, given in cases.values() for tensor in given)
    program: Any = Together(list(cases.values())).eval()
    if prepared:
        program = prepare(_graph((program, inputs)), inputs, "coreml").graph
    given = Program(convert(program, inputs, "forms")).function("main").run(list(inputs))
    found = {}
    for name, case in cases.items():
        wanted = _wanted(case)
        found[name] = _snr(wanted, given[: len(wanted)])
        given = given[len(wanted) :]
    return found


@pytest.mark.parametrize("name", [*SILENT, *REFUSED])
def test_forms_equal_what_they_replace(name: str) -> None:
    case = (SILENT | REFUSED)[name]
    prepared = prepare(_graph(case), case[1], "coreml")
    assert not prepared.undone
    applied = {rewrite.name for rewrite in prepared.applied}
    # `&` and `^` of masks are spelled out by whoever comes first: the capture or the preparation.
    assert {"exact_forms", "exact_resize"} & applied or name in SPELLED
    with torch.no_grad():
        assert _snr(_wanted(case), prepared.graph(*case[1])) >= EXACT_DB


@pytest.mark.parametrize(
    "case",
    [
        (F.gelu, (SEQUENCE,)),
        (lambda x: x + x.flip(0), (SEQUENCE,)),
        (lambda x: F.interpolate(x, scale_factor=2.0), (IMAGE,)),
        (lambda x: F.interpolate(x, (17, 20), mode="bilinear"), (IMAGE,)),
        (lambda x: F.pad(x, (1, 2, 2, 1), mode="reflect"), (IMAGE,)),
        (lambda x: x.var(-1), (SEQUENCE,)),
        (F.softplus, (SEQUENCE,)),
    ],
)
def test_what_arrives_is_left_alone(case: Case) -> None:
    assert not prepare(_graph(case), case[1], "coreml").applied


@pytest.mark.slow  # runs the real converter
@pytest.mark.parametrize("first", range(GROUPS))
def test_forms_arrive_in_the_file(first: int, convert: Callable[..., Path]) -> None:
    every = list((SILENT | REFUSED).items())
    found = _converted(dict(every[first::GROUPS]), convert, prepared=True)
    assert {name: db for name, db in found.items() if db < EXACT_DB} == {}


@pytest.mark.slow  # runs the real converter
def test_coremltools_is_still_wrong(convert: Callable[..., Path]) -> None:
    """A row that fails here is no longer needed: take its form out."""
    found = _converted(SILENT, convert, prepared=False)
    assert {name: db for name, db in found.items() if db >= SILENT_DB} == {}


@pytest.mark.slow  # runs the real converter
@pytest.mark.parametrize("name", REFUSED)
def test_coremltools_still_refuses(name: str, convert: Callable[..., Path]) -> None:
    """A row that fails here is no longer needed: take its form out."""
    with quiet():  # where it raises, coremltools leaves a temporary folder to the collector
        refused = _refuses(REFUSED[name], convert)
        gc.collect()
    assert refused


def _refuses(case: Case, convert: Callable[..., Path]) -> bool:
    try:
        convert(_module(case), case[1], "refused")
    except (AssertionError, NotImplementedError, ValueError):  # its own asserts, too
        return True
    return False
