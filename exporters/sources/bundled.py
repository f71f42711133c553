"""A bundle's own program as a source: what was exported can be quantized again without its script.

The tail holds the whole float32 program, and the golden vectors hold real inputs.
"""

from __future__ import annotations

import torch

from exporters.graphfile import TailProgram
from exporters.sources.model import SourceModel, from_module
from exporters.verification import golden_inputs
from headtail.bundle import Bundle
from headtail.errors import UsageFault

__all__ = ["from_bundle"]


def from_bundle(bundle: Bundle) -> SourceModel:
    """The program of a bundle, judged on its golden inputs; nothing calibrates it yet.

    Raises `UsageFault` for a bundle without a tail.
    """
    manifest = bundle.manifest
    if not manifest.tails:
        raise UsageFault(
            f"{bundle.path} holds no program.",
            expected="A bundle with cuts has the whole network as its tail.",
            remedy="Quantize the source itself, or export it without --no-split.",
        )
    held = manifest.tails[0]
    program = TailProgram.read(bundle.file(held.program), bundle.file(held.weights))
    inputs = golden_inputs(bundle)
    golden = bundle.golden()
    frames = [golden[name] for i in range(len(inputs)) if (name := f"frame.{i}") in golden]
    example = tuple(torch.from_numpy(array.copy()) for array in inputs[0])
    return from_module(
        program.enter(program.input_names),
        example,
        name=manifest.name,
        labels=manifest.labels,
        preprocess=manifest.preprocess,
        evaluation=frames or [tuple(sample) for sample in inputs],
        origin=manifest.source,
        judged_on=f"golden inputs of {manifest.name}, of {manifest.evaluation.source}",
    )
