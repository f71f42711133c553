"""Multiply-accumulates of each call of a flat graph, counted on its traced shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["macs_by_call"]


def macs_by_call(graph: fx.GraphModule, example: Sequence[torch.Tensor]) -> dict[str, int]:
    """Name of a call -> its multiply-accumulates (half of PyTorch's count of operations)."""
    mode = FlopCounterMode(display=False)
    counter = _Counter(graph, mode)
    with mode, torch.no_grad():
        counter.run(*example)
    return counter.macs


class _Counter(fx.Interpreter):
    def __init__(self, graph: fx.GraphModule, mode: FlopCounterMode) -> None:
        super().__init__(graph)
        self._mode = mode
        self.macs: dict[str, int] = {}

    def run_node(self, n: fx.Node) -> Any:
        before = self._mode.get_total_flops()
        result = super().run_node(n)
        self.macs[n.name] = (self._mode.get_total_flops() - before) // 2
        return result
