"""Finds the fastest proven backend for every segment of a loaded bundle, while it serves.

A candidate is loaded on a thread of its own, proven there on golden activations and against eager
torch, then timed against what runs at present, A B A B, on the thread that serves: one pair of runs
per step, so that a request waits for one pair at most. It takes over if it is faster by 5 % or more
(geometric mean over the sizes) and slower nowhere, and if the whole chain still gives the golden
outputs with it.
"""

from __future__ import annotations

import logging
import math
import statistics
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from companion_server.tails.backends import BACKENDS, EAGER
from companion_server.tails.chain import release
from companion_server.tails.measuring import Times, run_ms, tensors
from companion_server.tails.memory import anonymous_bytes
from companion_server.tails.proof import MIN_GOLDEN_SNR_DB, Golden, lowest_snr_db, prove
from headtail.errors import HeadtailError
from headtail.metrics import finite_db

if TYPE_CHECKING:
    from companion_server.tails.built import BuiltFiles
    from companion_server.tails.chain import Runs
    from companion_server.tails.tail import Tail
    from companion_server.tails.workshop import Workshop

__all__ = ["Tuner"]

log = logging.getLogger(__name__)
MIN_GAIN = 1.05  # of the speed at present
COMPARED_SIZES = (1, 4)
ROUNDS = (5, 25)  # at least, at most
ENOUGH_MS = 500.0  # of runs at one size, once there are as many as the least
LOOK_EVERY_S = 0.2  # at files that are being built


@dataclass(frozen=True)
class _Candidate:
    place: int  # of the segment in the chain
    backend: str
    key: str


@dataclass
class _Loaded:
    """What the loading thread found: something proven that runs, or why there is none."""

    runs: Runs | None = None
    reason: str = ""
    snr_db: float = 0.0
    memory_bytes: int = 0
    done: threading.Event = field(default_factory=threading.Event)


