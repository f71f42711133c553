"""Runs tails until `TailRunner` does: one thread that owns torch, a module per (bundle, cut).

All torch work of a server happens on this one thread, first come first served. More threads would
not make a tail faster (they would share the same cores) and would mix torch's thread-local state;
batching across clients is the way to more throughput and comes on top of this class.

torch is imported inside functions only, so that the routes can be described without it.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from companion_server.problems import NotReady
from companion_server.tails.program import LoadProgram, Program, read_program
from headtail.errors import HeadtailError, IntegrityFault, TensorMismatch
from headtail.manifest import Cut
from headtail.metrics import snr_db
from headtail.tensors import Array, TensorSpec, check_array

if TYPE_CHECKING:
    from companion_server.store import BundleStore, StoredBundle

__all__ = ["TailExecutor"]

T = TypeVar("T")
WHOLE = ""  # the key of the whole model beside the ids of its cuts
MIN_GOLDEN_SNR_DB = 60.0  # fp32 on another CPU differs by rounding only: 100 dB and more


class TailExecutor:
    """The tails of every bundle in a store."""

    def __init__(
        self, store: BundleStore, *, threads: int = 1, load_program: LoadProgram = read_program
    ) -> None:
        self._store = store
        self._threads = threads
        self._load_program = load_program
        self._programs: dict[str, Program] = {}
        self._modules: dict[tuple[str, str], Any] = {}
        self._worker = ThreadPoolExecutor(1, "tail", initializer=self._own_torch)
        self._ready = False
        self._failure: HeadtailError | None = None

    async def submit(self, work: Callable[[], T]) -> T:
        """Run `work` on the tail thread; the event loop goes on meanwhile."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)

    async def load(self) -> None:
        """Read every tail, run each exported cut once on golden activations, then be ready.

        The first run also makes torch choose and cache its kernels. Raises `IntegrityFault` if a
        tail does not give the golden outputs; the server then stays not ready and says why.
        """
        try:
            for stored in self._store.bundles.values():
                await self.submit(functools.partial(self._prove, stored))
        except HeadtailError as error:
            self._failure = error
            raise
        except Exception as error:  # whatever torch says of a file it cannot run
            self._failure = IntegrityFault(
                f"A tail cannot be loaded: {type(error).__name__}: {error}.",
                file="tail",
                expected="A tail is what `headtail export` wrote, for this version of torch.",
                remedy="Export the bundle again with the torch installed here.",
            )
            raise self._failure from error
        self._ready = True

    def close(self) -> None:
        """Let the running tail finish, refuse further ones."""
        self._worker.shutdown(cancel_futures=True)

    def check_ready(self) -> None:
        """Raise `NotReady` unless every tail is loaded."""
        if self._failure is not None:
            raise NotReady(
                f"The tails could not be loaded. {self._failure.what}",
                expected=self._failure.expected,
                remedy=self._failure.remedy,
            )
        if not self._ready:
            raise NotReady(
                "The tails are still being loaded.",
                expected="/v2/health/ready answers 200 when they are.",
                remedy="Ask again in a second, and answer on the device meanwhile.",
            )

    def run(self, stored: StoredBundle, cut: Cut | None, arrays: Sequence[Array]) -> list[Array]:
        """The model's outputs from the tensors of `cut`, or from its inputs if `cut` is None.

        Call it on the tail thread, with arrays already checked against the manifest. Batch first;
        outputs in the manifest's order and dtypes. Raises `TensorMismatch` for a batch that the
        program cannot take: some models fix theirs.
        """
        import torch

        module = self._module(stored, cut)
        try:
            with torch.inference_mode():
                outputs = module(*(torch.from_numpy(_writable(array)) for array in arrays))
        except RuntimeError as error:
            batch = arrays[0].shape[0]
            if batch == 1:
                raise
            raise TensorMismatch(
                f"The tail cannot run a batch of {batch}: {str(error).splitlines()[0]}.",
                expected="This model takes fewer samples at once, perhaps one.",
                remedy="Send the samples one by one.",
            ) from error
        return [np.ascontiguousarray(output.numpy()) for output in outputs]

    def _own_torch(self) -> None:
        # the OpenMP thread count belongs to the thread that sets it, so it is set on this one
        import torch

        torch.set_num_threads(self._threads)

    def _module(self, stored: StoredBundle, cut: Cut | None) -> Any:
        key = (stored.bundle_id, WHOLE if cut is None else cut.id)
        if key not in self._modules:
            manifest = stored.bundle.manifest
            specs = manifest.inputs if cut is None else cut.tensors
            self._modules[key] = self._program(stored).enter([spec.name for spec in specs])
        return self._modules[key]

    def _program(self, stored: StoredBundle) -> Program:
        if stored.bundle_id not in self._programs:
            manifest = stored.bundle.manifest
            if not manifest.tails:
                raise self._store.mismatch(
                    manifest.name, f"{manifest.name!r} was exported tailless."
                )
            tail = manifest.tails[0]
            self._programs[stored.bundle_id] = self._load_program(
                stored.bundle.file(tail.program), stored.bundle.file(tail.weights)
            )
        return self._programs[stored.bundle_id]

    def _prove(self, stored: StoredBundle) -> None:
        manifest = stored.bundle.manifest
        if not manifest.tails:
            return  # held for download only; inference on it is a 409
        golden = stored.bundle.golden()
        wanted = [golden[f"output.0.{spec.name}"] for spec in manifest.outputs]
        entries: list[tuple[Cut | None, str, tuple[TensorSpec, ...]]] = [
            (None, "input.0.", manifest.inputs),
            *((c, f"cut.{c.id}.0.", c.tensors) for c in manifest.cuts if c.materialised),
        ]
        for cut, prefix, specs in entries:
            outputs = self.run(stored, cut, [golden[prefix + spec.name] for spec in specs])
            _check_golden(stored, cut, outputs, wanted)


def _check_golden(
    stored: StoredBundle, cut: Cut | None, outputs: list[Array], wanted: list[Array]
) -> None:
    manifest = stored.bundle.manifest
    for spec, output, reference in zip(manifest.outputs, outputs, wanted, strict=True):
        check_array(output, spec)
        found = snr_db(reference=reference, candidate=output)
        if found < MIN_GOLDEN_SNR_DB:
            where = "its inputs" if cut is None else f"cut {cut.id!r}"
            raise IntegrityFault(
                f"The tail of {manifest.name!r} entered at {where} gives {spec.name!r} with "
                f"{found:.1f} dB against the golden output.",
                file=manifest.tails[0].program,
                expected=f"At least {MIN_GOLDEN_SNR_DB:.0f} dB.",
                remedy="Export the bundle again, and verify it with `headtail verify`.",
            )


def _writable(array: Array) -> Array:
    # torch refuses to promise anything about memory it may not write: a decoded view of the body
    return array if array.flags.writeable else array.copy()
