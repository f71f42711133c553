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

__all__ = ["MASK", "measured_ranges"]

MASK = -1e4  # half precision's usual stand-in for -inf; no activation of a trained network is there


def measured_ranges(
    graph: fx.GraphModule, samples: Sequence[Sequence[Array]], *, method: str = "mse", bits: int = 8
) -> dict[str, Range]:
    """Value -> range, for the values of `placement.integer_values`, by an estimator of
    `quantizers.ranges`. Each of `samples` is one array per input.

    Values that hold a mask (attention scores with -inf, or with a number that stands for it) get
    none and stay float: a range that reaches the mask has no steps left for the scores, and one
    that does not lets the masked through.
    """
    import torch
    from torch import fx

    seen = {name: Histogram() for name in integer_values(graph)}
    masked: set[str] = set()

    class Observer(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            result = super().run_node(n)
            if n.name in seen:
                seen[n.name].add(result.numpy())
                if float(result.min()) <= MASK:
                    masked.add(n.name)
            return result

    with torch.inference_mode():
        for sample in samples:
            # copies: an array read from a file is read-only, which torch warns about
            Observer(graph).run(*(torch.tensor(array) for array in sample))
    return {n: estimate(one, method, bits=bits) for n, one in seen.items() if n not in masked}
