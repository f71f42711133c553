import pytest

from tests.support.capabilities import require


def test_what_is_there_lets_the_test_go_on(monkeypatch):
    monkeypatch.setenv("HEADTAIL_REQUIRE_ALL", "1")
    require(True, "never shown")


def test_what_is_missing_skips_with_its_reason(monkeypatch):
    monkeypatch.delenv("HEADTAIL_REQUIRE_ALL", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no GL"):
        require(False, "no GL")


def test_what_is_missing_fails_where_nothing_may_be(monkeypatch):
    monkeypatch.setenv("HEADTAIL_REQUIRE_ALL", "1")
    with pytest.raises(pytest.fail.Exception, match="HEADTAIL_REQUIRE_ALL=1 but: no GL"):
        require(False, "no GL")
