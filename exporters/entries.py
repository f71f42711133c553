"""The entry points of one artifact, as captured and as prepared for a target.

The parent process saves the captured program once; every converter process reads it, cuts the
heads out of it and prepares all of them for its own format.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import fx

from exporters.capture import flat_graph, input_specs, narrowed
from exporters.dynamic import dimensions, prepare_sized, resized, sizes_to_try
from exporters.prepare import Prepared, prepare
from exporters.splitting import head_at
from headtail.manifest import FORWARD, SizeRange
from headtail.strictjson import from_json

__all__ = ["RANGES", "EntryPoints"]

RANGES = "ranges.json"  # beside the program, in its own file


@dataclass(frozen=True)
class EntryPoints:
    """Flat graphs by entry point over the same weights; `example` is a real input, batch 1."""

    graphs: Mapping[str, fx.GraphModule]
    example: tuple[torch.Tensor, ...]
    ranges: tuple[SizeRange, ...] = ()

    @property
    def dynamic_shapes(self) -> tuple[dict[int, Any], ...] | None:
        """What `torch.export` is told when a graph is exported again; None for fixed sizes."""
        return dimensions(self.ranges, self._names)

    @property
    def _names(self) -> list[str]:
        return [spec.name for spec in input_specs(self.graphs[FORWARD])]

    @classmethod
    def read(cls, program: Path, heads: Mapping[str, Sequence[str]]) -> EntryPoints:
        """Read a saved program; `heads` maps entry point -> names of the values it returns."""
        extra = {RANGES: ""}
        exported = torch.export.load(program, extra_files=extra)
        given, _ = exported.example_inputs
        example = tuple(torch.from_numpy(narrowed(value.numpy())) for value in given)
        graph = flat_graph(exported)
        made = {name: head_at(graph, values) for name, values in heads.items()}
        ranges = tuple(from_json(SizeRange, found) for found in json.loads(extra[RANGES] or "[]"))
        return cls({FORWARD: graph, **made}, example, ranges)

    def prepared(self, target: str) -> tuple[EntryPoints, Prepared]:
        """All entry points rewritten for `target`, and what was done to `forward`."""
        made = {name: self._prepare(graph, target) for name, graph in self.graphs.items()}
        graphs = {name: prepared.graph for name, prepared in made.items()}
        return EntryPoints(graphs, self.example, self.ranges), made[FORWARD]

    def _prepare(self, graph: fx.GraphModule, target: str) -> Prepared:
        if not self.ranges:
            return prepare(graph, self.example, target)
        others = [resized(self.example, self._names, s) for s in sizes_to_try(self.ranges)]
        return prepare_sized(graph, [self.example, *others], target)
