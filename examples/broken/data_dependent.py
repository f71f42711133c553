"""Broken on purpose: Python decides on values, so that no graph can be captured.

headtail check examples/broken/data_dependent.py
"""

import torch
from torch import nn


class Hesitant(nn.Module):
    """Looks at its scores, and does different things where it is sure."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(16, 4)
        self.second = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features (1, 16) -> scores (1, 4)."""
        scores = self.first(x)
        if scores.max() > 0.9:
            scores = scores * 2
        best = int(scores.argmax())
        return self.second(scores) + scores[:, best]


def get_model() -> nn.Module:
    """Seeded random weights."""
    torch.manual_seed(0)
    return Hesitant().eval()


def get_args() -> tuple[torch.Tensor, ...]:
    """One row of noise: this model is for looking at, not for judging."""
    return (torch.rand(1, 16, generator=torch.Generator().manual_seed(1)),)
