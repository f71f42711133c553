"""TailRunner: the tails of loaded bundles, run in batches that take in samples at every cut.

Groups of samples enter at different cuts of one program. The earliest runs up to the next cut at
which others wait, they join there, and so on to the outputs, which are given back group by group.

All methods but `load` belong to one thread; `load` may run on another one meanwhile.
torch is imported inside functions only.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from companion_server.tails.built import BuiltFiles
from companion_server.tails.measuring import Times
from companion_server.tails.program import LoadProgram, read_program
from companion_server.tails.tail import Group, Tail
from companion_server.tails.tuning import Tuner
from companion_server.tails.workshop import Workshop
from headtail.errors import EnvironmentFault, HeadtailError, IntegrityFault, UnknownName
from headtail.tensors import Array

if TYPE_CHECKING:
    from headtail.bundle import Bundle

__all__ = ["TailRunner"]

log = logging.getLogger(__name__)

BUSY_STEP_EVERY_S = 1.0  # between steps of tuning while requests wait


class TailRunner:
    """Runs the tails of any number of bundles.

    `tuning` is the folder in which code for this machine is built and kept (see `built.py`);
    without one, or if others may enter it, everything is run by eager torch.
    """

    def __init__(
        self,
        *,
        threads: int = 1,
        load_program: LoadProgram = read_program,
        tuning: Path | None = None,
    ) -> None:
        self._threads = threads
        self._load_program = load_program
        self._tails: dict[str, Tail] = {}
        self._tuners: dict[str, Tuner] = {}
        self._off_because = ""
        self._built = None if tuning is None else self._open(tuning)
        self._workshop = None if self._built is None else Workshop(self._built, threads=threads)
        self._stepped = 0.0
        self._loading = threading.Lock()
        self._thread = threading.local()

    def load(self, bundle: Bundle, *, known: Sequence[Times] = ()) -> None:
        """Read a bundle's program, prove every entry on golden activations, measure and warm it.

        A bundle that is loaded is left as it is; `known` are its segments' times, if they were
        measured before. Raises `BundleMismatch` for a bundle without a tail, `IntegrityFault` if
        the golden outputs are missed, `SchemaFault` for a program that is none.
        """
        self._own_torch()
        with self._loading:
            if bundle.manifest.bundle_id in self._tails:
                return
            try:
                tail = Tail(bundle, self._load_program, known)
            except HeadtailError:
                raise
            except Exception as error:  # whatever torch says of a program that it cannot run
                raise _unreadable(bundle, error) from error
            if self._built is None:
                tail.golden = None
            self._tails[bundle.manifest.bundle_id] = tail

    def unload(self, bundle_id: str) -> None:
        """Forget a bundle and free its memory; one that is not loaded is no error."""
        tail = self._tails.pop(bundle_id, None)
        tuner = self._tuners.pop(bundle_id, None)
        if tuner is not None:
            tuner.cancel()
        if tail is not None:
            tail.close()

    def close(self) -> None:
        """Forget everything, and end the process that builds for it."""
        for bundle_id in list(self._tails):
            self.unload(bundle_id)
        if self._workshop is not None:
            self._workshop.close()

    def run(self, bundle_id: str, groups: Sequence[Group]) -> list[list[Array]]:
        """The outputs of each group, in the manifest's order; groups may come in any order.

        Arrays are already checked against the manifest. A program that takes one sample at a time
        is run sample by sample. Raises `UnknownName` for a bundle or cut that is not loaded.
        """
        self._own_torch()
        return self._tail(bundle_id).run(groups)

    def tend(self, *, idle: bool = True) -> bool:
        """One small step towards faster backends: a few runs of a segment, or a look at a builder.

        To be called whenever no request waits, and with `idle=False` after requests while they keep
        coming: then a step is taken once per second at most. Is there more to do at once?
        """
        now = time.monotonic()
        if self._built is None or (not idle and now - self._stepped < BUSY_STEP_EVERY_S):
            return False
        self._own_torch()
        self._stepped = now
        assert self._workshop is not None
        self._workshop.tend()
        for bundle_id, tail in list(self._tails.items()):
            if bundle_id not in self._tuners:
                tuner = Tuner(tail, self._built, self._workshop, threads=self._threads)
                self._tuners[bundle_id] = tuner
            if self._tuners[bundle_id].step():
                return True
        return False

    def info(self, bundle_id: str) -> dict[str, Any]:
        """JSON-able: what runs each segment of a bundle, and what that takes in time and memory.

        entries       "" and the cuts, in program order
        one_sample    are samples run one by one?
        revision      grows with every change of a backend
        fell_back_because   what a proven backend failed with, so that torch runs everything eagerly
        weight_bytes  of the program's weights, which all entries share
        memory_bytes  of this process, on account of this bundle; see `tail.Tail`
        batch_ms      entry -> number of samples -> ms to the outputs
        segments      [{entry, backend, ms: {samples: ms}, candidates: {backend: verdict}}, ...]
        tuning        "off", "running" or "done"
        tuning_off_because   what is wrong with the folder `tuning`, "" if nothing is
        """
        info = self._tail(bundle_id).info()
        tuner = self._tuners.get(bundle_id)
        info["tuning"] = "off" if self._built is None else "running"
        info["tuning_off_because"] = self._off_because
        if tuner is not None:
            info["tuning"] = "done" if tuner.done else "running"
            for segment, verdicts in zip(info["segments"], tuner.verdicts, strict=True):
                segment["candidates"] = dict(verdicts)
        return info

    def _open(self, folder: Path) -> BuiltFiles | None:
        try:
            return BuiltFiles(folder)
        except (EnvironmentFault, OSError) as error:  # requests are answered all the same
            log.error("tails are not tuned: %s", error)
            self._off_because = str(error)
            return None

    def _tail(self, bundle_id: str) -> Tail:
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


def _unreadable(bundle: Bundle, error: Exception) -> IntegrityFault:
    return IntegrityFault(
        f"The tail of {bundle.manifest.name!r} cannot be loaded: {type(error).__name__}: "
        f"{str(error)[:300]}.",
        file=bundle.manifest.tails[0].program,
        expected="A tail is what `headtail export` wrote, for this version of torch.",
        remedy="Export the bundle again with the torch installed here.",
    )
