"""A small segmentation net with two outputs: the shape of a script that `headtail export` takes.

    headtail export examples/segmentation.py

Its weights are random (seeded); replace `get_model` by your own. `get_eval_batches` should return
real inputs: here they are the photos that scikit-image ships.
"""

import numpy as np
import torch
from torch import nn

SIZE = 64


class Segmenter(nn.Module):
    """Image (1, 3, 64, 64) -> mask logits (1, 2, 64, 64) and scene scores (1, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.deeper = nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.Hardswish())
        self.up = nn.ConvTranspose2d(16, 8, 2, 2)
        self.mask = nn.Conv2d(8, 2, 1)
        self.scene = nn.Linear(16, 3)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mask and scene."""
        fine = self.encode(image)
        coarse = self.deeper(fine)
        mask = self.mask(self.up(coarse) + fine)
        mask = nn.functional.interpolate(mask, scale_factor=2, mode="bilinear")
        return mask, self.scene(coarse.mean((2, 3)))


def get_model() -> nn.Module:
    """The model, in eval mode."""
    torch.manual_seed(0)
    return Segmenter().eval()


def get_args() -> tuple[torch.Tensor, ...]:
    """One example input."""
    return (torch.zeros(1, 3, SIZE, SIZE),)


def get_eval_batches() -> list[np.ndarray]:
    """Real inputs, float32 in [0, 1]."""
    from skimage import data
    from skimage.transform import resize

    photos = [data.astronaut(), data.chelsea(), data.rocket()]
    small = [resize(photo, (SIZE, SIZE), anti_aliasing=True) for photo in photos]
    return [photo.astype(np.float32).transpose(2, 0, 1)[None] for photo in small]
