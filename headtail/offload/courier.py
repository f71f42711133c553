"""What is on its way to the companion server: one message at a time, on a thread of its own."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from headtail.errors import TensorMismatch
from headtail.manifest import Cut, Manifest
from headtail.offload.client import Companion, PingReply, TailReply
from headtail.tensors import Array, check_arrays

if TYPE_CHECKING:
    from headtail.offload.stream import StreamCompanion

    AnyCompanion = Companion | StreamCompanion

__all__ = ["Courier"]


class Courier:
    """Sends for one engine. The companion stays the caller's; `close` ends the thread only."""

    def __init__(self, companion: AnyCompanion, manifest: Manifest) -> None:
        self._companion = companion
        self._manifest = manifest
        self._thread = ThreadPoolExecutor(1, "offload")
        self._sent: Future[TailReply] | Future[PingReply] | None = None

    @property
    def busy(self) -> bool:
        """Whether a message is on its way, or given up and not yet ended."""
        return self._sent is not None and not self._sent.done()

    def send(
        self, cut: Cut, codec: str, boundary: Sequence[Array], *, budget_ms: float
    ) -> Future[TailReply]:
        """A split request; the future gives a reply that is this model's, or raises."""
        sent = self._thread.submit(self._ask, cut, codec, boundary, max(budget_ms, 1.0))
        self._sent = sent
        return sent

    def ping(self, *, budget_ms: float) -> Future[PingReply]:
        """A question of one packet."""
        sent = self._thread.submit(
            self._companion.ping, self._manifest.name, timeout_s=budget_ms / 1e3
        )
        self._sent = sent
        return sent

    def drop(self) -> None:
        """Give up what is on its way."""
        if self.busy:
            self._companion.abort()

    def close(self) -> None:
        """Drop what is on its way and end the thread."""
        self.drop()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _ask(self, cut: Cut, codec: str, boundary: Sequence[Array], budget_ms: float) -> TailReply:
        manifest = self._manifest
        reply = self._companion.infer_tail(
            manifest.name, manifest.bundle_id, cut, codec, boundary, deadline_ms=budget_ms
        )
        names = tuple(spec.name for spec in manifest.outputs)
        if reply.names != names:
            raise TensorMismatch(
                f"The reply has the outputs {reply.names}.",
                expected=f"The model gives {names}.",
                remedy="Serve this bundle there.",
            )
        check_arrays(reply.outputs, manifest.outputs)
        if any(map(_has_nan, reply.outputs)):
            raise TensorMismatch(
                "The reply's outputs are not all numbers.",
                expected="A model that works gives numbers.",
                remedy="Run headtail verify on the server's bundle.",
            )
        return reply


def _has_nan(array: Array) -> bool:
    if array.dtype.kind != "f":
        return False
    with np.errstate(all="ignore"):  # a sum is three times as fast, and is NaN where a part is
        return bool(np.isnan(array.sum()) and np.isnan(array).any())
