"""What every session asks, checks and remembers; an adapter adds how to compute and to free."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence, Sized

from headtail.errors import UnknownName
from headtail.runtimes.base import Entries, check_counts, closed_session
from headtail.runtimes.memory import growth_since, resident_bytes
from headtail.tensors import Array, TensorSpec, check_arrays

__all__ = ["FileSession"]


class FileSession(ABC):
    """Implements `headtail.runtimes.base.Session` but for the computing.

    `held` maps the entry points of the file to their (inputs, outputs), of which only the number is
    looked at: `TensorMismatch` where the manifest's `entries` say otherwise.
    """

    def __init__(
        self,
        file: str,
        held: Mapping[str, tuple[Sized, Sized]],
        entries: Entries,
        *,
        memory_bytes: int | None,
    ) -> None:
        self._file = file
        self._names = sorted(held, key=lambda name: (name != "forward", name))
        self._described = {
            name: (tuple(entries[name][0]), tuple(entries[name][1]))
            for name in self._names
            if name in entries
        }
        self._memory_bytes = memory_bytes
        self._never_run = set(self._described)
        self._closed = False
        for name, described in self._described.items():
            check_counts(f"{file}, {name}", held[name], described)

    def entry_points(self) -> list[str]:
        """See `Session.entry_points`."""
        return list(self._names)

    def inputs(self, entry: str) -> tuple[TensorSpec, ...]:
        """See `Session.inputs`."""
        return self._specs(entry)[0]

    def outputs(self, entry: str) -> tuple[TensorSpec, ...]:
        """See `Session.outputs`."""
        return self._specs(entry)[1]

    def memory_bytes(self) -> int | None:
        """See `Session.memory_bytes`."""
        return self._memory_bytes

    def run(self, entry: str, inputs: Sequence[Array]) -> list[Array]:
        """See `Session.run`."""
        if self._closed:
            raise closed_session(self._file)
        wanted, given = self._specs(entry)
        check_arrays(inputs, wanted)
        computed = (
            self._first_run(entry, inputs)
            if entry in self._never_run
            else self._compute(entry, inputs)
        )
        results = [_whole(array, spec) for array, spec in zip(computed, given, strict=True)]
        check_arrays(results, given)
        return results

    def close(self) -> None:
        """See `Session.close`."""
        if not self._closed:
            self._closed = True
            self._release()

    @abstractmethod
    def _compute(self, entry: str, inputs: Sequence[Array]) -> list[Array]:
        """The results of a described entry point for inputs that were checked."""

    @abstractmethod
    def _release(self) -> None:
        """Free what was loaded; called once."""

    def _first_run(self, entry: str, inputs: Sequence[Array]) -> list[Array]:
        """Runtimes leave what an entry point needs to its first run: that is its weight too."""
        before = resident_bytes()
        results = self._compute(entry, inputs)
        grown = growth_since(before)
        if self._memory_bytes is not None and grown is not None:
            self._memory_bytes += grown
        self._never_run.discard(entry)
        return results

    def _specs(self, entry: str) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        if entry not in self._described:
            raise UnknownName(f"entry point of {self._file}", entry, self._names)
        return self._described[entry]


def _whole(array: Array, spec: TensorSpec) -> Array:
    if array.size == 1 and {array.shape, spec.shape} == {(), (1,)}:
        return array.reshape(spec.shape)  # some files hold a scalar as one element
    return array
