import json

import pytest

from companion_server.problems import DeadlinePassed, NotReady, problem
from headtail import errors


def three(kind, **more):
    return kind("What.", expected="Expected.", remedy="Remedy.", **more)


# the table of the design, section 5: written out so that a change of the tree is noticed here
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (three(errors.WireFault), 400),
        (three(errors.UsageFault), 400),
        (errors.SchemaFault("Bad", "$.inputs", remedy="Fix."), 400),
        (errors.UnknownName("model", "x", ["y"]), 404),
        (three(errors.BundleMismatch, held={"id": ["c1"]}), 409),
        (three(errors.TooLarge), 413),
        (three(errors.TensorMismatch), 422),
        (three(NotReady), 503),
        (three(DeadlinePassed), 504),
    ],
)
def test_status_and_body(error, status):
    response = problem(error)
    assert response.status_code == status
    assert json.loads(bytes(response.body))["error"] == str(error)


def test_a_mismatch_lists_what_is_held():
    body = json.loads(bytes(problem(three(errors.BundleMismatch, held={"id": ["c1"]})).body))
    assert body == {"error": "What. Expected. Remedy.", "held": {"id": ["c1"]}}


def test_a_refused_body_ends_the_connection():
    assert problem(three(errors.TooLarge)).headers["connection"] == "close"
    assert "connection" not in problem(three(errors.TensorMismatch)).headers
