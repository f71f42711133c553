"""ExecuTorch on a desk: real files through the real runtime."""

import importlib.util

import numpy as np
import pytest

from headtail.errors import RuntimeUnavailable
from headtail.runtimes.executorch_desk import ExecuTorchDesk
from tests.exporters.converted import converted
from tests.headtail.runtimes import session_contract as contract

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return converted(tmp_path_factory.getbasetemp(), "executorch", "Ordered")


@pytest.mark.parametrize(
    "check",
    [
        contract.check_wrong_inputs,
        contract.check_inputs_are_left_alone,
        contract.check_results_are_the_callers,
        contract.check_unknown_entry,
        contract.check_entry_the_manifest_lacks,
        contract.check_closed,
        contract.check_another_manifest,
    ],
)
def test_the_session_keeps_the_contract(made, check):
    check(made)


def test_broken_files_are_named(made, tmp_path):
    contract.check_broken_files(made, tmp_path)


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


def test_two_sessions_at_once_do_not_disturb_each_other(made):
    first, second = made.load(), made.load()
    before = first.run("forward", made.inputs)
    second.run("forward", [array * 3 for array in made.inputs])
    second.close()
    for right, seen in zip(before, first.run("forward", made.inputs), strict=True):
        np.testing.assert_array_equal(right, seen)
    first.close()
