"""ExecuTorch with the XNNPACK delegate: one `.pte` with a method per entry point.

https://docs.pytorch.org/executorch/stable/using-executorch-export.html. Quantized programs come
from PT2E before lowering; see `quantizers.pt2e_backend`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from exporters.lean import lean
from exporters.metadata.executorch import constant_methods
from exporters.target import Job
from headtail.manifest import FORWARD, Coverage

if TYPE_CHECKING:
    import torch
    from torch import fx

    from exporters.entries import EntryPoints

__all__ = ["write"]


def write(job: Job) -> Coverage | None:
    """Lower `job.entries` to one `.pte` of the asked precision at `job.destination`.

    Returns what of `forward` XNNPACK takes; None if it takes several sizes.
    """
    from executorch.exir import to_edge_transform_and_lower

    from exporters.coverage import coverage
    from quantizers import pt2e_backend

    said = constant_methods(job.metadata) if job.metadata is not None else None
    with lean(job.entries.graphs.values()):
        if job.precision == "fp32":
            programs = _programs(job.entries)
        else:
            from exporters.exchange import read_samples

            needed = job.plan.recipe.needs_calibration
            samples = read_samples(job.calibration, job.inputs) if needed else []
            # as captured: the rewrites spell operators out that are to be quantized as one
            captured = _programs(job.captured)
            programs = dict(
                pt2e_backend.quantize_entries(
                    captured, job.plan, samples, rewrite=partial(_prepared, job.captured)
                )
            )
        lowered = to_edge_transform_and_lower(
            programs, partitioner=[pt2e_backend.partitioner()], constant_methods=said
        )
        # asking a dynamic size for its number would fix it in the file
        fixed = not job.entries.ranges
        taken = coverage(lowered.exported_program(FORWARD), "XNNPACK") if fixed else None
        program = lowered.to_executorch()
    with job.destination.open("wb") as file:
        program.write_to_file(file)
    return taken


def _prepared(captured: EntryPoints, quantized: fx.GraphModule) -> fx.GraphModule:
    """What stayed float as XNNPACK takes it; layers read integers, which rewrites leave alone."""
    from exporters.prepare import prepare
    from quantizers.pt2e_unrounded import run_unrounded

    if captured.ranges:  # rewrites would fix the sizes
        return quantized
    return prepare(quantized, captured.example, "executorch", run=run_unrounded).graph


def _programs(entries: EntryPoints) -> dict[str, torch.export.ExportedProgram]:
    import torch

    with torch.no_grad():
        return {
            name: torch.export.export(graph, entries.example, dynamic_shapes=entries.dynamic_shapes)
            for name, graph in entries.graphs.items()
        }
