"""A quantized program run with its activations left as they are.

What a rewrite of the float operators between the integers does to a program is in the last bits of
float32, which rounding to integers turns into whole steps here and there. Without the rounding of
activations the two can be held against each other; weights are those of the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from headtail.tensors import Array

if TYPE_CHECKING:
    from torch import Tensor, fx

__all__ = ["run_unrounded"]

_NAMESPACE = "quantized_decomposed"


def run_unrounded(graph: fx.GraphModule, example: Sequence[Tensor]) -> list[Array]:
    """Outputs of a flat graph in PT2E's representation for one input, activations in float32."""
    import torch
    from torch import fx

    class Unrounded(fx.Interpreter):
        def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
            if getattr(target, "namespace", "") != _NAMESPACE or args[0].dtype != torch.float32:
                return super().call_function(target, args, kwargs)  # integers: a constant's
            asks_range = "choose_qparams" in str(target)
            return (None, None) if asks_range else args[0]

    with torch.inference_mode():
        return [output.numpy() for output in Unrounded(graph).run(*example)]
