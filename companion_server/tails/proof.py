"""A tail is served only if golden activations give golden outputs, alone and in a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from companion_server.jobs import WHOLE
from headtail.errors import IntegrityFault
from headtail.metrics import snr_db
from headtail.tensors import Array, TensorSpec, check_array

if TYPE_CHECKING:
    from headtail.manifest import Manifest

__all__ = ["MIN_GOLDEN_SNR_DB", "Golden", "lowest_snr_db", "prove"]

MIN_GOLDEN_SNR_DB = 60.0  # fp32 on another CPU differs by rounding only: 100 dB and more
RunEntry = Callable[[str, Sequence[Array]], list[Array]]


class Golden:
    """What a bundle's golden vectors say of its entries and outputs."""

    def __init__(self, manifest: Manifest, tensors: Mapping[str, Array]) -> None:
        self.manifest = manifest
        self._tensors = tensors

    @property
    def samples(self) -> int:
        """How many samples there are."""
        first = self.manifest.inputs[0].name
        count = 0
        while f"input.{count}.{first}" in self._tensors:
            count += 1
        return count

    def values(self, entry: str, sample: int) -> list[Array]:
        """The tensors that cross `entry` (a materialised cut or `WHOLE`) for one sample."""
        if entry == WHOLE:
            return self._take(f"input.{sample}.", self.manifest.inputs)
        return self._take(f"cut.{entry}.{sample}.", self.manifest.cut(entry).tensors)

    def outputs(self, sample: int) -> list[Array]:
        """The model's outputs for one sample."""
        return self._take(f"output.{sample}.", self.manifest.outputs)

    def batch(self, entry: str, samples: int) -> list[Array]:
        """`samples` different rows: golden values, then the same ones moved along the sample."""
        held = []
        for index in range(samples):
            moved, sample = divmod(index, self.samples)
            held.append([_moved(value, moved) for value in self.values(entry, sample)])
        return [np.concatenate(rows) for rows in zip(*held, strict=True)]

    def entries(self) -> list[str]:
        """`WHOLE` and the cuts that golden activations exist of."""
        return [WHOLE, *(cut.id for cut in self.manifest.cuts if cut.materialised)]

    def _take(self, prefix: str, specs: Sequence[TensorSpec]) -> list[Array]:
        missing = [spec.name for spec in specs if prefix + spec.name not in self._tensors]
        if missing:
            raise IntegrityFault(
                f"The golden vectors of {self.manifest.name!r} lack {prefix + missing[0]!r}.",
                file=self.manifest.golden,
                expected="They hold inputs, outputs and the activations at each cut.",
                remedy="Export the bundle again.",
            )
        return [self._tensors[prefix + spec.name] for spec in specs]


def _moved(value: Array, by: int) -> Array:
    return np.roll(value.reshape(-1), by).reshape(value.shape) if by else value


def prove(golden: Golden, run: RunEntry) -> None:
    """Raise `IntegrityFault` unless every entry gives the golden outputs of the first sample."""
    manifest = golden.manifest
    for entry in golden.entries():
        outputs = run(entry, golden.values(entry, 0))
        wanted = golden.outputs(0)
        for spec, output, reference in zip(manifest.outputs, outputs, wanted, strict=True):
            check_array(output, spec)
            found = snr_db(reference=reference, candidate=output)
            if found < MIN_GOLDEN_SNR_DB:
                where = f"cut {entry!r}" if entry else "its inputs"
                raise IntegrityFault(
                    f"The tail of {manifest.name!r} entered at {where} gives {spec.name!r} with "
                    f"{found:.1f} dB against the golden output.",
                    file=manifest.tails[0].program,
                    expected=f"At least {MIN_GOLDEN_SNR_DB:.0f} dB.",
                    remedy="Export the bundle again, and verify it with `headtail verify`.",
                )


def lowest_snr_db(references: Sequence[Array], candidates: Sequence[Array]) -> float:
    """The lowest SNR of several tensors in dB; minus infinity if their shapes differ."""
    found = []
    for reference, candidate in zip(references, candidates, strict=True):
        if reference.shape != candidate.shape:
            return -float("inf")
        found.append(snr_db(reference=reference, candidate=candidate))
    return min(found)
