"""The cells of the matrix model x artifact x runtime x threads, and why others cannot run here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headtail.manifest import Artifact, Manifest
from headtail.runtimes.base import CPU, Capability, Runtime

__all__ = ["Cell", "LeftOut", "Matrix", "matrix_of", "thread_choices"]

THREADS = (1, 2, 4, 8)


@dataclass(frozen=True)
class Cell:
    """One thing to measure: entry point `forward` of an artifact, by a runtime on an accelerator.

    `bundle` is the model's name; `threads` is 1 where the accelerator is not the CPU.
    """

    bundle: str
    bundle_id: str
    format: str
    precision: str
    runtime: str
    accelerator: str
    threads: int

    @property
    def artifact(self) -> str:
        """`litert.fp16`: one artifact of a bundle."""
        return f"{self.format}.{self.precision}"

    @property
    def backend(self) -> str:
        """`litert` or `litert gpu`: runtime and accelerator; the CPU goes without saying."""
        return self.runtime if self.accelerator == CPU else f"{self.runtime} {self.accelerator}"


@dataclass(frozen=True)
class LeftOut:
    """What cannot run here (an artifact, or an artifact by a runtime), and why and what to do."""

    bundle: str
    name: str
    reason: str


@dataclass(frozen=True)
class Matrix:
    """All that can run, in the order of the manifest, and what cannot."""

    cells: tuple[Cell, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    def __add__(self, other: Matrix) -> Matrix:
        return Matrix(self.cells + other.cells, self.left_out + other.left_out)


def thread_choices(cores: int | None) -> tuple[int, ...]:
    """1, 2, 4 and 8, as far as there are cores; more threads than those wait for each other."""
    return tuple(threads for threads in THREADS if threads <= max(cores or 1, 1))


def matrix_of(
    manifest: Manifest,
    runtimes: Sequence[Runtime],
    capabilities: Mapping[str, Capability],
    *,
    threads: Sequence[int],
) -> Matrix:
    """Every cell of one bundle; `capabilities` is what each runtime's `probe` said, by name."""
    cells: list[Cell] = []
    left_out: list[LeftOut] = []
    for artifact in manifest.artifacts:
        able = [r for r in runtimes if r.format == artifact.format]
        if not able:
            left_out.append(_nothing_for(manifest, artifact))
        for runtime in able:
            capability = capabilities[runtime.name]
            if capability.available:
                cells += _cells(manifest, artifact, runtime, threads)
            else:
                name = f"{artifact.format} {artifact.precision} by {runtime.name}"
                left_out.append(LeftOut(manifest.name, name, capability.reason))
    return Matrix(tuple(cells), tuple(left_out))


def _cells(
    manifest: Manifest, artifact: Artifact, runtime: Runtime, threads: Sequence[int]
) -> list[Cell]:
    return [
        Cell(
            bundle=manifest.name,
            bundle_id=manifest.bundle_id,
            format=artifact.format,
            precision=artifact.precision,
            runtime=runtime.name,
            accelerator=accelerator,
            threads=count,
        )
        for accelerator in runtime.accelerators
        for count in (threads if accelerator == CPU else (1,))
    ]


def _nothing_for(manifest: Manifest, artifact: Artifact) -> LeftOut:
    return LeftOut(
        manifest.name,
        f"{artifact.format} {artifact.precision}",
        f"this machine has no runtime for {artifact.format}",
    )
