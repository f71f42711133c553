"""A small network with attention: patches, two heads, a perceptron, a classifier."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional


class Attending(nn.Module):
    """(1, 3, 32, 32) -> (1, 10) logits."""

    def __init__(self, width: int = 64, heads: int = 2) -> None:
        super().__init__()
        torch.manual_seed(11)
        self.heads = heads
        self.patches = nn.Conv2d(3, width, 8, stride=8)
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.projections, self.joined = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wider, self.narrower = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.classify = nn.Linear(width, 10)
        for norm in (self.before, self.between):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.uniform_(norm.bias, -0.5, 0.5)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = tokens + self._attend(self.before(tokens))
        inner = functional.gelu(self.wider(self.between(tokens)))
        return self.classify((tokens + self.narrower(inner)).mean(1))

    def _attend(self, tokens):
        batch, count, width = tokens.shape
        parts = self.projections(tokens).reshape(batch, count, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        attended = functional.scaled_dot_product_attention(query, key, value)
        return self.joined(attended.transpose(1, 2).reshape(batch, count, width))


def on_its_grids(net: nn.Module) -> nn.Module:
    """The network in eval mode, every weight rounded to 8 bits with a scale per output channel."""
    for module in net.eval().modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            weight = module.weight.data
            scale = weight.flatten(1).abs().amax(1).reshape(-1, *[1] * (weight.ndim - 1)) / 127
            module.weight.data = torch.round(weight / scale) * scale
    return net


def inputs(count: int = 6) -> list[tuple[np.ndarray]]:
    generator = np.random.default_rng(5)
    return [(generator.normal(size=(1, 3, 32, 32)).astype(np.float32),) for _ in range(count)]
