"""An error as a person meets it: what happened, what to do, and the full text to pass on."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from headtail.errors import HeadtailError

__all__ = ["Problem", "problem_of"]


@dataclass(frozen=True)
class Problem:
    """`what`, what to do about it (`remedy`), and `full_text`, which Copy copies."""

    what: str
    remedy: str
    full_text: str


def problem_of(error: Exception) -> Problem:
    """Ours as its sentences, any other with its traceback to copy."""
    if isinstance(error, HeadtailError):
        return Problem(error.what, f"{error.expected} {error.remedy}", str(error))
    return Problem(
        f"Something unexpected went wrong: {type(error).__name__}.",
        "Copy the details and report them; you can go on meanwhile.",
        "".join(traceback.format_exception(error)),
    )
