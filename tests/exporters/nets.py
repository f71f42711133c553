"""Small networks with known structure; batch norms are randomised so that nothing folds away."""

from __future__ import annotations

import torch
from torch import nn


def settle(model: nn.Module) -> nn.Module:
    """Deterministic weights, non-trivial normalisation statistics, eval mode."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data = torch.rand(module.weight.shape, generator=generator) + 0.5
            channels = module.num_features
            module.running_mean = torch.randn(channels, generator=generator) * 0.1
            module.running_var = torch.rand(channels, generator=generator) + 0.5
    return model.eval()


class Residual(nn.Module):
    """Convolutions with a skip connection: cuts inside the block carry two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU6())
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.ReLU6())
        self.down = nn.Sequential(nn.Conv2d(8, 4, 3, 2, 1), nn.BatchNorm2d(4))
        self.head = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = x + self.block(x)
        x = self.down(x)
        scores: torch.Tensor = self.head(x.mean((2, 3)))
        return scores


class TwoOutputs(nn.Module):
    """A segmentation net: a mask at the input's size and an auxiliary score."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.deeper = nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU())
        self.up = nn.ConvTranspose2d(16, 8, 2, 2)
        self.mask = nn.Conv2d(8, 2, 1)
        self.score = nn.Linear(16, 3)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        fine = self.encode(image)
        coarse = self.deeper(fine)
        mask = self.mask(self.up(coarse) + fine)
        mask = nn.functional.interpolate(mask, scale_factor=2, mode="bilinear")
        return mask, self.score(coarse.mean((2, 3)))
