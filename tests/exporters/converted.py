"""Artifacts made by the real converters, in this process, once per test session."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import fx, nn

from exporters.capture import capture, flat_graph, input_specs, output_specs
from exporters.entries import EntryPoints
from exporters.runtimes import runtime_for
from exporters.splitting import cut_points, find_cut, head_graph
from exporters.target import Job, target
from headtail.runtimes import Session
from headtail.tensors import Array, TensorSpec
from quantizers.plan import Plan
from quantizers.recipe import recipe
from tests.exporters.awkward import AWKWARD, IMAGE
from tests.exporters.nets import TwoOutputs, settle


class Ordered(nn.Module):
    """Arguments and results whose order is neither the alphabet's nor interchangeable.

    The input `alpha` is used after the cut at `conv`, so it crosses it.
    """

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2)
        self.small = nn.Linear(6, 4)
        self.zoom = nn.Linear(4, 3)

    def forward(self, zeta, alpha, middle):
        u = self.conv(zeta).relu().mean((2, 3))
        v = torch.tanh(self.small(alpha) - 2 * middle)
        return self.zoom(u - v), v * 3 + u, u


class Heavy(nn.Module):
    """Nearly all bytes are weights, most of them before the cut."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(128, 512), nn.ReLU(), nn.Linear(512, 128), nn.ReLU())
        self.second = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, x):
        return self.second(self.first(x))


def _random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(shape[-1]))


# name -> (model and example, cuts)
NETS: dict[str, tuple[Callable[[], tuple[nn.Module, tuple[torch.Tensor, ...]]], tuple[str, ...]]]
NETS = {
    "Ordered": (
        lambda: (settle(Ordered()), (IMAGE, _random(1, 6), _random(1, 4))),
        ("conv", "mean"),
    ),
    "Heavy": (lambda: (settle(Heavy()), (_random(1, 128),)), ("first",)),
    "TwoOutputs": (lambda: (settle(TwoOutputs()), (IMAGE,)), ("encode", "deeper")),
    "Tokens": (AWKWARD["Tokens"], ("tanh",)),
    "Listed": (AWKWARD["Listed"], ("conv",)),
    "Parts": (AWKWARD["Parts"], ("conv",)),
    "HalfInput": (AWKWARD["HalfInput"], ("conv",)),
}


@dataclass(frozen=True)
class Converted:
    """One artifact and what PyTorch says of the same entry points."""

    format: str
    path: Path
    entries: dict[str, tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]]
    graphs: dict[str, fx.GraphModule]
    example: tuple[torch.Tensor, ...]

    @property
    def inputs(self) -> list[Array]:
        return [value.numpy() for value in self.example]

    def expected(self, entry: str) -> list[Array]:
        with torch.no_grad():
            return [value.numpy() for value in self.graphs[entry](*self.example)]

    def load(self) -> Session:
        return runtime_for(self.format).load(self.path, entries=self.entries)

    @property
    def bytes(self) -> int:
        parts = [self.path] if self.path.is_file() else self.path.rglob("*")
        return sum(part.stat().st_size for part in parts if part.is_file())


_made: dict[tuple[str, str, Path], Converted] = {}


def converted(base: Path, format: str, name: str) -> Converted:  # noqa: A002  # the field's word
    """All entry points of `NETS[name]` in one fp32 file; made once for each `base`."""
    key = (format, name, base)
    if key not in _made:
        make, cuts = NETS[name]
        folder = base / f"converted-{format}-{name}"
        _made[key] = convert(*make(), format=format, cuts=cuts, folder=folder)
    return _made[key]


def convert(
    model: nn.Module,
    example: tuple[torch.Tensor, ...],
    *,
    format: str,  # noqa: A002  # the field's word
    cuts: tuple[str, ...],
    folder: Path,
) -> Converted:
    """Capture, cut and convert as the pipeline does, in this process."""
    (folder / "scratch").mkdir(parents=True)
    graph = flat_graph(capture(model, example))
    inputs = input_specs(graph)
    entries = {"forward": (inputs, output_specs(graph))}
    graphs: dict[str, fx.GraphModule] = {"forward": graph}
    for name in cuts:
        cut = find_cut(cut_points(graph, example), name)
        entry = f"head_{cut.id}"
        graphs[entry] = head_graph(graph, cut)
        entries[entry] = (inputs, cut.tensors)
    path = folder / f"net.{target(format).suffix}"
    with warnings.catch_warnings():
        # converters use what their dependencies deprecate; their own process ignores it too
        warnings.simplefilter("ignore")
        points = EntryPoints(graphs, example)
        prepared, _ = points.prepared(format)
        target(format).writer()(
            Job(Plan(recipe("fp32")), prepared, points, inputs, None, path, folder / "scratch")
        )
    return Converted(format, path, entries, graphs, example)
