"""Small networks with channels to scale and shift, flat, and how equal two graphs are."""

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody reads at once
from torch import nn

from exporters.capture import capture, flat_graph
from headtail.metrics import snr_db

__all__ = ["Attention", "Inverted", "Transformer", "agreement", "flat"]


class Inverted(nn.Module):
    """Two inverted residuals, (1, 3, 24, 24) -> (1, 10), with this activation function."""

    def __init__(self, activate, width=16):
        super().__init__()
        self.activate = activate
        self.stem = nn.Conv2d(3, width, 3, 2, 1)
        wide = 3 * width
        self.expand = nn.ModuleList(nn.Conv2d(width, wide, 1) for _ in range(2))
        self.spatial = nn.ModuleList(
            nn.Conv2d(wide, wide, 3, padding=1, groups=wide) for _ in range(2)
        )
        self.project = nn.ModuleList(nn.Conv2d(wide, width, 1) for _ in range(2))
        self.classify = nn.Linear(width, 10)

    def forward(self, x):
        x = self.stem(x)
        for index in range(2):
            wide = self.activate(self.expand[index](x))
            x = x + self.project[index](self.activate(self.spatial[index](wide)))
        return self.classify(x.mean((2, 3)))


class Attention(nn.Module):
    """One fused projection, two heads."""

    def __init__(self, width, *, spelled=False):
        super().__init__()
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.spelled = spelled

    def forward(self, x):
        batch, count, width = x.shape
        query, key, value = self.qkv(x).reshape(batch, count, 3, 2, -1).permute(2, 0, 3, 1, 4)
        if self.spelled:
            scores = query * (width // 2) ** -0.5 @ key.transpose(-2, -1)
            x = scores.softmax(-1) @ value
        else:
            x = F.scaled_dot_product_attention(query, key, value)
        return self.project(x.transpose(1, 2).reshape(batch, count, width))


class Transformer(nn.Module):
    """Two blocks over 36 patches, (1, 3, 24, 24) -> (1, 10)."""

    def __init__(self, *, spelled=False, width=32):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.attend = nn.ModuleList(Attention(width, spelled=spelled) for _ in range(2))
        self.widen = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(2))
        self.narrow = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(2))
        self.classify = nn.Linear(width, 10)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        for index in range(2):
            x = x + self.attend[index](self.norms[2 * index](x))
            wide = F.gelu(self.widen[index](self.norms[2 * index + 1](x)))
            x = x + self.narrow[index](wide)
        return self.classify(x.mean(1))


def flat(module, example):
    """The graph of a module, weights seeded where it has none of its own."""
    return flat_graph(capture(module.eval(), (example,)))


def agreement(before, after, *inputs):
    """Lowest SNR in dB of any output of `after`."""
    with torch.no_grad():
        return min(
            snr_db(reference=one.numpy(), candidate=other.numpy())
            for one, other in zip(before(*inputs), after(*inputs), strict=True)
        )
