"""What depends on no input is computed once."""

import torch
from torch import nn

from exporters.prepare import fold_constants
from tests.exporters.prepare.rewriting import rewritten, targets


class Positions(nn.Module):
    index: torch.Tensor

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(9, 2))
        self.register_buffer("index", torch.randint(0, 9, (4, 4)))

    def forward(self, x):
        bias = self.table[self.index.view(-1)].view(4, 4, 2).permute(2, 0, 1).unsqueeze(0)
        wave = torch.stack([torch.arange(4.0).sin(), torch.arange(4.0).cos()]).sum(0)
        first, _ = self.table.chunk(2, dim=1)
        return x + bias + wave + first[:4, 0]


def test_gathered_biases_and_waves_are_constants():
    graph, sites = rewritten(Positions(), (torch.randn(1, 2, 4, 4),), "fold_constants")
    assert sites == 3
    assert targets(graph) == {"add": 3}


class Grown(nn.Module):
    def forward(self, x):
        return x + torch.ones(1).expand(3, 1000)


def test_a_large_value_stays_computed(monkeypatch):
    monkeypatch.setattr(fold_constants, "_MOST_BYTES", 11_999)
    assert rewritten(Grown(), (torch.randn(1, 3, 1000),), "fold_constants")[1] == 0
    monkeypatch.setattr(fold_constants, "_MOST_BYTES", 12_000)
    assert rewritten(Grown(), (torch.randn(1, 3, 1000),), "fold_constants")[1] == 1


def test_integers_stay_integers():
    from torch.ao.quantization.fx import _decomposed  # noqa: F401  # registers the operators

    class Held(nn.Module):
        levels: torch.Tensor

        def __init__(self):
            super().__init__()
            self.register_buffer("levels", torch.ones(3, 4, dtype=torch.int8))

        def forward(self, x):
            read = torch.ops.quantized_decomposed.dequantize_per_tensor
            return x @ read(self.levels, 0.5, 0, -128, 127, torch.int8).T

    graph, _ = rewritten(Held(), (torch.randn(2, 4),), "fold_constants")
    assert targets(graph)["quantized_decomposed"] == 1
