"""Core ML: one ML program with a function per entry point, weights shared by content.

https://apple.github.io/coremltools/docs-guides/source/multifunction-models.html (iOS 18). Each
entry point is converted alone, compressed if asked, then merged; coremltools stores equal weights
once. `Manifest.json` gets random identifiers from coremltools and the program's maps are written in
hash order; both are settled afterwards (the program by `quantizers.coreml_file`, which also writes
equal small constants once), so that equal inputs give equal bytes.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from exporters.entries import EntryPoints
from exporters.lean import lean
from exporters.metadata.coreml import describe
from exporters.target import Job
from headtail.errors import ConversionFailed
from headtail.manifest import FORWARD
from headtail.tensors import TensorSpec

if TYPE_CHECKING:
    from torch import fx

    from quantizers.plan import Plan

__all__ = ["write"]

# What an MLMultiArray holds; coremltools makes float32 of bool and fails on uint8 with a KeyError.
_DTYPES = ("f32", "f16", "i32")


def write(job: Job) -> None:
    """Convert `job.entries` to one `.mlpackage` of the asked precision at `job.destination`."""
    import coremltools as ct

    from exporters.capture import output_specs
    from quantizers import coreml_file

    _check(job.inputs, "takes no input")
    for graph in job.captured.graphs.values():
        _check(output_specs(graph), "gives no output")
    described = ct.utils.MultiFunctionDescriptor()
    singles = {n: job.scratch / f"{job.precision}.{n}.mlpackage" for n in job.entries.graphs}
    with lean(job.entries.graphs.values()):
        for name, single in singles.items():
            _converted(job.entries, name, job.plan).save(str(single))
            described.add_function(str(single), "main", name)
    described.default_function_name = FORWARD
    ct.utils.save_multifunction(described, str(job.destination))
    _settle_identifiers(job.destination)
    coreml_file.compact(job.destination)
    for single in singles.values():
        shutil.rmtree(single)
    if job.metadata is not None:
        describe(job.destination, job.metadata)


def _converted(entries: EntryPoints, name: str, plan: Plan) -> Any:
    import coremltools as ct

    from quantizers import coreml_backend
    from quantizers.placement import carried
    from quantizers.static_graph import part_of, with_ranges

    graph = entries.graphs[name]
    part, asked = part_of(plan, graph, whole=name == FORWARD), plan.recipe
    half = asked.weights == "f16" or asked.activations == "f16"
    if part.ranges:
        graph = with_ranges(graph, carried(graph, part.ranges))
    model = ct.convert(
        _program(graph, entries),
        convert_to="mlprogram",
        minimum_deployment_target=ct.target.iOS18,
        compute_precision=ct.precision.FLOAT16 if half else ct.precision.FLOAT32,
        pass_pipeline=coreml_backend.pass_pipeline() if part.grids or part.ranges else None,
        skip_model_load=True,
    )
    return coreml_backend.quantize_model(model, part)


def _program(graph: fx.GraphModule, entries: EntryPoints) -> torch.export.ExportedProgram:
    with torch.no_grad():
        program = torch.export.export(graph, entries.example, dynamic_shapes=entries.dynamic_shapes)
        functional: torch.export.ExportedProgram = program.run_decompositions({})
        return functional


def _check(specs: Sequence[TensorSpec], what: str) -> None:
    for spec in specs:
        if spec.dtype not in _DTYPES:
            raise ConversionFailed(
                f"Core ML {what} like {spec}.",
                expected=f"Inputs and outputs of Core ML models are {', '.join(_DTYPES)}.",
                remedy="Convert it inside the model, or leave Core ML out.",
            )


def _settle_identifiers(package: Path) -> None:
    manifest = package / "Manifest.json"
    content = json.loads(manifest.read_text())
    renamed = {
        old: str(uuid.uuid5(uuid.NAMESPACE_URL, item["path"])).upper()
        for old, item in content["itemInfoEntries"].items()
    }
    content["itemInfoEntries"] = {
        renamed[old]: item for old, item in sorted(content["itemInfoEntries"].items())
    }
    content["rootModelIdentifier"] = renamed[content["rootModelIdentifier"]]
    manifest.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
