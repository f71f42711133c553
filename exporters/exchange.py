"""Arrays between Headtail's own processes: tensor files keyed `<sample>.<tensor name>`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headtail.errors import UsageFault
from headtail.tensorfile import read_tensors, write_tensors
from headtail.tensors import Array, TensorSpec

__all__ = ["read_samples", "write_samples"]


def write_samples(
    path: Path, samples: Sequence[Sequence[Array]], specs: Sequence[TensorSpec]
) -> None:
    """Write `samples[i][j]`, the value of `specs[j]` in sample `i`."""
    tensors = {
        f"{index}.{spec.name}": array
        for index, sample in enumerate(samples)
        for spec, array in zip(specs, sample, strict=True)
    }
    write_tensors(path, tensors)


def read_samples(path: Path | None, specs: Sequence[TensorSpec]) -> list[list[Array]]:
    """Read what `write_samples` wrote; None is a missing calibration set."""
    if path is None:
        raise UsageFault(
            "This precision needs calibration inputs and none were given.",
            expected="Real inputs from which activation ranges are measured.",
            remedy="Define get_calibration_data() in the model's script.",
        )
    tensors = read_tensors(path)
    count = len(tensors) // len(specs)
    return [[tensors[f"{index}.{spec.name}"] for spec in specs] for index in range(count)]
