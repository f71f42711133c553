"""Search for the first bad position of a sequence, several probes at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

__all__ = ["AT_ONCE", "narrow"]

AT_ONCE = 4  # probes in one file: a process start costs more than a conversion of a small part


def narrow(
    low: int,
    high: int,
    candidates: Sequence[int],
    probe: Callable[[list[int]], list[bool]],
) -> tuple[int, int]:
    """Move a good position `low` (-1 for the input) and a later bad one `high` together.

    Only `candidates` are probed, in rounds of `AT_ONCE`; `probe` tells which of them are good and
    may stop after the first that is not. Where good and bad alternate (an error may be masked
    further on), the bad position that is kept is the first of its round, and `low` the good one
    before it: the pair is always a step from good to bad.
    """
    while inside := [position for position in candidates if low < position < high]:
        chosen = _spread(inside)
        good = probe(chosen)
        bad = next((i for i, is_good in enumerate(good) if not is_good), None)
        if bad is None:
            low = chosen[-1]
        else:
            high = chosen[bad]
            low = chosen[bad - 1] if bad else low
    return low, high


def _spread(items: Sequence[int]) -> list[int]:
    """Up to `AT_ONCE` of them that cut the rest into about equal parts."""
    if len(items) <= AT_ONCE:
        return list(items)
    step = (len(items) + 1) / (AT_ONCE + 1)
    return [items[round(step * (i + 1)) - 1] for i in range(AT_ONCE)]
