"""TailRunner: the tails of loaded bundles, run in batches that take in samples at every cut.

Groups of samples enter at different cuts of one program. The earliest runs up to the next cut at
which others wait, they join there, and so on to the outputs, which are given back group by group.

All methods but `load` belong to one thread; `load` may run on another one meanwhile.
torch is imported inside functions only.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from companion_server.tails.chain import Chain, divide
from companion_server.tails.program import LoadProgram, read_program
from companion_server.tails.proof import MIN_GOLDEN_SNR_DB, Golden, lowest_snr_db, prove
from headtail.errors import BundleMismatch, HeadtailError, IntegrityFault, UnknownName
from headtail.tensors import Array

if TYPE_CHECKING:
    import torch

    from headtail.bundle import Bundle

    Tensors = tuple[torch.Tensor, ...]

__all__ = ["Group", "TailRunner"]


@dataclass(frozen=True, slots=True)
class Group:
    """Samples that enter at one cut (`WHOLE`: at the inputs); arrays batch first, in its order."""

    cut: str
    arrays: tuple[Array, ...]

    @property
    def samples(self) -> int:
        """Size of the batch axis."""
        return int(self.arrays[0].shape[0])


class TailRunner:
    """Runs the tails of any number of bundles."""

    def __init__(self, *, threads: int = 1, load_program: LoadProgram = read_program) -> None:
        self._threads = threads
        self._load_program = load_program
        self._tails: dict[str, _Tail] = {}
        self._loading = threading.Lock()
        self._thread = threading.local()

    def load(self, bundle: Bundle) -> None:
        """Read a bundle's program, prove every entry on golden activations, and warm it.

        A bundle that is loaded is left as it is. Raises `BundleMismatch` for a bundle without a
        tail, `IntegrityFault` if the golden outputs are missed, `SchemaFault` for a program that is
        none.
        """
        self._own_torch()
        with self._loading:
            if bundle.manifest.bundle_id in self._tails:
                return
            try:
                tail = _Tail(bundle, self._load_program)
            except HeadtailError:
                raise
            except Exception as error:  # whatever torch says of a program that it cannot run
                raise _unreadable(bundle, error) from error
            self._tails[bundle.manifest.bundle_id] = tail

    def unload(self, bundle_id: str) -> None:
        """Forget a bundle and free its memory; one that is not loaded is no error."""
        self._tails.pop(bundle_id, None)

    def run(self, bundle_id: str, groups: Sequence[Group]) -> list[list[Array]]:
        """The outputs of each group, in the manifest's order; groups may come in any order.

        Arrays are already checked against the manifest. A program that takes one sample at a time
        is run sample by sample. Raises `UnknownName` for a bundle or cut that is not loaded.
        """
        self._own_torch()
        return self._tail(bundle_id).run(groups)

    def info(self, bundle_id: str) -> dict[str, Any]:
        """JSON-able: what runs each part of a bundle, what that takes in time and memory."""
        return self._tail(bundle_id).info()

    def _tail(self, bundle_id: str) -> _Tail:
        tail = self._tails.get(bundle_id)
        if tail is None:
            raise UnknownName("loaded bundle", bundle_id, self._tails)
        return tail

    def _own_torch(self) -> None:
        # the OpenMP thread count belongs to the thread that sets it
        if not hasattr(self._thread, "set"):
            import torch

            torch.set_num_threads(self._threads)
            self._thread.set = True


class _Tail:
    """One loaded bundle."""

    def __init__(self, bundle: Bundle, load_program: LoadProgram) -> None:
        manifest = bundle.manifest
        if not manifest.tails:
            raise BundleMismatch(
                f"{manifest.name!r} was exported without a tail.",
                held={manifest.bundle_id: []},
                expected="A bundle whose tail this server runs holds one.",
                remedy="Export it without `--no-split`, or run it on the device.",
            )
        self.golden = Golden(manifest, bundle.golden())
        tail = manifest.tails[0]
        program = load_program(bundle.file(tail.program), bundle.file(tail.weights))
        self.chain: Chain = divide(manifest, program)
        self._places = {entry: index for index, entry in enumerate(self.chain.entries)}
        self.one_sample = program.one_sample
        prove(self.golden, self._run_entry)
        self.one_sample = self.one_sample or not self._batches()

    def run(self, groups: Sequence[Group]) -> list[list[Array]]:
        import torch

        unknown = [group.cut for group in groups if group.cut not in self._places]
        if unknown:
            raise UnknownName("cut", unknown[0], self._places)
        with torch.inference_mode():
            if self.one_sample:
                return [self._one_by_one(group) for group in groups]
            return self._together(groups)

    def info(self) -> dict[str, Any]:
        return {
            "entries": list(self.chain.entries),
            "one_sample": self.one_sample,
            "segments": [
                {"entry": segment.stretch.entry, "backend": segment.backend}
                for segment in self.chain.segments
            ],
        }

    def _run_entry(self, entry: str, arrays: Sequence[Array]) -> list[Array]:
        return self.run([Group(entry, tuple(arrays))])[0]

    def _batches(self) -> bool:
        """Do two golden samples together give what each gives alone?"""
        together = self.golden.batch(self.chain.entries[0], 2)
        alone = [self.golden.outputs(i % self.golden.samples) for i in range(2)]
        wanted = [np.concatenate(rows) for rows in zip(*alone, strict=True)]
        try:
            found = self._run_entry(self.chain.entries[0], together)
        except RuntimeError:  # a shape that the program fixes
            return False
        return lowest_snr_db(wanted, found) >= MIN_GOLDEN_SNR_DB

    def _one_by_one(self, group: Group) -> list[Array]:
        rows = []
        for index in range(group.samples):
            values = tuple(_tensor(array[index : index + 1]) for array in group.arrays)
            rows.append(self.chain.run(self._places[group.cut], values))
        return [_rows(parts) for parts in zip(*rows, strict=True)]

    def _together(self, groups: Sequence[Group]) -> list[list[Array]]:
        import torch

        order = sorted(range(len(groups)), key=lambda i: self._places[groups[i].cut])
        values: Tensors = ()
        for place, segment in enumerate(self.chain.segments):
            arriving = [groups[i] for i in order if self._places[groups[i].cut] == place]
            values = _join([values, *(_tensors(group) for group in arriving)])
            if values:
                values = segment.runs(*values)
        sizes = [groups[i].samples for i in order]
        split = [torch.split(value, sizes) for value in values]
        results: dict[int, list[Array]] = {
            i: [np.ascontiguousarray(parts[rank].numpy()) for parts in split]
            for rank, i in enumerate(order)
        }
        return [results[i] for i in range(len(groups))]


def _join(batches: Sequence[Tensors]) -> Tensors:
    """Batches of the same tensors as one; an empty one stands for no samples."""
    import torch

    held = [batch for batch in batches if batch]
    if len(held) < 2:
        return held[0] if held else ()
    return tuple(torch.cat(parts) for parts in zip(*held, strict=True))


def _rows(parts: Sequence[torch.Tensor]) -> Array:
    import torch

    return np.ascontiguousarray(torch.cat(list(parts)).numpy())


def _tensors(group: Group) -> Tensors:
    return tuple(_tensor(array) for array in group.arrays)


def _tensor(array: Array) -> torch.Tensor:
    import torch

    # torch refuses to promise anything about memory it may not write: a decoded view of the body
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def _unreadable(bundle: Bundle, error: Exception) -> IntegrityFault:
    return IntegrityFault(
        f"The tail of {bundle.manifest.name!r} cannot be loaded: {type(error).__name__}: "
        f"{str(error)[:300]}.",
        file=bundle.manifest.tails[0].program,
        expected="A tail is what `headtail export` wrote, for this version of torch.",
        remedy="Export the bundle again with the torch installed here.",
    )
