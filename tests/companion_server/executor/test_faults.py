import pytest

from companion_server.conditions import NotReady
from companion_server.executor.faults import from_fault, to_fault
from headtail.errors import (
    BundleMismatch,
    EnvironmentFault,
    HeadtailError,
    IntegrityFault,
    SchemaFault,
    TensorMismatch,
    UsageFault,
)

TEXTS = {"expected": "That.", "remedy": "Do so."}


@pytest.mark.parametrize(
    "error",
    [
        TensorMismatch("This.", **TEXTS),
        NotReady("This.", **TEXTS),
        EnvironmentFault("This.", **TEXTS),
        UsageFault("This.", **TEXTS),
        IntegrityFault("This.", file="tail/program.json", **TEXTS),
        BundleMismatch("This.", held={"abc": ["c1"]}, **TEXTS),
        SchemaFault("No such key", "$.calls", remedy="Do so."),
    ],
)
def test_an_error_arrives_as_what_it_was(error):
    found = from_fault(to_fault(error))
    assert type(found) is type(error)
    assert str(found) == str(error)
    assert (found.exit_code, found.http_status) == (error.exit_code, error.http_status)
    for name in ("file", "held", "path"):
        assert getattr(found, name, None) == getattr(error, name, None)


def test_any_other_error_arrives_as_an_internal_one():
    found = from_fault(to_fault(ValueError("no such operator")))
    assert type(found) is HeadtailError
    assert "ValueError: no such operator" in str(found)
    assert found.http_status == 500
