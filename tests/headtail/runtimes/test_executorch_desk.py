"""ExecuTorch on a desk: real files through the real runtime."""

import importlib.util

import pytest

from headtail.errors import RuntimeUnavailable
from headtail.runtimes.executorch_desk import ExecuTorchDesk
from tests.exporters.converted import converted
from tests.headtail.runtimes import session_contract as contract

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return converted(tmp_path_factory.getbasetemp(), "executorch", "Ordered")


@pytest.mark.parametrize("check", contract.CHECKS)
def test_the_session_keeps_the_contract(made, check):
    check(ExecuTorchDesk(), made)


def test_broken_files_are_named(made, tmp_path):
    contract.check_broken_files(ExecuTorchDesk(), made, tmp_path)


def test_a_missing_package_is_told_with_its_remedy(made, monkeypatch):
    real = importlib.util.find_spec
    absent = "executorch"
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == absent else real(name, *rest),
    )
    assert "pip install 'headtail[export]'" in ExecuTorchDesk().probe().reason
    with pytest.raises(RuntimeUnavailable, match=r"is not installed.*pip install"):
        ExecuTorchDesk().load(made.path, entries=made.entries)
