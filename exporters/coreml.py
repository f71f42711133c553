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

import torch

from exporters.entries import EntryPoints
from exporters.lean import lean
from exporters.metadata.coreml import describe
from exporters.target import Job
from headtail.errors import ConversionFailed
from headtail.manifest import FORWARD
from headtail.tensors import TensorSpec

__all__ = ["write"]

# What an MLMultiArray holds; coremltools makes float32 of bool and fails on uint8 with a KeyError.
_DTYPES = ("f32", "f16", "i32")


def write(job: Job) -> None:
    """Convert `job.entries` to one `.mlpackage` of the asked precision at `job.destination`."""
    import coremltools as ct

    from exporters.capture import output_specs
    from quantizers import coreml_backend, coreml_file, recipe

    _check(job.inputs, "takes no input")
    for graph in job.captured.graphs.values():
        _check(output_specs(graph), "gives no output")
    asked = recipe.recipe(job.precision)
    half = asked.weights == "f16" or asked.activations == "f16"
    described = ct.utils.MultiFunctionDescriptor()
    singles = {n: job.scratch / f"{job.precision}.{n}.mlpackage" for n in job.entries.graphs}
    with lean(job.entries.graphs.values()):
        for name, single in singles.items():
            model = ct.convert(
                _program(job.entries, name),
                convert_to="mlprogram",
                minimum_deployment_target=ct.target.iOS18,
                compute_precision=ct.precision.FLOAT16 if half else ct.precision.FLOAT32,
                skip_model_load=True,
            )
            if asked.weights == "i8":
                model = coreml_backend.quantize_model(model, asked)
            model.save(str(single))
            described.add_function(str(single), "main", name)
    described.default_function_name = FORWARD
    ct.utils.save_multifunction(described, str(job.destination))
    _settle_identifiers(job.destination)
    coreml_file.compact(job.destination)
    for single in singles.values():
        shutil.rmtree(single)
    if job.metadata is not None:
        describe(job.destination, job.metadata)


def _program(entries: EntryPoints, name: str) -> torch.export.ExportedProgram:
    with torch.no_grad():
        program = torch.export.export(
            entries.graphs[name], entries.example, dynamic_shapes=entries.dynamic_shapes
        )
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
