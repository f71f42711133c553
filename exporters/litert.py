"""LiteRT (TFLite): litert-torch writes one file with a signature per entry point.

https://github.com/google-ai-edge/litert-torch. Quantized files are made from the float file, which
is Google's recommended order; see `quantizers.litert_backend`.
"""

from __future__ import annotations

from pathlib import Path

from exporters.lean import lean
from exporters.metadata import Metadata
from exporters.metadata.litert import embed
from exporters.target import Job
from headtail.manifest import FORWARD
from headtail.tensors import Array

__all__ = ["write"]


def write(job: Job) -> None:
    """Convert `job.entries` to one `.tflite` of the asked precision at `job.destination`."""
    from quantizers import litert_backend

    # a plan with grids has a program of its own
    float_file = job.scratch / f"float.{job.precision if job.plan.grids else 'all'}.tflite"
    if not float_file.exists():
        _write_float(job, float_file)
    asked = job.plan.recipe
    if asked.name == "fp32":
        job.destination.write_bytes(float_file.read_bytes())
    else:
        samples = _calibration(job) if asked.needs_calibration else {}
        litert_backend.quantize_file(
            float_file, job.destination, job.plan, samples, program=job.captured.graphs[FORWARD]
        )
    if job.metadata is not None:  # last, since quantizing writes the file anew
        job.destination.write_bytes(_described(job.destination.read_bytes(), job.metadata))


def _described(model: bytes, metadata: Metadata) -> bytes:
    pictures = {}
    if metadata.preprocess is not None:
        pictures = {next(iter(metadata.inputs)): metadata.preprocess}
    return embed(model, metadata, images=pictures, classes=metadata.classes or None)


def _write_float(job: Job, path: Path) -> None:
    import litert_torch

    converter = None
    for name, graph in job.entries.graphs.items():
        add = converter.signature if converter is not None else litert_torch.signature
        converter = add(name, graph, job.entries.example, dynamic_shapes=job.entries.dynamic_shapes)
    assert converter is not None  # forward is always there
    with lean(job.entries.graphs.values()):
        converter.convert().export(str(path))


def _calibration(job: Job) -> dict[str, list[list[Array]]]:
    from exporters.exchange import read_samples

    samples = read_samples(job.calibration, job.inputs)
    return dict.fromkeys(job.entries.graphs, samples)
