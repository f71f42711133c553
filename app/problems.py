"""An error as a person meets it: what happened, what to do, and the full text to pass on."""

from __future__ import annotations

import errno
import traceback
from dataclasses import dataclass

from app.figures import drawable
from headtail.errors import HeadtailError

__all__ = ["Problem", "problem_of"]


@dataclass(frozen=True)
class Problem:
    """`what`, what to do about it (`remedy`), and `full_text`, which Copy copies."""

    what: str
    remedy: str
    full_text: str


_FULL = "There is no room left. Delete a model or something else, then try again."
_BARRED = "The app may not use that place. Choose another, or allow it."
_REMEDIES: dict[int | None, str] = {  # what a person can do where the system says no
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: _FULL,
    errno.EACCES: _BARRED,
    errno.EPERM: _BARRED,
    errno.EROFS: _BARRED,
    errno.EIO: "The storage has a fault. Try again, and keep your data somewhere else as well.",
}


def problem_of(error: Exception) -> Problem:
    """Ours as its sentences, any other with its traceback to copy."""
    problem = _problem_of(error)
    return Problem(*map(drawable, (problem.what, problem.remedy, problem.full_text)))


def _problem_of(error: Exception) -> Problem:
    if isinstance(error, HeadtailError):
        return Problem(error.what, f"{error.expected} {error.remedy}", str(error))
    details = "".join(traceback.format_exception(error))
    if isinstance(error, OSError) and error.errno in _REMEDIES:
        where = error.filename or "a file that the app reads or writes"
        return Problem(f"{error.strerror}: {where}.", _REMEDIES[error.errno], details)
    if isinstance(error, MemoryError):
        remedy = "Close other apps, or choose a smaller model or picture; you can go on meanwhile."
        return Problem("There was not enough memory.", remedy, details)
    return Problem(
        f"Something unexpected went wrong: {type(error).__name__}.",
        "Copy the details and report them; you can go on meanwhile.",
        details,
    )
