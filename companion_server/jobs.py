"""What is computed, and by what: a job, its result, and the interface of everything that runs jobs.

Engine
├── LocalEngine   scheduler.py: queue, batches, and an executor process beside this one
└── RayEngine     ray_serve.py: replicas on a Ray cluster
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from headtail.tensors import Array

if TYPE_CHECKING:
    from companion_server.store import StoredBundle

__all__ = ["WHOLE", "Engine", "Job", "Result"]

WHOLE = ""  # the cut of a job that runs the whole model from its inputs


@dataclass(frozen=True, slots=True)
class Job:
    """One inference, decoded and checked against the manifest.

    `arrays` are batch first, in the order of the cut's tensors (of the model's inputs if `cut` is
    `WHOLE`), all with the same number of samples. `client` is whom it counts for: jobs of different
    clients take turns. `deadline` is in seconds of `time.monotonic()`: computing must have begun by
    then; None means whenever.
    """

    bundle_id: str
    cut: str
    arrays: tuple[Array, ...]
    client: str
    deadline: float | None

    @property
    def samples(self) -> int:
        """Size of the batch axis."""
        return int(self.arrays[0].shape[0])

    @property
    def nbytes(self) -> int:
        """Memory that the arrays take while the job waits."""
        return sum(array.nbytes for array in self.arrays)


@dataclass(frozen=True, slots=True)
class Result:
    """Outputs of one job in the manifest's order; `batch` samples were computed together.

    Times in ms: from the job's arrival to the start of compute, and the compute that it took part
    in (of the whole batch).
    """

    outputs: list[Array]
    queue_ms: float
    compute_ms: float
    batch: int


class Engine(Protocol):
    """Runs jobs. All methods belong to the event loop's thread."""

    async def start(self) -> None:
        """Begin; bundles are loaded afterwards, one by one."""
        ...

    async def close(self) -> None:
        """Finish what is running, refuse what waits, free everything."""
        ...

    async def load(self, stored: StoredBundle) -> None:
        """Read a bundle's tail and prove it on golden activations; raises `HeadtailError`."""
        ...

    async def unload(self, bundle_id: str) -> None:
        """Forget a bundle once its accepted jobs are done; unknown ids are none of its business."""
        ...

    def check_ready(self, bundle_id: str = "") -> None:
        """Raise `NotReady` unless this bundle (or, without an id, everything) can be run."""
        ...

    async def run(self, job: Job) -> Result:
        """Compute. Cancelling the awaiting task drops a job that still waits.

        Raises `Shed` (429), `DeadlinePassed` (504), `NotReady` (503) and `TensorMismatch` (422, a
        batch that this program cannot take).
        """
        ...

    def status(self) -> dict[str, Any]:
        """For the status page and metrics: queue, batches, and each loaded bundle's tails."""
        ...
