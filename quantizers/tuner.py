"""Discrete choices (estimator of ranges, granularity, rounding ...) searched with few trials.

First every option is tried once, as a single change of the best configuration so far. Then a cost
model, which has learned what each option is worth, alone and in pairs, and where it is still
unsure, names the configuration of which it expects the largest improvement (Jones et al.,
https://doi.org/10.1023/A:1008306431147). It is Gaussian process regression with a kernel that
counts the choices in which two configurations agree (Rasmussen and Williams, "Gaussian processes
for machine learning", chapter 2, https://gaussianprocess.org/gpml/), which is Bayesian ridge
regression on one-hot options and all their products of two, without writing those down.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headtail.errors import UsageFault

__all__ = ["Trial", "Tuned", "tune"]

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]  # (configurations, choices): numbers of the options
_Code = tuple[int, ...]  # one configuration

_POOL = 4_000  # configurations that the model is asked about: all, if there are no more
_NOISE = 0.01  # variance that is left to what no pair of options explains, of 1
_IMPORTANCE = (0.003, 0.03, 0.1, 0.3, 1.0, 3.0)  # of a choice, relative to the others
_EXPECTED = 0.3
_SPREAD = 1.5  # of the logarithm of importances, before any trial
_PAIRS = (0.1, 0.4)  # share of the variance that is of pairs of options
_SWEEPS = 2


@dataclass(frozen=True)
class Trial:
    """A configuration, choice -> option, and its score in dB."""

    config: Mapping[str, str]
    score: float


@dataclass(frozen=True)
class Tuned:
    """The best trial, all of them in order, and how many an exhaustive search would have made."""

    best: Trial
    trials: tuple[Trial, ...]
    exhaustive: int

    @property
    def saved(self) -> int:
        """Trials that were not needed."""
        return self.exhaustive - len(self.trials)


def tune(
    options: Mapping[str, Sequence[str]],
    evaluate: Callable[[Mapping[str, str]], float],
    *,
    trials: int,
    seed: int = 0,
) -> Tuned:
    """The best configuration that at most `trials` calls of `evaluate` find.

    `options`: choice -> its options, first the one to begin with: what is used today. `evaluate`
    gives a configuration's score, a finite number, the larger the better. The same seed and scores
    lead to the same trials. Raises `UsageFault` for a choice without options, for no trials, and
    for a score that is not finite.
    """
    _check(options, trials)
    rng = np.random.default_rng(seed)
    sizes = [len(names) for names in options.values()]
    seen: list[_Code] = [(0,) * len(sizes)]
    done: list[Trial] = []
    exhaustive = math.prod(sizes)
    while True:
        named = zip(options.items(), seen[-1], strict=True)
        config = {choice: names[option] for (choice, names), option in named}
        done.append(Trial(config, _finite(evaluate(config), config)))
        if len(done) == min(trials, exhaustive):
            break
        scores = np.array([trial.score for trial in done])
        untried = _untried(sizes, seen, seen[int(scores.argmax())])
        if untried:
            seen.append(untried[int(rng.integers(len(untried)))])
        else:
            seen.append(_promising(_pool(sizes, seen, scores, rng), seen, scores, rng))
    return Tuned(max(done, key=lambda trial: trial.score), tuple(done), exhaustive)


def _check(options: Mapping[str, Sequence[str]], trials: int) -> None:
    empty = [choice for choice, names in options.items() if not names]
    if empty or not options:
        raise UsageFault(
            f"There are no options for {empty[0] if empty else 'anything'}.",
            expected="Every choice has at least one option, and there is at least one choice.",
            remedy="Leave the choice out, or name what may be chosen.",
        )
    if trials < 1:
        raise UsageFault(
            f"{trials} trials were allowed.",
            expected="At least one; some more than the longest list of options is useful.",
            remedy="Allow about a twentieth of all configurations.",
        )


def _finite(score: float, config: Mapping[str, str]) -> float:
    if not math.isfinite(score):
        said = ", ".join(f"{choice}={option}" for choice, option in config.items())
        raise UsageFault(
            f"The score of {said} is {score}.",
            expected="A finite number of dB.",
            remedy="Leave out options that do not work together, or give them a low score.",
        )
    return score


def _untried(sizes: Sequence[int], seen: Sequence[_Code], best: _Code) -> list[_Code]:
    """`best` with one option that was never tried; if a choice was begun, with one of its.

    A model knows nothing about an option before its first trial.
    """
    tried = [set(column) for column in zip(*seen, strict=True)]
    found = [one for one in _changed(sizes, best) if any(map(_new, one, tried))]
    begun = [
        one
        for one in found
        if any(_new(o, t) and len(t) > 1 for o, t in zip(one, tried, strict=True))
    ]
    return begun or found


def _new(option: int, tried: set[int]) -> bool:
    return option not in tried


def _changed(sizes: Sequence[int], code: _Code) -> list[_Code]:
    """Everything that differs from `code` in one choice."""
    return [
        (*code[:choice], option, *code[choice + 1 :])
        for choice, size in enumerate(sizes)
        for option in range(size)
        if option != code[choice]
    ]


def _pool(
    sizes: Sequence[int], seen: Sequence[_Code], scores: Floats, rng: np.random.Generator
) -> Codes:
    """What the model is asked about: all that was not seen or, of very many, some at random and
    what is close to the best."""
    if math.prod(sizes) <= _POOL:
        every = set(itertools.product(*map(range, sizes)))
    else:
        drawn = np.stack([rng.integers(0, size, _POOL) for size in sizes], 1)
        every = {*map(tuple, drawn.tolist()), *_changed(sizes, seen[int(scores.argmax())])}
    return np.array(sorted(every.difference(seen)), np.intp)


def _promising(
    pool: Codes, seen: Sequence[_Code], scores: Floats, rng: np.random.Generator
) -> _Code:
    """The one of the pool with the largest expected improvement."""
    spread = float(scores.std()) or 1.0
    model = _Model.fit(np.array(seen, np.intp), (scores - scores.mean()) / spread)
    mean, deviation = model.predict(pool)
    ahead = (mean - (scores.max() - scores.mean()) / spread) / deviation
    worth = deviation * (ahead * _below(ahead) + np.exp(-(ahead**2) / 2) / math.sqrt(2 * math.pi))
    worth += rng.uniform(0.0, 1e-9, len(worth))  # among equals, any
    return tuple(pool[int(worth.argmax())].tolist())


def _below(value: Floats) -> Floats:
    """The standard normal distribution function."""
    return np.array([0.5 * math.erfc(-one / math.sqrt(2)) for one in value.tolist()])


@dataclass(frozen=True)
class _Model:
    """Scores of mean 0 and deviation 1 as a Gaussian process over configurations."""

    seen: Codes
    importance: Floats  # of each choice
    pairs: float
    solved: Floats  # inverse of the kernel matrix times the scores
    factor: Floats  # lower Cholesky factor of that matrix
    variance: float

    @classmethod
    def fit(cls, seen: Codes, scores: Floats) -> _Model:
        """Importances by coordinate ascent on the marginal likelihood, chapter 5 of the book."""
        best = cls._given(seen, scores, np.full(seen.shape[1], _EXPECTED), _PAIRS[0])
        for _ in range(_SWEEPS):
            trials = [(c, value) for c in range(seen.shape[1]) for value in _IMPORTANCE]
            for choice, value in trials:
                changed = best.importance.copy()
                changed[choice] = value
                other = cls._given(seen, scores, changed, best.pairs)
                best = max(best, other, key=_Model._likelihood)
            for pairs in _PAIRS:
                other = cls._given(seen, scores, best.importance, pairs)
                best = max(best, other, key=_Model._likelihood)
        return best

    @classmethod
    def _given(cls, seen: Codes, scores: Floats, importance: Floats, pairs: float) -> _Model:
        matrix = _kernel(seen, seen, importance, pairs) + _NOISE * np.eye(len(seen))
        factor = np.asarray(np.linalg.cholesky(matrix), np.float64)
        solved = np.asarray(np.linalg.solve(matrix, scores), np.float64)
        variance = max(float(scores @ solved) / len(scores), 1e-12)
        return cls(seen, importance, pairs, solved, factor, variance)

    def _likelihood(self) -> float:
        """Its logarithm, with the variance at its best and a log-normal prior of importances."""
        fit = -0.5 * len(self.seen) * math.log(self.variance)
        size = float(np.log(np.diag(self.factor)).sum())
        strange = float(np.square(np.log(self.importance / _EXPECTED)).sum())
        return fit - size - strange / (2 * _SPREAD**2)

    def predict(self, pool: Codes) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the scores of configurations."""
        shared = _kernel(pool, self.seen, self.importance, self.pairs)
        explained = np.square(np.linalg.solve(self.factor, shared.T)).sum(0)
        left = np.maximum(1.0 - explained, 1e-9) * self.variance
        return shared @ self.solved, np.sqrt(left)


def _kernel(one: Codes, other: Codes, importance: Floats, pairs: float) -> Floats:
    """1 where all choices agree, 0 where none does."""
    agree = (one[:, None] == other[None]).astype(np.float64)
    alone = agree @ importance
    both = alone**2 - agree @ importance**2
    total = float(importance.sum())
    most = max(total**2 - float(importance @ importance), 1e-12)
    return np.asarray((1.0 - pairs) / total * alone + pairs / most * both, np.float64)
