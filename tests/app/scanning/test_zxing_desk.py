"""The desk's reader on pictures of a server's own codes."""

import importlib.util
import sys

import pytest

from app.scanning.zxing_desk import ZXingDesk
from tests.app.scanning.reader_contract import CHECKS
from tests.support.capabilities import require


@pytest.mark.parametrize("check", CHECKS)
def test_it_keeps_the_contract(check):
    require(importlib.util.find_spec("zxingcpp") is not None, "pip install zxing-cpp")
    check(ZXingDesk())


def test_absent_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(sys, "path", [])  # nothing is found, as where it is not installed
    monkeypatch.delitem(sys.modules, "zxingcpp", raising=False)
    capability = ZXingDesk().probe()
    assert not capability.available
    assert "zxing-cpp" in capability.reason
    assert "pip install zxing-cpp" in capability.reason
