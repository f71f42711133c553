"""A real bundle with a known answer, made in its own process: `python -m ... DESTINATION`.

The net averages the photo and names the nearest of eight colours; nearest-centroid scores are
linear in the mean colour, so its weights are written down, not trained. It goes through Headtail's
own export to LiteRT fp32 with two cuts and a tail.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

import headtail
from headtail.preprocess import Frame, Preprocess

COLOURS: dict[str, tuple[float, float, float]] = {
    "black": (0, 0, 0),
    "blue": (0, 0, 1),
    "green": (0, 1, 0),
    "grey": (0.5, 0.5, 0.5),
    "magenta": (1, 0, 1),
    "red": (1, 0, 0),
    "white": (1, 1, 1),
    "yellow": (1, 1, 0),
}
SIDE = 32
SHARPNESS = 4.0
PREPROCESS = Preprocess(
    height=SIDE,
    width=SIDE,
    colour="RGB",
    fit="crop",
    crop_fraction=1.0,
    resize="bilinear",
    scale=1 / 255,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    layout="NCHW",
)


class NearestColour(torch.nn.Module):
    """(1, 3, 32, 32) in [0, 1] -> (1, 8) scores, highest for the nearest colour."""

    def __init__(self) -> None:
        super().__init__()
        self.shrink = torch.nn.Conv2d(3, 3, 2, stride=2, bias=False, groups=3)
        self.again = torch.nn.Conv2d(3, 3, 2, stride=2, bias=False, groups=3)
        self.scores = torch.nn.Linear(3, len(COLOURS))
        centres = torch.tensor(list(COLOURS.values()))
        with torch.no_grad():
            self.shrink.weight.fill_(0.25)
            self.again.weight.fill_(0.25)
            self.scores.weight.copy_(2 * SHARPNESS * centres)
            self.scores.bias.copy_(-SHARPNESS * centres.square().sum(1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """See the class."""
        small = torch.relu(self.again(torch.relu(self.shrink(image))))
        scores: torch.Tensor = self.scores(small.mean((2, 3)))
        return scores


def plain(colour: str, *, seed: int) -> Frame:
    """A 48 x 64 photo that is mostly one colour, with a little noise."""
    noise = np.random.default_rng(seed).normal(0, 12, (48, 64, 3))
    return np.clip(np.array(COLOURS[colour]) * 255 + noise, 0, 255).astype(np.uint8)


def main(destination: Path) -> None:
    """Export it."""
    torch.set_num_threads(1)
    headtail.export(
        NearestColour().eval(),
        (torch.zeros(1, 3, SIDE, SIDE),),
        output=destination,
        name="nearest_colour",
        formats=("litert",),
        precisions=("fp32",),
        labels=tuple(COLOURS),
        preprocess=PREPROCESS,
        calibration=[plain(colour, seed=i) for i, colour in enumerate(COLOURS)],
        evaluation=[plain(colour, seed=100 + i) for i, colour in enumerate(COLOURS)],
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
