"""Core ML, read by the reference interpreter: a function per entry point, weights shared."""

import json
import uuid

import pytest
import torch
from torch import nn

from exporters.mil.evaluation import Program
from headtail.errors import ConversionFailed
from tests.exporters import converter_contract as contract
from tests.exporters.converted import convert, converted

pytestmark = pytest.mark.slow
NAMES = ["Ordered", "TwoOutputs", "Tokens", "Listed", "Parts", "HalfInput"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.getbasetemp()


@pytest.mark.parametrize("name", NAMES)
def test_every_entry_point_answers_as_pytorch_does(base, name):
    contract.check_answers(converted(base, "coreml", name))


def test_inputs_and_outputs_keep_their_order(base):
    contract.check_inputs_are_not_interchangeable(converted(base, "coreml", "Ordered"))


def test_entry_points_share_their_weights(base):
    contract.check_weights_are_shared(base, "coreml")


def test_the_same_program_gives_the_same_bytes(base):
    contract.check_same_bytes(base, "coreml")


def test_the_inputs_keep_the_names_of_the_arguments(base):
    package = converted(base, "coreml", "Ordered").path
    for function in Program(package).functions.values():
        assert [name for name, _ in function.code.inputs] == ["zeta", "alpha", "middle"]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool])
def test_inputs_that_core_ml_cannot_hold_are_refused(tmp_path, dtype):
    model = nn.Flatten().eval()
    with pytest.raises(
        ConversionFailed, match=r"Core ML takes no input like input_1:.*f32, f16, i32"
    ):
        convert(
            model,
            (torch.zeros(1, 3, 4, dtype=dtype),),
            format="coreml",
            cuts=(),
            folder=tmp_path / "net",
        )


def test_identifiers_are_not_random(base):
    manifest = json.loads(
        (converted(base, "coreml", "TwoOutputs").path / "Manifest.json").read_text()
    )
    identifiers = set(manifest["itemInfoEntries"])
    assert manifest["rootModelIdentifier"] in identifiers
    assert len(identifiers) == 2
    for identifier, item in manifest["itemInfoEntries"].items():
        assert identifier == str(uuid.uuid5(uuid.NAMESPACE_URL, item["path"])).upper()


def test_nothing_is_left_in_scratch(base):
    scratch = converted(base, "coreml", "TwoOutputs").path.parent / "scratch"
    assert list(scratch.iterdir()) == []
