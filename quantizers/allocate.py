"""One storage per weight: the least damage within a budget of bytes and time, or the fewest bytes.

Roundings of different weights are independent and small, so to first order their noise at the
outputs adds up in power, and the choice is an integer linear program, as in HAWQ-V3
(https://arxiv.org/abs/2011.10680), solved exactly. Agreement is not linear: `reach` finds what it
takes by bisection.
"""

from __future__ import annotations

import glob
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headtail.errors import UsageFault
from quantizers.candidates import Allocation, Budget, Candidate, Option
from quantizers.integer_program import choose
from quantizers.recipe import Recipe, Rule, Storage

__all__ = ["Row", "allocate", "explain", "mixed", "reach", "smallest"]

_COSTS = ("size", "ms", "damage")
_UNITS = {"size": "bytes of weights", "ms": "ms", "damage": "noise per signal at the outputs"}
_CLOSE = 0.002  # of the bytes: no further bisection


@dataclass(frozen=True)
class Row:
    """What was chosen for a weight, and why not the next smaller or the next better option."""

    weight: str
    module: str
    storage: str
    size: int
    damage: float
    why: str


def allocate(candidates: Iterable[Candidate], budget: Budget) -> Allocation:
    """The options with the least damage within `budget`.

    Weights of one module share a choice, since a recipe's rules cannot tell them apart. Raises
    `UsageFault` for a budget that cannot be met, and says which can.
    """
    table = _Table.of(tuple(candidates))
    limits = {"size": budget.size, "ms": budget.ms}
    return table.solve("damage", {name: most for name, most in limits.items() if most is not None})


def smallest(
    candidates: Iterable[Candidate], *, damage: float, ms: float | None = None
) -> Allocation:
    """The options with the fewest bytes that do at most `damage`; errors as for `allocate`."""
    limits = {"damage": damage, "ms": math.inf if ms is None else ms}
    limits = {name: most for name, most in limits.items() if most < math.inf}
    return _Table.of(tuple(candidates)).solve("size", limits)


def reach(
    candidates: Iterable[Candidate],
    measure: Callable[[Allocation], float],
    *,
    agreement: float,
    budget: Budget | None = None,
    evaluations: int = 8,
) -> tuple[Allocation, float]:
    """The smallest allocation found whose measured agreement is at least `agreement`, and that.

    More bytes allow less damage and so more agreement: the bytes are bisected, with at most
    `evaluations` calls of `measure`, between the fewest and what the least damage takes within
    `budget`. Raises `UsageFault` if even that does not agree enough, and says how much it does.
    """
    candidates = tuple(candidates)
    budget = budget or Budget()
    best = allocate(candidates, budget)
    found = (best, measure(best))
    if found[1] < agreement:
        raise UsageFault(
            f"An agreement of {agreement:g} was asked for; with the least damage "
            f"({best.size} bytes of weights) it is {found[1]:g}.",
            expected="The best of the storages offered must reach the agreement.",
            remedy=f"Ask for at most {found[1]:g}, offer more bits, or allow more bytes or time.",
        )
    trial = smallest(candidates, damage=math.inf, ms=budget.ms)
    low = middle = trial.size
    for _ in range(evaluations - 1):
        if trial.size > (1 - _CLOSE) * found[0].size:
            break
        measured = measure(trial)
        if measured >= agreement:
            found = (trial, measured)
        else:
            low = middle
        middle = (low + found[0].size) // 2
        trial = allocate(candidates, replace(budget, size=middle))
    return found


def mixed(allocation: Allocation, base: Recipe, *, name: str = "mixed") -> Recipe:
    """`base` with a rule for every module whose weights are stored in another way than it says.

    Activations are the base's, and its rules come first: later rules win.
    """
    rules: dict[Rule, None] = {}
    for candidate, option in zip(allocation.candidates, allocation.chosen, strict=True):
        if base.storage_of(candidate.module, candidate.kinds) != option.storage:
            module = glob.escape(candidate.module)
            rules[Rule(module, (), option.storage.dtype, option.storage.block)] = None
    return replace(base, name=name, rules=(*base.rules, *rules))


def explain(allocation: Allocation) -> list[Row]:
    """One row per weight; damage per byte is what the rows' choices are comparable by."""
    return [
        Row(
            candidate.weight,
            candidate.module,
            str(chosen.storage),
            chosen.size,
            chosen.damage,
            _why(candidate.options, chosen),
        )
        for candidate, chosen in zip(allocation.candidates, allocation.chosen, strict=True)
    ]


def _why(options: Sequence[Option], chosen: Option) -> str:
    smaller = [option for option in options if option.size < chosen.size]
    better = [option for option in options if option.damage < chosen.damage]
    reasons = []
    if smaller:
        other = min(smaller, key=lambda option: _price(option, chosen))
        reasons.append(
            f"{other.storage} would save {chosen.size - other.size} bytes for "
            f"{other.damage - chosen.damage:.2g} of damage ({_price(other, chosen):.2g} a byte)"
        )
    if better:
        other = max(better, key=lambda option: _price(option, chosen))
        reasons.append(
            f"{other.storage} would spare {chosen.damage - other.damage:.2g} of damage for "
            f"{other.size - chosen.size} bytes ({_price(other, chosen):.2g} a byte)"
        )
    return "; ".join(reasons) or "nothing smaller or better was offered"


