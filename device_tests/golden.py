"""The golden vectors of a bundle, as inputs and expected outputs of each entry point."""

from __future__ import annotations

from headtail.bundle import Bundle
from headtail.errors import SchemaFault
from headtail.manifest import FORWARD, Entry, head_entry
from headtail.tensors import Array

__all__ = ["GoldenSet"]


class GoldenSet:
    """fp32 PyTorch's inputs, outputs and boundary tensors for `count` real samples."""

    def __init__(self, bundle: Bundle) -> None:
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
