"""int64 stays inside, and an attention mask crosses every cut of a text model unharmed."""

import numpy as np
import pytest
import torch
from torch import nn

from exporters.batching import batch_first, batched_twin
from exporters.capture import capture, flat_graph, input_specs, output_specs
from exporters.captured import capture_source
from exporters.graphfile import TailProgram
from exporters.source import from_module
from exporters.splitting import cut_points, head_graph
from headtail.manifest import Cut, QuantTable
from headtail.wire.boundary import decode_boundary, encode_boundary
from headtail.wire.codecs import CODEC_IDS
from tests.exporters.nets import settle

IDS = torch.randint(0, 50, (1, 12), generator=torch.Generator().manual_seed(3))
MASK = (torch.arange(12) < 7)[None].long()


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(16, 48)
        self.out = nn.Linear(16, 16)

    def forward(self, x, mask):
        q, k, v = self.qkv(x).reshape(x.shape[0], -1, 3, 16).unbind(2)
        y = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return x + self.out(y)


class TextEncoder(nn.Module):
    """Padded tokens: a mask that every layer needs; the end is found by its token."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        self.first, self.second = Layer(), Layer()

    def forward(self, input_ids, attention_mask):
        mask = attention_mask.bool()
        square = mask[:, None, :] & mask.new_ones(1, 12, 1)
        x = self.second(self.first(self.embed(input_ids), square), square)
        last = (input_ids == 7).int().argmax(1)
        return {"hidden": x, "pooled": x.gather(1, last[:, None, None].expand(-1, 1, 16))}


@pytest.fixture(scope="module")
def encoder():
    model = settle(TextEncoder())
    graph = flat_graph(capture(model, (IDS, MASK)))
    return model, graph, cut_points(graph, (IDS.int(), MASK.int()))


def test_tokens_are_int32_outside_and_int64_inside(encoder):
    model, graph, _ = encoder
    assert [str(spec) for spec in input_specs(graph)] == [
        "input_ids:i32[1,12]",
        "attention_mask:i32[1,12]",
    ]
    assert [spec.name for spec in output_specs(graph)] == ["hidden", "pooled"]
    for right, seen in zip(model(IDS, MASK).values(), graph(IDS.int(), MASK.int()), strict=True):
        assert torch.equal(right, seen)


def test_int64_outputs_are_int32():
    class Place(nn.Module):
        def forward(self, x):
            return x.argmax(1), x.sum()[None]

    graph = flat_graph(capture(Place().eval(), (torch.randn(1, 5),)))
    assert [spec.dtype for spec in output_specs(graph)] == ["i32", "f32"]


def test_it_is_cut_between_its_layers_with_the_mask_as_numbers(encoder):
    _, _, cuts = encoder
    (cut,) = [cut for cut in cuts if cut.id == "first"]
    assert [spec.shape for spec in cut.tensors] == [(1, 12), (1, 12), (1, 12, 16)]
    assert {spec.dtype for spec in cut.tensors} == {"f32"}


def test_every_cut_continues_bit_for_bit_from_disk(encoder, tmp_path):
    model, graph, cuts = encoder
    twin = batched_twin(model, (IDS, MASK), graph)
    assert twin is not None
    paths = tmp_path / "program.json", tmp_path / "weights.safetensors"
    TailProgram.of(twin).write(*paths)
    tail = TailProgram.read(*paths)
    rows = torch.cat([IDS, IDS.roll(1)]).int(), torch.cat([MASK, MASK.roll(3)]).int()
    kept = batch_first(cuts, twin)
    assert len(kept) >= 4
    for cut in kept:
        module = tail.enter([spec.name for spec in cut.tensors])
        one = head_graph(graph, cut)(IDS.int(), MASK.int())
        for right, seen in zip(graph(IDS.int(), MASK.int()), module(*one), strict=True):
            assert torch.equal(right, seen), cut.id
        halves = [head_graph(graph, cut)(a[None], b[None]) for a, b in zip(*rows, strict=True)]
        both = module(*(torch.cat(parts) for parts in zip(*halves, strict=True)))
        for right, seen in zip(twin(*rows), both, strict=True):
            torch.testing.assert_close(seen, right)


@pytest.mark.parametrize("codec", CODEC_IDS)
def test_no_codec_changes_the_mask(encoder, codec):
    """Whatever the codec rounds, the tail sees the same tokens as the head did."""
    _, graph, cuts = encoder
    (point,) = [cut for cut in cuts if cut.id == "first"]
    arrays = [value.detach().numpy() for value in head_graph(graph, point)(IDS.int(), MASK.int())]
    rows = [[a.reshape(1, -1), np.moveaxis(a, 1, 0).reshape(a.shape[1], -1)] for a in arrays]
    whole, channels = zip(*[[table(r) for r in pair] for pair in rows], strict=True)
    edge = (point.id, point.node, point.tensors)
    cut = Cut(*edge, whole, channels, {}, 0.5, materialised=True, fidelity={})
    sent = decode_boundary(encode_boundary(arrays, cut, codec), cut)
    for before, after in list(zip(arrays, sent, strict=True))[:2]:
        assert np.array_equal(before > np.float32(0.5), after > np.float32(0.5))


def table(rows):
    return QuantTable(tuple(map(float, rows.min(1))), tuple(map(float, rows.max(1))))


def test_a_mask_of_floats_stays_a_mask():
    """`x > 0` follows from float32 values, which cross instead: nothing is added to the graph."""

    class Gate(nn.Module):
        def forward(self, x):
            return torch.where(x > 0, x, x * 0.1)

    graph = flat_graph(capture(Gate().eval(), (torch.randn(1, 5),)))
    assert len([n for n in graph.graph.nodes if n.op == "call_function"]) == 3


def test_a_model_without_cuts_says_why(tmp_path):
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(50, 4)

        def forward(self, ids):
            return self.embed(ids).sum(-1).int() + ids

    source = from_module(settle(Tokens()), (IDS,))
    captured, (remark,) = capture_source(source, tmp_path)
    assert captured.cuts == ()
    assert remark.startswith("the model is not split: at no place do only float32 tensors cross")
    wide = from_module(settle(nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3))), (X,))
    captured, (remark,) = capture_source(wide, tmp_path)
    assert captured.cuts == ()
    assert "fewer values cross than the input has" in remark


X = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(4))
