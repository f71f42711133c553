"""Errors as a person meets them: those that a phone makes every day are no mystery."""

import errno
import os
from pathlib import Path

import pytest

from app.problems import problem_of
from headtail.errors import UsageFault


def raised(error):
    try:
        raise error
    except type(error) as caught:
        return problem_of(caught)


def test_ours_is_its_sentences():
    problem = raised(UsageFault("It is 3.", expected="It must be 4.", remedy="Add 1."))
    assert (problem.what, problem.remedy) == ("It is 3.", "It must be 4. Add 1.")


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "no room left"),
        (errno.EDQUOT, "no room left"),
        (errno.EACCES, "may not use that place"),
        (errno.EROFS, "may not use that place"),
        (errno.EIO, "storage has a fault"),
    ],
)
def test_what_the_system_refuses_is_said_in_its_words(number, remedy):
    problem = raised(OSError(number, os.strerror(number), "/there/report.md"))
    assert problem.what == f"{os.strerror(number)}: /there/report.md."
    assert remedy in problem.remedy
    assert "Traceback" in problem.full_text


def test_a_real_refusal(tmp_path):
    with pytest.raises(OSError, match="Is a directory") as caught:
        Path(tmp_path).write_bytes(b"")
    assert problem_of(caught.value).what == "Something unexpected went wrong: IsADirectoryError."


def test_memory_is_a_reason_of_its_own():
    assert raised(MemoryError()).what == "There was not enough memory."


def test_a_name_that_is_no_text_can_be_drawn():
    """As `os.fsdecode` gives a name in Latin-1; kivy ends the app over it."""
    problem = raised(UsageFault("caf\udce9 is none.", expected="One.", remedy="Choose \udce9."))
    assert (problem.what, problem.remedy) == ("caf? is none.", "One. Choose ?.")
    assert raised(ValueError("\udce9")).full_text.isascii()
