"""The one interface behind which every phone runtime stands, on a desk and on a phone.

A *runtime* can be probed without loading a model; a *session* is one loaded artifact with its
entry points (`forward` and one `head_<cut>` per materialised cut). Adapters are small: they name
tensors as the manifest does and move bytes; they never preprocess and never fall back in silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from headtail.errors import TensorMismatch, UsageFault
from headtail.tensors import Array, TensorSpec

__all__ = ["Capability", "Runtime", "Session", "check_counts", "closed_session"]


@dataclass(frozen=True)
class Capability:
    """Whether a runtime can be used here. `reason` says why not and what to do."""

    available: bool
    version: str = ""
    reason: str = ""


class Session(Protocol):
    """One loaded artifact."""

    def entry_points(self) -> Sequence[str]:
        """Names of the entry points, `forward` first."""
        ...

    def run(self, entry: str, inputs: Sequence[Array]) -> list[Array]:
        """Run one entry point; arrays in and out in the manifest's order, dtypes and shapes.

        Raises `UnknownName` for an entry point the file lacks and `TensorMismatch` for other
        dtypes or shapes than the entry takes.
        """
        ...

    def close(self) -> None:
        """Give the memory back; the session cannot be used afterwards."""
        ...


class Runtime(Protocol):
    """A way to run artifacts of one format.

    `timing_kind` is what its times are, one of `headtail.timing.TIMING_KINDS`: an interpreter that
    stands for a device says `emulated`, and nobody may call its times a latency.
    """

    name: str
    format: str
    timing_kind: str

    def probe(self) -> Capability:
        """Is it usable on this machine? Must not raise and must not load a model."""
        ...

    def load(
        self,
        path: Path,
        *,
        entries: Mapping[str, tuple[Sequence[TensorSpec], Sequence[TensorSpec]]],
        threads: int = 1,
    ) -> Session:
        """Load an artifact. `entries` maps entry point -> (inputs, outputs) as the manifest lists
        them, so that an adapter can put a runtime's own order into the manifest's order."""
        ...


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
