"""The entry points of one artifact, as captured and as prepared for a target.

The parent process saves the captured program once; every converter process reads it, cuts the
heads out of it and prepares all of them for its own format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import fx

from exporters.capture import flat_graph, narrowed
from exporters.prepare import Prepared, prepare
from exporters.splitting import head_at
from headtail.manifest import FORWARD

__all__ = ["EntryPoints"]


@dataclass(frozen=True)
class EntryPoints:
    """Flat graphs by entry point over the same weights; `example` is a real input, batch 1."""

    graphs: Mapping[str, fx.GraphModule]
    example: tuple[torch.Tensor, ...]

    @classmethod
    def read(cls, program: Path, heads: Mapping[str, Sequence[str]]) -> EntryPoints:
        """Read a saved program; `heads` maps entry point -> names of the values it returns."""
        exported = torch.export.load(program)
        given, _ = exported.example_inputs
        example = tuple(torch.from_numpy(narrowed(value.numpy())) for value in given)
        graph = flat_graph(exported)
        made = {name: head_at(graph, values) for name, values in heads.items()}
        return cls({FORWARD: graph, **made}, example)

    def prepared(self, target: str) -> tuple[EntryPoints, Prepared]:
        """All entry points rewritten for `target`, and what was done to `forward`."""
        made = {name: prepare(g, self.example, target) for name, g in self.graphs.items()}
        graphs = {name: prepared.graph for name, prepared in made.items()}
        return EntryPoints(graphs, self.example), made[FORWARD]
