"""What a user knows of evaluation inputs: the right class of each, and the slice it belongs to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from headtail.errors import SourceFault

__all__ = ["checked_labels", "checked_slices"]


def checked_labels(given: Iterable[Any], count: int, classes: int) -> tuple[int, ...]:
    """One class index for each of `count` inputs, or none at all.

    Integers of any kind, and tensors or arrays of one. Raises `SourceFault` for another count, for
    what is no whole number, and for an index that `classes` names do not reach.
    """
    found = [np.asarray(label) for label in given]
    if not found:
        return ()
    _check_count("labels", "get_eval_labels()", len(found), count)
    wrong = [i for i, label in enumerate(found) if label.dtype.kind not in "iu" or label.size != 1]
    if wrong:
        raise _refused(f"Evaluation label {wrong[0]} is {str(found[wrong[0]])[:60]!r}", classes)
    indices = tuple(int(label.item()) for label in found)
    if min(indices) < 0 or max(indices) >= classes:
        raise _refused(f"Evaluation labels reach from {min(indices)} to {max(indices)}", classes)
    return indices


def checked_slices(given: Iterable[Any], count: int) -> tuple[str, ...]:
    """One name for each of `count` inputs, or none; raises `SourceFault` for anything else."""
    found = [given] if isinstance(given, str) else list(given)
    if not found:
        return ()
    _check_count("slices", "get_eval_slices()", len(found), count)
    wrong = next((name for name in found if not isinstance(name, str) or not name), None)
    if wrong is not None:
        raise SourceFault(
            f"{wrong!r} is to name the slice of an evaluation input.",
            expected="A string that is not empty, such as the place or the light of a photo.",
            remedy="Convert them: [str(name) for name in names].",
        )
    return tuple(found)


def _check_count(what: str, function: str, found: int, wanted: int) -> None:
    if found != wanted:
        raise SourceFault(
            f"There are {found} {what} for {wanted} evaluation inputs.",
            expected="One for each input, in the order of get_eval_batches().",
            remedy=f"Correct {function}, or leave it out.",
        )


def _refused(what: str, classes: int) -> SourceFault:
    names = f"from 0 to {classes - 1}" if classes else "of those that get_labels() names: none"
    return SourceFault(
        f"{what}.",
        expected=f"An evaluation label is the index of a class, {names}.",
        remedy="Return indices from get_eval_labels(), and every class's name from get_labels().",
    )
