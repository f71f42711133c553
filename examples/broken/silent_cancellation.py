"""Broken on purpose: every converter takes it, and what it writes is inexact, without a word.

    headtail check examples/broken/silent_cancellation.py --format executorch --bisect

The second block adds 20000 and takes the mean away again: what is left are the last digits of
float32, and each runtime's convolution rounds them in its own way.
"""

import torch
from torch import nn


class Centred(nn.Module):
    """Takes each channel's mean away."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features (1, 8, 16, 16), the same shape."""
        return x - x.mean((2, 3), keepdim=True)


class Block(nn.Module):
    """Convolution with a large bias, activation, centring."""

    def __init__(self, bias: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.activation = nn.ReLU()
        self.centre = Centred()
        nn.init.constant_(self.conv.bias, bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features (1, 8, 16, 16), the same shape."""
        return self.centre(self.activation(self.conv(x)))


class Net(nn.Module):
    """Image (1, 3, 16, 16) -> features (1, 8, 16, 16)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.blocks = nn.Sequential(Block(0.5), Block(20000.0), Block(0.5))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Features."""
        return self.blocks(self.stem(image))


def get_model() -> nn.Module:
    """Seeded random weights."""
    torch.manual_seed(0)
    return Net().eval()


def get_args() -> tuple[torch.Tensor, ...]:
    """One image of noise: this model is for looking at, not for judging."""
    return (torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1)),)
