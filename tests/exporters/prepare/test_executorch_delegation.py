"""What the rewrites are for: one XNNPACK partition that gives PyTorch's answer."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from exporters.capture import capture, flat_graph
from exporters.prepare import prepare
from headtail.metrics import snr_db

pytestmark = [
    pytest.mark.slow,
    # executorch 1.5.1 and torch warn each other of what they still use
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


class Windowed(nn.Module):
    """A convolutional stem, shifted windows of attention with a gathered bias, and a head."""

    index: torch.Tensor

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 4, stride=4)
        self.normed, self.projected = nn.LayerNorm(16), nn.Linear(16, 48)
        self.table = nn.Parameter(torch.randn(9, 2))
        self.register_buffer("index", torch.randint(0, 9, (16, 16)))
        self.mlp = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        y = self.stem(x).permute(0, 2, 3, 1)
        rolled = torch.roll(self.normed(y), (-2, -2), (1, 2))
        windows = rolled.view(1, 2, 4, 2, 4, 16).permute(0, 1, 3, 2, 4, 5).reshape(4, 16, 16)
        parts = self.projected(windows).reshape(4, 16, 3, 2, 8).permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.table[self.index.view(-1)].view(16, 16, 2).permute(2, 0, 1)[None]
        query, key, value = parts
        z = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        z = z.transpose(1, 2).reshape(1, 2, 2, 4, 4, 16).permute(0, 1, 3, 2, 4, 5)
        y = y + torch.roll(z.reshape(1, 8, 8, 16), (2, 2), (1, 2))
        y = y + self.mlp(y)
        return self.head(functional.normalize(y, dim=-1)[:, ::2].mean((1, 2)))


class TalkingHeads(nn.Module):
    """Softmax between convolutions, over the last axis of a channels-last value; tanh GELU."""

    def __init__(self):
        super().__init__()
        self.before, self.after = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.mixed = nn.Conv2d(4, 8, 1)

    def forward(self, x):
        weights = self.after(self.before(x * 4).softmax(-1))
        y = functional.gelu(self.mixed(weights @ x), approximate="tanh")
        return functional.group_norm(y, 1).sum(-1)


def _lowered(graph, example):
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    program = torch.export.export(graph, example)
    return to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])


@pytest.mark.parametrize(
    ("network", "shape"), [(Windowed, (1, 3, 32, 32)), (TalkingHeads, (1, 4, 9, 9))]
)
def test_one_partition_with_the_same_answer(network, shape):
    from executorch.runtime import Runtime

    torch.manual_seed(0)
    module, example = network().eval(), (torch.randn(*shape),)
    with torch.no_grad():
        expected = module(*example)
    prepared = prepare(flat_graph(capture(module, example)), example, "executorch")
    assert not prepared.undone
    lowered = _lowered(prepared.graph, example)
    calls = [n for n in lowered.exported_program().graph.nodes if n.op == "call_function"]
    assert [str(n.target) for n in calls] == [
        "executorch_call_delegate",
        "<built-in function getitem>",
    ]
    loaded = Runtime.get().load_program(lowered.to_executorch().buffer)
    given = loaded.load_method("forward").execute(example)[0]
    assert snr_db(reference=expected.numpy(), candidate=given.numpy()) > 100
