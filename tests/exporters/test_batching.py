"""Awkward models: every cut continues the head bit for bit, and rows of a batch stay apart."""

import pytest
import torch
from torch import nn

from exporters.batching import batch_first, batched_twin
from exporters.capture import capture, check_model, flat_graph
from exporters.graphfile import TailProgram
from exporters.splitting import choose_cuts, cut_points, find_cut, head_graph
from headtail.errors import SourceFault, TensorMismatch, UnknownName
from tests.exporters.awkward import AWKWARD, IMAGE, ONE_SAMPLE, Folded, SequenceFirst
from tests.exporters.nets import Residual, TwoOutputs, settle

MODELS = {
    **AWKWARD,
    "Residual": lambda: (settle(Residual()), (IMAGE,)),
    "TwoOutputs": lambda: (settle(TwoOutputs()), (IMAGE,)),
}


class Prepared:
    def __init__(self, name, folder):
        self.name = name
        self.model, self.example = MODELS[name]()
        self.graph = flat_graph(capture(self.model, self.example))
        self.twin = batched_twin(self.model, self.example, self.graph)
        self.cuts = batch_first(cut_points(self.graph, self.example), self.twin)
        paths = folder / "program.json", folder / "weights.safetensors"
        TailProgram.of(self.twin or self.graph, one_sample=self.twin is None).write(*paths)
        self.tail = TailProgram.read(*paths)

    def rows(self, count):
        generator = torch.Generator().manual_seed(count)
        return [
            torch.cat([v[:, torch.randperm(v.shape[1], generator=generator)] for _ in range(count)])
            for v in self.example
        ]

    def alone(self, rows):
        answers = [self.graph(*(v[i : i + 1] for v in rows)) for i in range(len(rows[0]))]
        return [torch.cat(parts) for parts in zip(*answers, strict=True)]


@pytest.fixture(scope="module", params=sorted(MODELS))
def prepared(request, tmp_path_factory):
    return Prepared(request.param, tmp_path_factory.mktemp(request.param))


def as_list(value):
    return list(value) if isinstance(value, (tuple, list)) else [value]


def close(right, seen):
    torch.testing.assert_close(seen, right, rtol=1e-5, atol=1e-5)


def test_the_flat_graph_is_the_model(prepared):
    with torch.no_grad():
        expected = as_list(prepared.model(*prepared.example))
    for right, seen in zip(expected, prepared.graph(*prepared.example), strict=True):
        close(right, seen)


def test_which_models_take_one_sample(prepared):
    assert prepared.tail.one_sample == (prepared.name in ONE_SAMPLE)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_rows_of_a_batch_are_answered_as_if_alone(prepared, count):
    rows = prepared.rows(count)
    module = prepared.tail.enter(prepared.tail.input_names)
    if prepared.tail.one_sample and count > 1:
        with pytest.raises(TensorMismatch, match="one sample at a time"):
            module(*rows)
        return
    with torch.no_grad():
        for right, seen in zip(prepared.alone(rows), module(*rows), strict=True):
            close(right, seen)


def test_every_cut_continues_bit_for_bit_and_in_batches(prepared):
    assert prepared.cuts
    batch = 1 if prepared.tail.one_sample else 2
    expected = prepared.graph(*prepared.example)
    for cut in prepared.cuts:
        tail = prepared.tail.enter([spec.name for spec in cut.tensors])
        with torch.no_grad():
            boundary = head_graph(prepared.graph, cut)(*prepared.example)
            for right, seen in zip(expected, tail(*boundary), strict=True):
                assert torch.equal(right, seen), cut.id
            together = tail(*(torch.cat([value] * batch) for value in boundary))
        for right, seen in zip(expected, together, strict=True):
            close(torch.cat([right] * batch), seen)


def test_boundaries_hold_what_the_wire_takes(prepared):
    for cut in prepared.cuts:
        for spec in cut.tensors:
            assert spec.shape[0] == 1, (cut.id, str(spec))
            assert spec.dtype == "f32"


def test_cuts_have_names_of_their_own(prepared):
    names = [cut.id for cut in prepared.cuts]
    assert len(set(names)) == len(names)
    for cut in prepared.cuts:
        assert find_cut(prepared.cuts, cut.id) == cut


