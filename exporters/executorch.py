"""ExecuTorch with the XNNPACK delegate: one `.pte` with a method per entry point.

https://docs.pytorch.org/executorch/stable/using-executorch-export.html. Quantized programs come
from PT2E before lowering; see `quantizers.pt2e_backend`.
"""

from __future__ import annotations

import torch

from exporters.target import Job

__all__ = ["write"]


def write(job: Job) -> None:
    """Lower `job.programs` to one `.pte` of the asked precision at `job.destination`."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    from quantizers import pt2e_backend, recipe

    programs = {name: torch.export.load(path) for name, path in job.programs.items()}
    asked = recipe.recipe(job.precision)
    if asked.name != "fp32":
        from exporters.exchange import read_samples

        samples = read_samples(job.calibration, job.inputs)
        programs = dict(pt2e_backend.quantize_entries(programs, asked, samples))
    lowered = to_edge_transform_and_lower(programs, partitioner=[XnnpackPartitioner()])
    program = lowered.to_executorch()
    with job.destination.open("wb") as file:
        program.write_to_file(file)
