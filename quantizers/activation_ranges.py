"""Ranges of a graph's integer values, measured on real inputs in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from headtail.tensors import Array
from quantizers.placement import integer_values
from quantizers.plan import Range
from quantizers.ranges import Histogram, estimate

if TYPE_CHECKING:
    from torch import fx

__all__ = ["measured_ranges"]


def measured_ranges(
    graph: fx.GraphModule, samples: Sequence[Sequence[Array]], *, method: str = "mse", bits: int = 8
) -> dict[str, Range]:
    """Value -> range, for the values of `placement.integer_values`, by an estimator of
    `quantizers.ranges`. Each of `samples` is one array per input."""
    import torch
    from torch import fx

    seen = {name: Histogram() for name in integer_values(graph)}

    class Observer(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            result = super().run_node(n)
            if n.name in seen:
                seen[n.name].add(result.numpy())
            return result

    with torch.inference_mode():
        for sample in samples:
            # copies: an array read from a file is read-only, which torch warns about
            Observer(graph).run(*(torch.tensor(array) for array in sample))
    return {name: estimate(one, method, bits=bits) for name, one in seen.items()}
