"""Every core operator type that coremltools registers for iOS13 to iOS18 is in our table."""

from __future__ import annotations

from typing import Any

import pytest

from exporters.mil.operators import OPERATIONS

from .conftest import quiet

pytestmark = pytest.mark.slow  # imports the converter

# `const` is a value in the file, not a computation; the reader decodes it. `_const_symbolic` stands
# for sizes while a network is being converted and has no form on disk.
NOT_COMPUTED = {"const", "_const_symbolic"}
# Its results are a label and a dictionary, which the interpreter does not carry.
NOT_YET = {"classify"}


@pytest.fixture(scope="module")
def registered(coremltools: Any) -> dict[str, Any]:
    """Operator -> its definitions per opset."""
    with quiet():
        from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry
    return dict(SSAOpRegistry.core_ops)


def test_every_operator_of_coremltools_is_known(registered: dict[str, Any]) -> None:
    assert len(registered) >= 168
    assert set(registered) - set(OPERATIONS) == NOT_COMPUTED | (NOT_YET - set(OPERATIONS))


def test_each_takes_the_inputs_that_its_definitions_list(registered: dict[str, Any]) -> None:
    wrong = {}
    for name, versions in registered.items():
        if name not in OPERATIONS:
            continue
        known = {*OPERATIONS[name].required, *OPERATIONS[name].optional}
        specs = [version.input_spec.input_types for version in versions.values()]
        needed = set.intersection(*({k for k, v in s.items() if not v.optional} for s in specs))
        listed = {key for spec in specs for key in spec if not key.startswith("_")}  # no blocks
        if known != listed or not set(OPERATIONS[name].required) <= needed:
            wrong[name] = (sorted(known ^ listed), sorted(set(OPERATIONS[name].required) - needed))
    assert wrong == {}
