"""One loaded bundle: its chain of segments, proven and measured, and how groups run through it.

That samples of a batch do not see each other is tried on golden ones. A program made to betray its
users could still pass one client's values to another: bundles come from those who may publish.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from companion_server.tails.backends import EAGER
from companion_server.tails.chain import Chain, divide, release
from companion_server.tails.measuring import SIZES, Times, measure_chain
from companion_server.tails.memory import anonymous_bytes
from companion_server.tails.proof import MIN_GOLDEN_SNR_DB, Golden, lowest_snr_db, prove
from headtail.errors import BundleMismatch, UnknownName
from headtail.tensors import Array

if TYPE_CHECKING:
    import torch

    from companion_server.tails.program import LoadProgram, Program
    from headtail.bundle import Bundle

    Tensors = tuple[torch.Tensor, ...]

__all__ = ["Group", "Tail"]

log = logging.getLogger(__name__)
MEASURE_S = 2.0  # for the cost of batches, of every load


@dataclass(frozen=True, slots=True)
class Group:
    """Samples that enter at one cut (`WHOLE`: at the inputs); arrays batch first, in its order."""

    cut: str
    arrays: tuple[Array, ...]

    @property
    def samples(self) -> int:
        """Size of the batch axis."""
        return int(self.arrays[0].shape[0])


class Tail:
    """See the module docstring. `golden` is None once nothing is left to be tried on it.

    `times` are ms by number of samples, of each segment; `revision` counts changes of what `info`
    says. `memory_bytes` is the growth of this process's anonymous memory (`memory.py`) while the
    bundle was loaded, and with every change of a backend since; work of other threads in that time
    counts too. `known` are times that an earlier process of this server measured: measuring is most
    of what loading takes, and a bundle that comes back is waited for.
    """

    def __init__(
        self, bundle: Bundle, load_program: LoadProgram, known: Sequence[Times] = ()
    ) -> None:
        manifest = bundle.manifest
        if not manifest.tails:
            raise BundleMismatch(
                f"{manifest.name!r} was exported without a tail.",
                held={manifest.bundle_id: []},
                expected="A bundle whose tail this server runs holds one.",
                remedy="Export it without `--no-split`, or run it on the device.",
            )
        before = anonymous_bytes()
        self.bundle = bundle
        self._load_program = load_program
        self.fell_back_because = ""
        program = self._read()
        self.chain: Chain = divide(manifest, program)
        self.weight_bytes = _weight_bytes(self.chain)
        self._places = {entry: index for index, entry in enumerate(self.chain.entries)}
        self.one_sample = program.one_sample
        golden = Golden(manifest, bundle.golden())
        self.golden: Golden | None = golden
        self.revision = 0
        prove(golden, self.run_entry)
        self.one_sample = self.one_sample or not self._batches(golden)
        usable = len(known) == len(self.chain.segments) and all(1 in times for times in known)
        self.times = list(known) if usable else self._measured(golden)
        after = anonymous_bytes()
        self.memory_bytes = None if before is None or after is None else max(after - before, 0)

    def run(self, groups: Sequence[Group]) -> list[list[Array]]:
        """See `TailRunner.run`."""
        import torch

        unknown = [group.cut for group in groups if group.cut not in self._places]
        if unknown:
            raise UnknownName("cut", unknown[0], self._places)
        with torch.inference_mode():
            try:
                return self._computed(groups)
            except Exception as error:
                if all(segment.backend == EAGER for segment in self.chain.segments):
                    raise
                self._return_to_eager(error)
            return self._computed(groups)

    def _computed(self, groups: Sequence[Group]) -> list[list[Array]]:
        if self.one_sample:
            return [self._one_by_one(group) for group in groups]
        return self._together(groups)

    def _return_to_eager(self, error: Exception) -> None:
        """Something faster failed, although it was proven: the program is read again."""
        self.fell_back_because = f"{type(error).__name__}: {error}"
        log.error("%s runs eagerly again: %s", self.bundle.manifest.name, self.fell_back_because)
        eager = divide(self.bundle.manifest, self._read())
        for segment, former in zip(self.chain.segments, eager.segments, strict=True):
            segment.runs, segment.backend = former.runs, former.backend
        self.revision += 1

    def _read(self) -> Program:
        tail = self.bundle.manifest.tails[0]
        return self._load_program(self.bundle.file(tail.program), self.bundle.file(tail.weights))

    def run_entry(self, entry: str, arrays: Sequence[Array]) -> list[Array]:
        """The outputs of samples that enter at one cut."""
        return self.run([Group(entry, tuple(arrays))])[0]

    def close(self) -> None:
        """Free the weights; nothing can be run any more."""
        for segment in self.chain.segments:
            release(segment.runs)

    def info(self) -> dict[str, Any]:
        """What `TailRunner.info` says of every bundle, tuned or not."""
        return {
            "entries": list(self.chain.entries),
            "one_sample": self.one_sample,
            "revision": self.revision,
            "fell_back_because": self.fell_back_because,
            "weight_bytes": self.weight_bytes,
            "memory_bytes": self.memory_bytes,
            "batch_ms": self._batch_ms(),
            "segments": [
                {
                    "entry": segment.stretch.entry,
                    "backend": segment.backend,
                    "ms": {str(size): round(ms, 3) for size, ms in times.items()},
                }
                for segment, times in zip(self.chain.segments, self.times, strict=True)
            ],
        }

    def _batch_ms(self) -> dict[str, dict[str, float]]:
        """Entry -> samples -> ms to the outputs."""
        sizes = [size for size in SIZES if all(size in times for times in self.times)]
        return {
            entry: {
                str(size): round(sum(times[size] for times in self.times[place:]), 3)
                for size in sizes
            }
            for entry, place in self._places.items()
        }

    def _measured(self, golden: Golden) -> list[Times]:
        import torch

        sizes = SIZES[:1] if self.one_sample else SIZES
        with torch.inference_mode():
            return measure_chain(self.chain, golden, sizes, within_s=MEASURE_S)

    def _batches(self, golden: Golden) -> bool:
        """Do two samples together give what each gives alone?"""
        entry = self.chain.entries[0]
        both = golden.batch(entry, 2)
        alone = [self.run_entry(entry, [v[row : row + 1] for v in both]) for row in range(2)]
        wanted = [np.concatenate(rows) for rows in zip(*alone, strict=True)]
        try:
            found = self.run_entry(entry, both)
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


def _weight_bytes(chain: Chain) -> int:
    """Of the tensors that the segments hold, each storage once."""
    storages = {}
    for segment in chain.segments:
        if segment.backend == EAGER and hasattr(segment.runs, "buffers"):
            for buffer in segment.runs.buffers():
                storage = buffer.untyped_storage()
                storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


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
    return torch.from_numpy(np.require(array, requirements=["A", "C", "W"]))
