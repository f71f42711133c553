"""The golden vectors of a bundle, as inputs and expected outputs of each entry point.

Device tests, the app's benchmark and its agent mode replay the same samples and judge by the same
gates. No gate is invented where a run here is: fp32 must reach what its export had to pass, any
other precision what its manifest recorded.
"""

from __future__ import annotations

from collections.abc import Sequence

from headtail.bundle import Bundle
from headtail.errors import SchemaFault
from headtail.manifest import FORWARD, Artifact, Entry, head_entry
from headtail.metrics import degenerate, finite_db, snr_db
from headtail.tensors import Array

__all__ = [
    "FP32_GATE_DB",
    "RECORDED_SLACK_DB",
    "GoldenSet",
    "Outputs",
    "gate_db",
    "snrs_db",
    "worthless",
]

FP32_GATE_DB = 90.0  # minimum SNR over the samples; what an fp32 export must reach to be written
# What other kernels of the same instruction family move a recorded int8 figure by; rounding of a
# quantized activation may fall to the other side.
RECORDED_SLACK_DB = 0.1
# And those of another processor: half the signal's distance from the error, in amplitude.
FOREIGN_SLACK_DB = 6.0
# GPUs and NPUs compute fp32 models in half precision: an error of 2^-11 (66 dB) per operation,
# which adds up over a network's depth.
HALF_GATE_DB = 40.0

Outputs = Sequence[Sequence[Array]]  # [sample][output]


class GoldenSet:
    """fp32 PyTorch's inputs, outputs and boundary tensors for `count` real samples."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._manifest = bundle.manifest
        self._tensors = bundle.golden()
        first = self._manifest.inputs[0].name
        self.count = 0
        while f"input.{self.count}.{first}" in self._tensors:
            self.count += 1
        if self.count == 0:
            raise self._missing(f"input.0.{first}")

    def inputs(self, sample: int) -> tuple[Array, ...]:
        """Inputs of the model, in the manifest's order; every entry point takes them."""
        return tuple(self._get(f"input.{sample}.{spec.name}") for spec in self._manifest.inputs)

    def expected(self, entry: Entry, sample: int) -> tuple[Array, ...]:
        """What fp32 PyTorch gives at `entry`: the outputs, or the boundary tensors of its cut."""
        if entry.name == FORWARD:
            prefix, specs = f"output.{sample}", self._manifest.outputs
        else:
            cut = self._manifest.cut(entry.name.removeprefix(head_entry("")))
            prefix, specs = f"cut.{cut.id}.{sample}", cut.tensors
        return tuple(self._get(f"{prefix}.{spec.name}") for spec in specs)

    def _get(self, key: str) -> Array:
        if key not in self._tensors:
            raise self._missing(key)
        return self._tensors[key]

    def _missing(self, key: str) -> SchemaFault:
        return SchemaFault(
            f"Golden tensor {key!r} is missing",
            f"$.{self._manifest.golden}",
            remedy="Export the bundle again.",
        )


def gate_db(
    artifact: Artifact, entry: Entry, *, timing_kind: str, accelerator: str = "cpu"
) -> float | None:
    """The minimum SNR in dB over the samples that `entry` must reach where it runs.

    None where there is nothing to judge by: the manifest records what `forward` reached on the
    machine that exported it, and of heads in other precisions than fp32 nothing.
    """
    foreign = timing_kind != "host" or accelerator != "cpu"
    if artifact.precision == "fp32":
        return FP32_GATE_DB if accelerator == "cpu" else HALF_GATE_DB
    if entry.name != FORWARD:
        return None
    slack = FOREIGN_SLACK_DB if foreign else RECORDED_SLACK_DB
    recorded = artifact.agreement.snr_db_min - slack
    return recorded if accelerator == "cpu" else min(recorded, HALF_GATE_DB)


def snrs_db(reference: Outputs, candidate: Outputs) -> list[float]:
    """Per sample, the worst output's SNR in dB, clamped for JSON."""
    return [
        min(
            finite_db(snr_db(reference=right, candidate=seen))
            for right, seen in zip(rights, seens, strict=True)
        )
        for rights, seens in zip(reference, candidate, strict=True)
    ]


def worthless(expected: Outputs, outputs: Outputs) -> str:
    """Which output proves nothing (constant, all zero, not finite, the same for every sample)
    where the expected one does, and why; empty if none."""
    for position in range(len(outputs[0])):
        reason = degenerate([sample[position] for sample in outputs])
        if reason and not degenerate([sample[position] for sample in expected]):
            return f"output {position}: {reason}"
    return ""