class Tuner:
    """Tries all candidates of one bundle, step by step, on the thread that serves.

    `verdicts[i]` maps backend to what is known of it for segment i: its `state` is one of absent,
    building, failed, refused, slower, chosen, replaced; with times in ms by number of samples.
    """

    def __init__(self, tail: Tail, built: BuiltFiles, workshop: Workshop, *, threads: int) -> None:
        assert tail.golden is not None
        self.done = False
        self.verdicts: list[dict[str, dict[str, Any]]] = [{} for _ in tail.chain.segments]
        self._tail = tail
        self._golden: Golden = tail.golden
        self._built = built
        self._workshop = workshop
        self._threads = threads
        self._bundle_id = tail.bundle.manifest.bundle_id
        self._eager = [segment.runs for segment in tail.chain.segments]
        self._steps: Generator[bool, None, None] = self._tune()

    def step(self) -> bool:
        """One step; is there another one to take at once? Whatever goes wrong ends the tuning."""
        try:
            return next(self._steps, False)
        except Exception as error:  # a full disk, for example: what runs at present goes on
            log.exception("tuning of %s ends", self._bundle_id[:12])
            self._give_up(f"{type(error).__name__}: {error}")
            return False

    def cancel(self) -> None:
        """The bundle is unloaded."""
        self._steps.close()
        self._workshop.cancel(self._bundle_id)

    def _tune(self) -> Generator[bool, None, None]:
        waiting = self._candidates()
        unbuilt = [c for c in waiting if BACKENDS[c.backend].write and not self._settled(c)]
        if unbuilt:
            keys = [candidate.key for candidate in unbuilt]
            self._workshop.order(self._bundle_id, self._tail.bundle.path, keys)
        while waiting:
            over = self._workshop.over(self._bundle_id)
            ready = [c for c in waiting if over or self._settled(c)]
            for candidate in ready:
                waiting.remove(candidate)
                yield from self._try(candidate)
            if not ready:
                yield from _wait(LOOK_EVERY_S)
        self._settle()

    def _candidates(self) -> list[_Candidate]:
        found = []
        for name, backend in BACKENDS.items():
            missing = backend.missing()
            for place, segment in enumerate(self._tail.chain.segments):
                entry = segment.stretch.entry
                reason = missing or self._unfit(entry)
                if reason:
                    self.verdicts[place][name] = {"state": "absent", "reason": reason}
                    continue
                self.verdicts[place][name] = {"state": "building"}
                key = self._built.key(self._bundle_id, entry, name)
                found.append(_Candidate(place, name, key))
        return found

    def _unfit(self, entry: str) -> str:
        return "" if entry in self._golden.entries() else "no golden activations at this cut"

    def _settled(self, candidate: _Candidate) -> bool:
        built = BACKENDS[candidate.backend].write is not None
        return not built or self._built.record(candidate.key).get("state") in ("ready", "failed")

    def _try(self, candidate: _Candidate) -> Iterator[bool]:
        verdict = self.verdicts[candidate.place][candidate.backend]
        loaded = _Loaded()
        threading.Thread(
            target=self._load, args=(candidate, loaded), name="try-tail", daemon=True
        ).start()
        while not loaded.done.is_set():
            yield False
        verdict["state"] = "refused" if loaded.reason else "slower"
        if loaded.runs is None:
            verdict["reason"] = loaded.reason
            return
        verdict["snr_db"] = round(finite_db(loaded.snr_db), 1)
        yield from self._compare(candidate, loaded, verdict)

    def _load(self, candidate: _Candidate, loaded: _Loaded) -> None:
        """On a thread of its own, since hashing and loading a large file takes a while."""
        import torch

        torch.set_num_threads(self._threads)
        try:
            before = anonymous_bytes() or 0
            self._load_and_prove(candidate, loaded)
            loaded.memory_bytes = (anonymous_bytes() or 0) - before
        except Exception as error:  # whatever torch, ExecuTorch or the loader say
            loaded.runs = None
            loaded.reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}"
        finally:
            loaded.done.set()

    def _load_and_prove(self, candidate: _Candidate, loaded: _Loaded) -> None:
        backend, path = BACKENDS[candidate.backend], self._built.folder
        if backend.write is not None:
            found = self._built.find(candidate.key)
            if found is None or not self._built.begin_trial(candidate.key):
                record = self._built.record(candidate.key)
                loaded.reason = str(record.get("reason", "it was not built"))
                return
            path = found
        try:
            runs = backend.load(path, self._eager[candidate.place], self._threads)
            loaded.snr_db = self._lowest_snr_db(candidate, runs)
        finally:
            self._built.end_trial(candidate.key)
        if loaded.snr_db < MIN_GOLDEN_SNR_DB:
            loaded.reason = f"{loaded.snr_db:.1f} dB on golden activations"
        else:
            loaded.runs = runs

    def _lowest_snr_db(self, candidate: _Candidate, runs: Runs) -> float:
        """Against the golden values at the next cut, and against eager torch in a batch."""
        import torch

        entries, place = self._tail.chain.entries, candidate.place
        last = place + 1 == len(entries)
        golden = self._golden.outputs(0) if last else self._golden.values(entries[place + 1], 0)
        one = self._golden.batch(entries[place], 1)
        several = self._golden.batch(entries[place], 1 if self._tail.one_sample else 3)
        with torch.inference_mode():
            alone = [value.numpy() for value in runs(*tensors(one))]
            wanted = [value.numpy() for value in self._eager[place](*tensors(several))]
            found = [value.numpy() for value in runs(*tensors(several))]
        return min(lowest_snr_db(golden, alone), lowest_snr_db(wanted, found))

    def _compare(
        self, candidate: _Candidate, loaded: _Loaded, verdict: dict[str, Any]
    ) -> Iterator[bool]:
        segment = self._tail.chain.segments[candidate.place]
        assert loaded.runs is not None
        sizes = [size for size in COMPARED_SIZES if size in self._tail.times[candidate.place]]
        ours, theirs = Times(), Times()
        for size in sizes:
            pairs: list[tuple[float, float]] = []
            values = self._golden.batch(segment.stretch.entry, size)
            _timed_pair(loaded.runs, segment.runs, values)  # to warm up
            while not _enough(pairs):
                yield True
                pairs.append(_timed_pair(loaded.runs, segment.runs, values))
            mine, other = zip(*pairs, strict=True)
            ours[size], theirs[size] = statistics.median(mine), statistics.median(other)
        verdict["ms"] = _shown(ours)
        verdict["against"] = {"backend": segment.backend, "ms": _shown(theirs)}
        gains = [theirs[size] / ours[size] for size in sizes]
        verdict["gain"] = round(math.prod(gains) ** (1 / len(gains)), 3)
        if verdict["gain"] >= MIN_GAIN and min(gains) >= 1 / MIN_GAIN:
            yield from self._take_over(candidate, loaded, verdict, ours)

    def _take_over(
        self, candidate: _Candidate, loaded: _Loaded, verdict: dict[str, Any], times: Times
    ) -> Iterator[bool]:
        segment, place = self._tail.chain.segments[candidate.place], candidate.place
        former, former_runs = segment.backend, segment.runs
        assert loaded.runs is not None
        segment.runs, segment.backend = loaded.runs, candidate.backend
        try:
            prove(self._golden, self._tail.run_entry)
        except HeadtailError as error:
            segment.runs, segment.backend = former_runs, former
            verdict |= {"state": "refused", "reason": error.what}
            return
        if segment.backend != candidate.backend:  # it failed, and the tail has helped itself
            verdict |= {"state": "refused", "reason": self._tail.fell_back_because}
            return
        verdict["state"] = "chosen"
        if former != EAGER:
            self.verdicts[place][former]["state"] = "replaced"
        log.info("%s %s: %s", self._bundle_id[:12], segment.stretch.entry or "inputs", verdict)
        for size in sorted(set(self._tail.times[place]) - set(times)):
            values = self._golden.batch(segment.stretch.entry, size)
            runs = []
            for _ in range(3):
                runs.append(_timed_pair(segment.runs, None, values)[0])
                yield True
            times[size] = statistics.median(runs)
        self._tail.times[place] = times
        self._count(loaded.memory_bytes)

    def _settle(self) -> None:
        """Nothing is left to be tried: free what only trials need."""
        before = anonymous_bytes() or 0
        for eager, segment in zip(self._eager, self._tail.chain.segments, strict=True):
            if segment.runs is not eager:
                release(eager)
        self._eager.clear()
        self._tail.golden = None
        del self._golden
        self._count((anonymous_bytes() or 0) - before)
        self.done = True

    def _give_up(self, reason: str) -> None:
        self._workshop.cancel(self._bundle_id)
        for verdict in (found for held in self.verdicts for found in held.values()):
            if verdict["state"] == "building":
                verdict |= {"state": "failed", "reason": reason}
        self.done = True

    def _count(self, grown_bytes: int) -> None:
        if self._tail.memory_bytes is not None:
            self._tail.memory_bytes = max(self._tail.memory_bytes + grown_bytes, 0)
        self._tail.revision += 1


def _enough(pairs: list[tuple[float, float]]) -> bool:
    least, most = ROUNDS
    return len(pairs) >= most or (len(pairs) >= least and sum(map(sum, pairs)) >= ENOUGH_MS)


def _wait(seconds: float) -> Iterator[bool]:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        yield False


def _timed_pair(first: Runs, second: Runs | None, values: Any) -> tuple[float, float]:
    import torch

    with torch.inference_mode():
        given = tensors(values)
        return run_ms(first, given)[0], run_ms(second, given)[0] if second is not None else 0.0


def _shown(times: Times) -> dict[str, float]:
    return {str(size): round(ms, 3) for size, ms in times.items()}
