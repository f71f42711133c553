"""Weights with the ways to store each, what those cost and do, and a choice among them.

Damage is noise power over signal power at the outputs (`quantizers.sensitivity`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from quantizers.recipe import Storage
from quantizers.sensitivity import Sensitivity
from quantizers.sites import Site

__all__ = ["Allocation", "Budget", "Candidate", "Option", "candidates_of", "stored_size"]

_SCALE_BYTES = 4
_TABLE_BYTES = 2  # an entry of a palette's table is half precision


@dataclass(frozen=True)
class Option:
    """A way to store a weight, its bytes, and what it does: damage, and time where measured."""

    storage: Storage
    size: int
    damage: float
    ms: float = 0.0


@dataclass(frozen=True)
class Candidate:
    """A weight and the options for it. Weights with an equal `tie` (not empty) share a choice."""

    weight: str
    module: str
    kinds: frozenset[str]
    options: tuple[Option, ...]
    tie: str = ""


@dataclass(frozen=True)
class Budget:
    """The most bytes, and the most milliseconds, of all weights together; None: no limit."""

    size: int | None = None
    ms: float | None = None


@dataclass(frozen=True)
class Allocation:
    """Candidates in their order, with the option chosen for each."""

    candidates: tuple[Candidate, ...]
    chosen: tuple[Option, ...]

    @property
    def size(self) -> int:
        """Bytes of all weights."""
        return sum(option.size for option in self.chosen)

    @property
    def ms(self) -> float:
        """Time of all operators."""
        return math.fsum(option.ms for option in self.chosen)

    @property
    def damage(self) -> float:
        """Sum over the weights: a prediction of that of all at once."""
        return math.fsum(option.damage for option in self.chosen)

    @property
    def storages(self) -> dict[str, Storage]:
        """Weight -> how it is stored."""
        pairs = zip(self.candidates, self.chosen, strict=True)
        return {candidate.weight: option.storage for candidate, option in pairs}


def stored_size(site: Site, storage: Storage) -> int:
    """Bytes of a weight: its elements, a float32 scale per channel or block, or one table."""
    elements = -(-site.elements * storage.bits // 8)
    if storage.palette:
        return elements + _TABLE_BYTES * (1 << storage.bits)
    if not storage.integer:
        return elements
    blocks = site.elements // (site.shape[0] * storage.block) if storage.block else 1
    return elements + _SCALE_BYTES * site.shape[0] * blocks


def candidates_of(
    scores: Iterable[Sensitivity],
    *,
    size: Callable[[Site, Storage], int] = stored_size,
    ms: Callable[[Site, Storage], float] = lambda _site, _storage: 0.0,
) -> list[Candidate]:
    """Options as `sensitivity` scored them, with what they cost in a format."""
    return [
        Candidate(
            score.site.weight,
            score.site.module,
            score.site.kinds,
            tuple(
                Option(storage, size(score.site, storage), damage, ms(score.site, storage))
                for storage, damage in score.damage.items()
            ),
        )
        for score in scores
    ]
