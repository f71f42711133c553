"""Which rewrites a target gets, in the order in which they are applied.

Naming a rewrite imports nothing. `targets` says for each target why the rewrite is there: what it
makes possible, or what it was measured to gain (benchmarks/zoo.py measures them again).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import fx

__all__ = ["REWRITES", "Rewrite", "rewrites_for"]


@dataclass(frozen=True)
class Rewrite:
    """One rewrite: its name is the module `exporters.prepare.<name>`, its reasons are by target."""

    name: str
    targets: Mapping[str, str]

    def function(self) -> Callable[[fx.GraphModule], int]:
        """`rewrite(graph)`: changes the graph in place, returns the number of places changed."""
        module = importlib.import_module(f"exporters.prepare.{self.name}")
        found: Callable[[fx.GraphModule], int] = module.rewrite
        return found


REWRITES: tuple[Rewrite, ...] = (
    Rewrite(
        "drop_no_ops",
        {
            "litert": "fewer reshapes to optimise away",
            "executorch": "a clone or alias between two operators splits a delegate",
            "coreml": "coremltools does not know alias (swin, ghostnetv2)",
        },
    ),
)


def rewrites_for(target: str) -> tuple[Rewrite, ...]:
    """The rewrites that `target` takes, in order."""
    return tuple(rewrite for rewrite in REWRITES if target in rewrite.targets)
