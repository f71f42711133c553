"""LiteRT: one file with a signature per entry point, weights shared."""

import pytest

from tests.exporters import converter_contract as contract
from tests.exporters.converted import converted

pytestmark = pytest.mark.slow
NAMES = ["Ordered", "TwoOutputs", "Tokens", "Listed", "Parts", "HalfInput"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.getbasetemp()


@pytest.mark.parametrize("name", NAMES)
def test_every_entry_point_answers_as_pytorch_does(base, name):
    contract.check_answers(converted(base, "litert", name))


def test_inputs_and_outputs_keep_their_order(base):
    contract.check_inputs_are_not_interchangeable(converted(base, "litert", "Ordered"))


def test_entry_points_share_their_weights(base):
    contract.check_weights_are_shared(base, "litert")


def test_the_same_program_gives_the_same_bytes(base):
    contract.check_same_bytes(base, "litert")
