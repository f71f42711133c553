"""Stages are begun, timed and ended, whatever happens in them."""

import pytest

from exporters.progress import Quiet, StageClock


class Heard:
    def __init__(self):
        self.said = []

    def begin(self, stage):
        self.said.append(("begin", stage))

    def note(self, text):
        self.said.append(("note", text))

    def end(self, stage, seconds):
        assert seconds >= 0
        self.said.append(("end", stage))


def test_a_stage_is_told_and_timed():
    heard = Heard()
    clock = StageClock(heard)
    with clock.stage("convert"):
        clock.progress.note("half way")
    assert heard.said == [("begin", "convert"), ("note", "half way"), ("end", "convert")]
    assert list(clock.seconds) == ["convert"]


def test_a_stage_that_fails_is_ended_and_its_error_passes():
    heard = Heard()
    clock = StageClock(heard)
    with pytest.raises(ZeroDivisionError), clock.stage("verify"):
        raise ZeroDivisionError
    assert heard.said == [("begin", "verify"), ("end", "verify")]
    assert "verify" in clock.seconds


def test_quiet_says_nothing(capsys):
    with StageClock(Quiet()).stage("pack"):
        Quiet().note("a remark")
    assert capsys.readouterr() == ("", "")