def _price(one: Option, other: Option) -> float:
    """Damage per byte between two options; without bytes in between, all or nothing."""
    if one.size == other.size:
        return math.inf if one.damage < other.damage else 0.0
    return (one.damage - other.damage) / (other.size - one.size)


@dataclass(frozen=True)
class _Table:
    """A variable for each storage of each group of weights that share a choice."""

    candidates: tuple[Candidate, ...]
    groups: tuple[tuple[int, ...], ...]  # numbers of candidates
    variables: tuple[tuple[int, Storage], ...]  # group, storage
    columns: Mapping[str, NDArray[np.float64]]  # size, ms, damage of each variable

    @classmethod
    def of(cls, candidates: tuple[Candidate, ...]) -> _Table:
        groups = _groups(candidates)
        variables: list[tuple[int, Storage]] = []
        costs: list[list[float]] = []
        for number, group in enumerate(groups):
            for storage, options in _shared([candidates[i] for i in group]).items():
                variables.append((number, storage))
                costs.append([math.fsum(getattr(o, name) for o in options) for name in _COSTS])
        columns = np.array(costs, np.float64).reshape(-1, len(_COSTS)).T
        return cls(candidates, groups, tuple(variables), dict(zip(_COSTS, columns, strict=True)))

    def solve(self, goal: str, limits: Mapping[str, float]) -> Allocation:
        """The allocation with the least of `goal` (a column) within `limits` (by column)."""
        for name, most in limits.items():
            least = self._least(name)
            if least > most:
                raise _unreachable(name, most, least)
        rows = [self._row(name, most) for name, most in limits.items()]
        picked = choose([group for group, _ in self.variables], self.columns[goal], rows)
        if picked is None:
            raise self._together(limits)
        stored = {
            number: storage
            for group, storage in (self.variables[i] for i in picked)
            for number in self.groups[group]
        }
        chosen = [
            next(option for option in candidate.options if option.storage == stored[number])
            for number, candidate in enumerate(self.candidates)
        ]
        return Allocation(self.candidates, tuple(chosen))

    def _least(self, name: str) -> float:
        least = np.full(len(self.groups), np.inf)
        np.minimum.at(least, [group for group, _ in self.variables], self.columns[name])
        return math.fsum(least.tolist())

    def _row(self, name: str, most: float) -> tuple[NDArray[np.float64], float]:
        if name == "size" or not most:  # bytes are whole numbers: those limits hold exactly
            return self.columns[name], most
        return self.columns[name] / most, 1.0

    def _together(self, limits: Mapping[str, float]) -> UsageFault:
        (goal, most), *others = limits.items()
        rest = dict(others)
        closest = getattr(self.solve(goal, rest), goal)
        asked = " and ".join(_say(name, limit) for name, limit in limits.items())
        return UsageFault(
            f"At most {asked} cannot be had together.",
            expected=f"With at most {' and '.join(_say(*pair) for pair in others)} it takes at "
            f"least {_say(goal, closest)}.",
            remedy=f"Allow that instead of {_say(goal, most)}, or offer fewer bits.",
        )


def _say(name: str, value: float) -> str:
    return f"{value:.9g} {_UNITS[name]}"


def _unreachable(name: str, most: float, least: float) -> UsageFault:
    return UsageFault(
        f"At most {_say(name, most)} were asked for.",
        expected=f"The storages offered reach {_say(name, least)} at least.",
        remedy=f"Allow {least:.9g}, or offer "
        f"{'more' if name == 'damage' else 'fewer'} bits for the weights.",
    )


def _groups(candidates: Sequence[Candidate]) -> tuple[tuple[int, ...], ...]:
    """Numbers of the candidates that share a choice, directly or through others."""
    owner = list(range(len(candidates)))
    first: dict[tuple[str, str], int] = {}
    for number, candidate in enumerate(candidates):
        keys = [("module", candidate.module)] + [("tie", candidate.tie)] * bool(candidate.tie)
        for key in keys:
            old, new = owner[first.setdefault(key, number)], owner[number]
            owner = [old if one == new else one for one in owner]
    groups: dict[int, list[int]] = {}
    for number, one in enumerate(owner):
        groups.setdefault(one, []).append(number)
    return tuple(map(tuple, groups.values()))


def _shared(candidates: Sequence[Candidate]) -> dict[Storage, list[Option]]:
    """The storages that all of them have, with the option of each."""
    options = [{option.storage: option for option in one.options} for one in candidates]
    shared = {
        storage: [have[storage] for have in options]
        for storage in options[0]
        if all(storage in have for have in options)
    }
    if not shared:
        names = ", ".join(candidate.weight for candidate in candidates)
        raise UsageFault(
            f"No storage is offered for all of {names}.",
            expected="Weights that share a choice have at least one storage in common.",
            remedy="Offer each of them the same storages, float ones included.",
        )
    return shared
