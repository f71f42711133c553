"""Small networks through the back-end, executorch's lowering and its runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from quantizers.plan import Plan
from quantizers.pt2e_backend import partitioner, quantize_entries


def quantized(net, plan: Plan, samples: Sequence[Sequence[np.ndarray]]):
    """The quantized program of a module in eval mode."""
    example = tuple(torch.from_numpy(array) for array in samples[0])
    program = torch.export.export(net.eval(), example)
    return quantize_entries({"forward": program}, plan, samples)["forward"]


def written(program, path: Path, *, by=None) -> Path:
    """The program as a `.pte`, lowered by our partitioner or another."""
    from executorch.exir import to_edge_transform_and_lower

    lowered = to_edge_transform_and_lower(program, partitioner=[by or partitioner()])
    path.write_bytes(lowered.to_executorch().buffer)
    return path


def run_file(path: Path, array: np.ndarray) -> np.ndarray:
    """First output of `forward`, computed by the ExecuTorch runtime."""
    from executorch.runtime import Runtime

    program = Runtime.get().load_program(str(path))
    output: np.ndarray = (
        program.load_method("forward").execute([torch.from_numpy(array)])[0].numpy()
    )
    return output


def run_program(program, array: np.ndarray) -> np.ndarray:
    """First output of the quantized program, computed by PyTorch."""
    with torch.no_grad():
        result = program.module()(torch.from_numpy(array))
    output: np.ndarray = (result[0] if isinstance(result, tuple) else result).numpy()
    return output


def levels_of(program) -> list[tuple[float, int]]:
    """(scale, zero point) of every static activation, in the graph's order."""
    return [
        (node.args[1], node.args[2])
        for node in program.graph.nodes
        if str(node.target) == "quantized_decomposed.quantize_per_tensor.default"
    ]
