"""What would convert and then be wrong is refused before it is converted, with a remedy."""

from dataclasses import dataclass

import pytest
import torch
import torch.utils._pytree as pytree
from torch import nn

from exporters.capture import (
    capture,
    capture_batched,
    check_model,
    flat_graph,
    input_specs,
    output_specs,
)
from headtail.errors import SourceFault
from tests.exporters.nets import Residual, TwoOutputs, settle

IMAGE = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_a_model_in_train_mode_is_refused_by_module():
    model = Residual()
    settle(model)
    model.stem.train()
    with pytest.raises(SourceFault, match=r"train mode \(4 modules, first 'stem'\).*model.eval"):
        check_model(model, (IMAGE,))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (torch.zeros(1, 3, dtype=torch.complex64), "input 0 is complex64"),
        (torch.zeros(1, 3, dtype=torch.int16), "input 0 is int16"),
        (torch.zeros(1, 3, dtype=torch.float64), r"input 0 is float64.*x\.float\(\)"),
        (torch.zeros(1, 3, 8, 8).to(memory_format=torch.channels_last), "not contiguous.*x.contig"),
        (torch.zeros(4, 3), r"shape \[4, 3\].*x\[:1\]"),
        ([1.0, 2.0], "input 0 is a list"),
    ],
)
def test_an_input_no_phone_takes_is_refused(value, words):
    with pytest.raises(SourceFault, match=words):
        check_model(nn.Identity().eval(), (value,))


def test_no_inputs_are_refused():
    with pytest.raises(SourceFault, match="no example inputs"):
        check_model(nn.Identity().eval(), ())


@dataclass
class Scores:
    logits: torch.Tensor
    hidden: torch.Tensor


pytree.register_dataclass(Scores)


class Returns(nn.Module):
    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self, x):
        return self.make(x * 2, x.mean((2, 3)), x.amax((2, 3)))


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda a, b, c: a, ["output"]),
        (lambda a, b, c: (a,), ["output"]),
        (lambda a, b, c: [a, b], ["output_0", "output_1"]),
        (lambda a, b, c: {"low": a, "high": b}, ["low", "high"]),
        (lambda a, b, c: (a, (b, c)), ["output_0", "output_1_0", "output_1_1"]),
        (lambda a, b, c: {"p": [a, b], "q": {"r": c}}, ["p_0", "p_1", "q_r"]),
        (lambda a, b, c: Scores(a, b), ["logits", "hidden"]),
        (lambda a, b, c: {"a b": a, "a-b": b, 3: c}, ["a_b_0", "a_b_1", "output_3"]),
        (
            lambda a, b, c: {"a_0_0": a, "a": {"0 0": b}, "a_0": {0: c}},
            ["a_0_0_0", "a_0_0_1", "a_0_0_2"],
        ),
        (lambda a, b, c: {"a_0": a, "a": {"0": b}, "": c}, ["a_0_0", "a_0_1", "value"]),
    ],
    ids=[
        "one",
        "tuple of one",
        "list",
        "dict",
        "nested",
        "deep",
        "dataclass",
        "odd keys",
        "three alike",
        "two alike",
    ],
)
def test_outputs_of_any_structure_have_stable_names(make, names):
    graph = flat_graph(capture(Returns(make).eval(), (IMAGE,)))
    assert [spec.name for spec in output_specs(graph)] == names
    expected = pytree.tree_leaves(Returns(make)(IMAGE))
    for right, seen in zip(expected, graph(IMAGE), strict=True):
        assert torch.equal(right, seen)


@pytest.mark.parametrize("made", [3, "text", None, ()], ids=repr)
def test_what_is_no_tensor_is_refused(made):
    with pytest.raises(SourceFault, match=r"The model returns .*Wrap the model"):
        capture(Returns(lambda a, b, c: made).eval(), (IMAGE,))


def test_an_untraceable_model_names_its_reason():
    class Depends(nn.Module):
        def forward(self, x):
            return x + 1 if x.sum().item() > 0 else x

    with pytest.raises(
        SourceFault,
        match=r"cannot capture the model at test_capture.py:\d+ \(return x \+ 1 if x.sum",
    ):
        capture(Depends().eval(), (IMAGE,))


def test_specs_name_inputs_and_outputs():
    graph = flat_graph(capture(settle(TwoOutputs()), (IMAGE,)))
    assert [str(spec) for spec in input_specs(graph)] == ["image:f32[1,3,32,32]"]
    assert [str(spec) for spec in output_specs(graph)] == [
        "output_0:f32[1,2,32,32]",
        "output_1:f32[1,3]",
    ]


def test_the_flat_graph_is_the_model_without_dropout():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(0.5), nn.ReLU()).eval()
    graph = flat_graph(capture(model, (IMAGE,)))
    targets = {str(node.target) for node in graph.graph.nodes}
    assert not [t for t in targets if "dropout" in t or "guards" in t]
    assert torch.equal(graph(IMAGE)[0], model(IMAGE))


def test_a_model_that_fixes_its_batch_has_no_batched_capture():
    class Fixed(nn.Module):
        def forward(self, x):
            return x.reshape(1, 3, -1)

    assert capture_batched(Fixed().eval(), (IMAGE,)) is None
    assert capture_batched(settle(Residual()), (IMAGE,)) is not None
