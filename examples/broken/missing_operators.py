"""Broken on purpose: operators that targets lack, in two modules.

    headtail check examples/broken/missing_operators.py

`torch.erfinv` has no lowering in any of the three, adaptive max pooling none in LiteRT's and
ExecuTorch's, and the Fourier transform makes complex values, which LiteRT does not have.
"""

import torch
from torch import nn


class Spectrum(nn.Module):
    """Adds the magnitude of each row's Fourier transform."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features (1, 8, 16, 16) -> (1, 8, 16, 9)."""
        return torch.fft.rfft(x).abs()


class Gaussian(nn.Module):
    """Ranks in (0, 1) to normal scores."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape, the same shape."""
        return torch.erfinv(2 * torch.sigmoid(x) - 1)


class Net(nn.Module):
    """Image (1, 3, 16, 16) -> scores (1, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
        self.spectrum = Spectrum()
        self.pool = nn.AdaptiveMaxPool2d(1)
        self.scores = nn.Linear(8, 4)
        self.normal = Gaussian()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Scores."""
        pooled = self.pool(self.spectrum(self.stem(image))).flatten(1)
        return self.normal(self.scores(pooled))


def get_model() -> nn.Module:
    """Seeded random weights."""
    torch.manual_seed(0)
    return Net().eval()


def get_args() -> tuple[torch.Tensor, ...]:
    """One image of noise: this model is for looking at, not for judging."""
    return (torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1)),)
