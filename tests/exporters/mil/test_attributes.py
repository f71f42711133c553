"""Epsilons and kinds of GELU of a package against the captured PyTorch program."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from exporters.capture import flat_graph
from exporters.mil.attributes import check_attributes
from headtail.errors import GateFailed

from .handmade import Code, Op, write_package


def graph(epsilon: float, approximate: str = "none") -> torch.fx.GraphModule:
    net = nn.Sequential(nn.LayerNorm(4, eps=epsilon), nn.GELU(approximate)).eval()
    return flat_graph(torch.export.export(net, (torch.ones(2, 4),)))


def package(path: Path, epsilon: float, mode: str) -> Path:
    norm = {"x": "x", "axes": "axes", "epsilon": "epsilon"}
    code = Code(
        inputs=[("x", "fp32", [2, 4])],
        outputs=["y"],
        constants={"axes": torch.tensor([-1]).numpy(), "epsilon": epsilon, "mode": mode},
        ops=[
            Op("layer_norm", norm, [("h", "fp32", [2, 4])]),
            Op("gelu", {"x": "h", "mode": "mode"}, [("y", "fp32", [2, 4])]),
        ],
    )
    return write_package(path / "net.mlpackage", main=code)


def test_what_the_program_has_is_accepted(tmp_path: Path) -> None:
    check_attributes(package(tmp_path, 1e-6, "EXACT"), graph(1e-6))


def test_an_approximation_that_the_program_has_is_accepted(tmp_path: Path) -> None:
    check_attributes(package(tmp_path, 1e-5, "TANH_APPROXIMATION"), graph(1e-5, "tanh"))


@pytest.mark.parametrize(
    ("epsilon", "mode", "named"),
    [
        (1e-5, "EXACT", "layer_norm 'h' epsilon 1e-05"),  # the default, and not what was given
        (1e-4, "EXACT", "layer_norm 'h' epsilon 0.0001"),
        (1e-6, "TANH_APPROXIMATION", "gelu 'y' mode TANH_APPROXIMATION"),
        (1e-6, "SIGMOID_APPROXIMATION", "gelu 'y' mode SIGMOID_APPROXIMATION"),
    ],
)
def test_what_it_has_not_is_named(tmp_path: Path, epsilon: float, mode: str, named: str) -> None:
    with pytest.raises(GateFailed, match=named):
        check_attributes(package(tmp_path, epsilon, mode), graph(1e-6))
