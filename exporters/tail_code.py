"""A segment of a tail as code for this machine: an ExecuTorch file, or a native library.

Both take any batch up to a bound, are written once, and hold the segment's weights. They are code:
whoever loads one executes it, so a file from somebody else is never loaded.

    executorch   `.pte` with the XNNPACK delegate, for any CPU of the architecture
    inductor     `.so` by AOTInductor and the machine's C++ compiler, for CPUs like this one

https://docs.pytorch.org/executorch/stable/using-executorch-export.html
https://docs.pytorch.org/docs/stable/user_guide/torch_compiler/torch.compiler_aot_inductor.html
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from exporters.lean import lean

__all__ = ["write_executorch", "write_library"]


def write_executorch(
    module: torch.nn.Module, example: Sequence[torch.Tensor], path: Path, *, most: int
) -> None:
    """Lower `module` to a `.pte` with one method, `forward`, for batches of 1 to `most`.

    With a convolution in it, it takes 15 at most (executorch 1.5.1); the method's metadata says so.
    `example` are values of two samples, of one sample if `most` is 1. Whatever torch and ExecuTorch
    raise for a module they cannot take goes through.
    """
    from executorch.exir import ExecutorchBackendConfig, to_edge_transform_and_lower
    from executorch.exir.passes import MemoryPlanningPass

    from quantizers.pt2e_backend import partitioner

    with lean([part for part in module.modules() if isinstance(part, torch.fx.GraphModule)]):
        captured = _captured(module, example, bound=most)
        lowered = to_edge_transform_and_lower(captured, partitioner=[partitioner()])
        # Inputs are read where they lie, instead of being copied to memory planned for them; but
        # executorch 1.5.1 then forgets one that is an output too.
        said = captured.graph_signature
        planning = MemoryPlanningPass(
            alloc_graph_input=bool(set(said.user_inputs) & set(said.user_outputs))
        )
        program = lowered.to_executorch(ExecutorchBackendConfig(memory_planning_pass=planning))
    with path.open("wb") as file:
        program.write_to_file(file)


def write_library(
    module: torch.nn.Module, example: Sequence[torch.Tensor], path: Path, *, most: int
) -> None:
    """Compile `module` to a shared library at `path`, weights folded into the kernels' layouts.

    Arguments and errors as in `write_executorch`; needs a C++ compiler.
    """
    import torch._inductor.config as settings

    captured = _captured(module, example, bound=most)
    options = {"aot_inductor.output_path": str(path), "freezing": True}
    with settings.patch(freezing=True), torch.no_grad():
        torch._inductor.aot_compile(
            captured.module(check_guards=False), tuple(example), options=options
        )


def _captured(module: torch.nn.Module, example: Sequence[torch.Tensor], *, bound: int) -> Any:
    batch = torch.export.Dim("batch", min=1, max=bound) if bound > 1 else None
    shapes = tuple({0: batch} for _ in example) if batch is not None else None
    with torch.no_grad():
        return torch.export.export(module, tuple(example), dynamic_shapes=shapes)
