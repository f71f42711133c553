"""What the engine has learnt of both ends' times, in milliseconds, and of frames. Pure; no clock.

Device: the whole model, each head, each encoding, as they ran here. Server: decoding, queue and
tail, as its replies told. Times that nobody has measured are predicted from the share of the
multiply-accumulates that the manifest gives each head (`head_flops`), and `known_*` say which are
not predictions.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from headtail.manifest import Cut

__all__ = ["DeviceLearner", "FrameLearner", "ServerLearner"]

MIN_MS = 1e-3
KEPT = 9  # newest samples; their median is what is told


class _Newest:
    def __init__(self) -> None:
        self._newest: deque[float] = deque(maxlen=KEPT)

    def add(self, value: float) -> None:
        self._newest.append(value)

    @property
    def known(self) -> bool:
        return bool(self._newest)

    @property
    def median(self) -> float:
        return statistics.median(self._newest)


class DeviceLearner:
    """Times of this device, for `cuts`."""

    def __init__(self, cuts: Sequence[Cut]) -> None:
        self._cuts = {cut.id: cut for cut in cuts}
        self._local = _Newest()
        self._heads = {cut.id: _Newest() for cut in cuts}
        self._encodings: dict[tuple[str, str], _Newest] = {}

    def ran_local(self, ms: float) -> None:
        """The whole model ran here."""
        self._local.add(ms)

    def ran_head(self, cut: str, ms: float) -> None:
        """A head ran; `local_ms` must be known.

        Its share of the whole model's time is kept, so that a head that has not run for long is not
        taken for slow because the device was, when it ran.
        """
        self._heads[cut].add(ms / max(self._local.median, MIN_MS))

    def encoded(self, cut: str, codec: str, ms: float) -> None:
        """A boundary was encoded."""
        self._encodings.setdefault((cut, codec), _Newest()).add(ms)

    @property
    def local_ms(self) -> float:
        """The whole model; it was run before anything is asked here."""
        return self._local.median

    def head_ms(self) -> dict[str, float]:
        """By cut; those that did not run yet by their share of the whole."""
        return {
            cut: self._local.median
            * (shares.median if shares.known else self._cuts[cut].head_flops)
            for cut, shares in self._heads.items()
        }

    def encode_ms(self, frames: Mapping[str, Iterable[str]]) -> dict[str, dict[str, float]]:
        """By cut and codec of `frames`; a codec that did not run at a cut by the cut's size."""
        return {
            cut: {codec: self._encode_ms(cut, codec) for codec in codecs}
            for cut, codecs in frames.items()
        }

    def _encode_ms(self, cut: str, codec: str) -> float:
        times = self._encodings.get((cut, codec))
        if times is not None:
            return times.median
        per_value = [
            other.median / _values(self._cuts[name])
            for (name, kind), other in self._encodings.items()
            if kind == codec
        ]
        return statistics.median(per_value) * _values(self._cuts[cut]) if per_value else 0.0


class ServerLearner:
    """Times of the server's tails, for `cuts`; `guess_ms` is the whole model's until it told."""

    def __init__(self, cuts: Sequence[Cut]) -> None:
        self._shares = {cut.id: 1.0 - cut.head_flops for cut in cuts}
        self._tails = {cut.id: _Newest() for cut in cuts}

    def answered(self, cut: str, ms: float) -> None:
        """A tail ran: decoding, queue and compute."""
        self._tails[cut].add(ms)

    @property
    def known_tails(self) -> tuple[str, ...]:
        """The cuts of which a reply told the time."""
        return tuple(cut for cut, times in self._tails.items() if times.known)

    def whole_ms(self, *, guess_ms: float) -> float:
        """The whole model there, by the tails that are known."""
        scaled = [
            times.median / self._shares[cut]
            for cut, times in self._tails.items()
            if times.known and self._shares[cut] > 0
        ]
        return statistics.median(scaled) if scaled else guess_ms

    def tail_ms(self, *, guess_ms: float) -> dict[str, float]:
        """By cut; those of which nothing is known by their share of the whole."""
        whole_ms = self.whole_ms(guess_ms=guess_ms)
        return {
            cut: times.median if times.known else whole_ms * self._shares[cut]
            for cut, times in self._tails.items()
        }


class FrameLearner:
    """Bytes of requests as they were really sent: pictures differ from those of the manifest."""

    def __init__(self) -> None:
        self._sent: dict[tuple[str, str], _Newest] = {}

    def sent(self, cut: str, codec: str, size: int) -> None:
        """A request of so many bytes was sent."""
        self._sent.setdefault((cut, codec), _Newest()).add(size)

    def sizes(self, promised: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
        """`promised` by cut and codec, or what was sent lately."""
        return {
            cut: {codec: self._size(cut, codec, size) for codec, size in codecs.items()}
            for cut, codecs in promised.items()
        }

    def _size(self, cut: str, codec: str, promised: int) -> int:
        sent = self._sent.get((cut, codec))
        return promised if sent is None else int(sent.median)


def _values(cut: Cut) -> int:
    return max(1, sum(spec.nbytes for spec in cut.tensors))