def test_heads_can_be_captured_again(prepared):
    elements = sum(value.numel() for value in prepared.example)
    for cut in choose_cuts(prepared.cuts, input_elements=elements) or prepared.cuts[:2]:
        program = capture(head_graph(prepared.graph, cut), prepared.example)
        with torch.no_grad():
            seen = program.module(check_guards=False)(*prepared.example)
        assert [tuple(t.shape) for t in seen] == [spec.shape for spec in cut.tensors]


def test_places_with_another_axis_0_are_no_cuts():
    """Heads folded into the batch, or the sequence first: the wire could not stack them."""
    for kind in (SequenceFirst, Folded):
        graph = flat_graph(capture(settle(kind()), (IMAGE,)))
        twin = batched_twin(settle(kind()), (IMAGE,), graph)
        assert twin is not None
        points = cut_points(graph, (IMAGE,))
        kept = batch_first(points, twin)
        assert 0 < len(kept) < len(points)
        left_out = next(point for point in points if point not in kept)
        with pytest.raises(UnknownName, match="Known: "):
            find_cut(kept, left_out.node)


def test_a_cut_is_found_by_its_id_before_a_node_of_that_name():
    class Clash(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
            self.conv2d = nn.Linear(30, 8)  # its node is called linear

        def forward(self, x):
            return self.conv2d(self.linear(x)).mean((2, 3))

    graph = flat_graph(capture(settle(Clash()), (IMAGE,)))
    points = cut_points(graph, (IMAGE,))
    assert len({p.id for p in points}) == len(points)
    assert find_cut(points, "linear").node == "relu"
    assert find_cut(points, "relu").node == "relu"


def test_positions_do_not_cross_the_wire(tmp_path):
    prepared = Prepared("Tokens", tmp_path)
    for cut in prepared.cuts:
        assert "arange" not in {spec.name for spec in cut.tensors}
    assert "i64" in {
        "i64" if w.dtype == torch.int64 else "" for w in prepared.tail._weights.values()
    }


class Counts(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls: torch.Tensor
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x):
        self.calls += 1
        return x.mean((2, 3)) + self.calls


class Scribbles(nn.Module):
    def forward(self, x):
        x += 1
        return x.mean((2, 3))


class Drops(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(3, 4, 3), AlwaysOn())

    def forward(self, x):
        return self.inner(x)


class AlwaysOn(nn.Module):
    def forward(self, x):
        return nn.functional.dropout(x, 0.5)  # training=True is the default


class Noise(nn.Module):
    def forward(self, x):
        return x + torch.randn_like(x)


class Nothing(nn.Module):
    def forward(self, x):
        return ()


class Number(nn.Module):
    def forward(self, x):
        return x + 1, 3


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Counts, r"writes to 'calls'.*Take the state as an input"),
        (Scribbles, r"writes to 'x'"),
        (Drops, r"draws random numbers.*dropout.*'inner\.1'.*training=self\.training"),
        (Noise, r"draws random numbers.*randn_like"),
        (Nothing, "returns nothing"),
        (Number, r"returns 3\..*returns its tensors only"),
    ],
)
def test_what_cannot_be_split_or_repeated_is_refused(kind, words):
    with pytest.raises(SourceFault, match=words):
        capture(kind().eval(), (IMAGE,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_model_that_is_not_float32_is_refused(dtype):
    with pytest.raises(SourceFault, match=rf"'stem\.0\.weight' is {str(dtype)[6:]}.*model\.float"):
        check_model(settle(Residual()).to(dtype), (IMAGE,))


def test_switched_off_dropout_is_no_randomness():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout2d(), nn.AlphaDropout(), nn.RReLU())
    graph = flat_graph(capture(model.eval(), (IMAGE,)))
    torch.testing.assert_close(graph(IMAGE)[0], model(IMAGE))


def test_the_callers_model_keeps_its_gradients():
    model = settle(Residual())
    graph = flat_graph(capture(model, (IMAGE,)))
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(parameter.requires_grad for parameter in graph.parameters())
