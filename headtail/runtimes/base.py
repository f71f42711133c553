"""The one interface behind which every phone runtime stands, on a desk and on a phone.

A *runtime* can be probed without loading a model; a *session* is one loaded artifact with its
entry points (`forward` and one `head_<cut>` per materialised cut). Adapters are small: they name
tensors as the manifest does and move bytes; they never preprocess and never fall back in silence.
What every session has to ask and check is in `headtail.runtimes.session`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from headtail.errors import TensorMismatch, UnknownName, UsageFault
from headtail.tensors import Array, TensorSpec

__all__ = [
    "CPU",
    "Capability",
    "Entries",
    "Runtime",
    "Session",
    "check_accelerator",
    "check_counts",
    "check_threads",
    "closed_session",
]

CPU = "cpu"

# entry point -> (inputs, outputs) as the manifest lists them
Entries = Mapping[str, tuple[Sequence[TensorSpec], Sequence[TensorSpec]]]


@dataclass(frozen=True)
class Capability:
    """Whether a runtime can be used here. `reason` says why not and what to do."""

    available: bool
    version: str = ""
    reason: str = ""


class Session(Protocol):
    """One loaded artifact. It belongs to one thread at a time."""

    def entry_points(self) -> Sequence[str]:
        """Names of the entry points, `forward` first."""
        ...

    def inputs(self, entry: str) -> tuple[TensorSpec, ...]:
        """What an entry point takes, in the manifest's order; `UnknownName` if there is none."""
        ...

    def outputs(self, entry: str) -> tuple[TensorSpec, ...]:
        """What an entry point gives, in the manifest's order; `UnknownName` if there is none."""
        ...

    def run(self, entry: str, inputs: Sequence[Array]) -> list[Array]:
        """Run one entry point; arrays in and out in the manifest's order, dtypes and shapes.

        The results are the caller's: the next run does not write into them. Raises `UnknownName`
        for an entry point the file lacks and `TensorMismatch` for other dtypes or shapes than the
        entry takes.
        """
        ...

    def memory_bytes(self) -> int | None:
        """By how much this process's resident memory grew while the artifact was loaded and each of
        its entry points was run for the first time.

        Measured, so whatever else the process did meanwhile is in it; None where the system does
        not tell.
        """
        ...

    def close(self) -> None:
        """Give the memory back; the session cannot be used afterwards. Closing twice is closing."""
        ...


class Runtime(Protocol):
    """A way to run artifacts of one format.

    `name` is the adapter's own and distinct; several may serve one `format`. `timing_kind` is what
    its times are, one of `headtail.timing.TIMING_KINDS`: an interpreter that stands for a device
    says `emulated`, and nobody may call its times a latency.
    """

    name: str
    format: str
    timing_kind: str

    @property
    def accelerators(self) -> tuple[str, ...]:
        """What `load` takes, `cpu` first, of `cpu`, `gpu` and `npu`; whether this machine has one
        shows when a model is loaded on it.
        """
        ...

    def probe(self) -> Capability:
        """Is it usable on this machine? Must not raise and must not load a model."""
        ...

    def load(
        self,
        path: Path,
        *,
        entries: Entries,
        threads: int = 1,
        accelerator: str = CPU,
    ) -> Session:
        """Load an artifact. `entries` is what the manifest says of it, so that an adapter can put
        a runtime's own order into the manifest's order.

        Raises `UnknownName` for an accelerator that is not in `accelerators`, `RuntimeUnavailable`
        where the runtime or the accelerator is not here, and `IntegrityFault` for a file that the
        runtime refuses.
        """
        ...


def check_accelerator(runtime: Runtime, accelerator: str) -> None:
    """Raise `UnknownName` unless `runtime` lists the accelerator."""
    if accelerator not in runtime.accelerators:
        raise UnknownName(f"accelerator of {runtime.name}", accelerator, runtime.accelerators)


def check_threads(threads: int) -> None:
    """Raise `UsageFault` for fewer than one thread."""
    if threads < 1:
        raise UsageFault(
            f"{threads} threads were asked for.",
            expected="A model is computed by at least one thread.",
            remedy="Ask for 1 thread or more.",
        )


def check_counts(where: str, held: tuple[Sized, Sized], described: tuple[Sized, Sized]) -> None:
    """Raise `TensorMismatch` unless an entry point has as many (inputs, outputs) as described."""
    for kind, ours, theirs in zip(("inputs", "outputs"), held, described, strict=True):
        if len(ours) != len(theirs):
            raise TensorMismatch(
                f"{where} has {len(ours)} {kind}.",
                expected=f"The manifest describes {len(theirs)}.",
                remedy="Export the model again; file and manifest do not belong together.",
            )


def closed_session(file: str) -> UsageFault:
    """What a session of `file` raises when it is run after `close`."""
    return UsageFault(
        f"The session of {file} is closed.",
        expected="A session is used before it is closed.",
        remedy="Load the artifact again.",
    )
