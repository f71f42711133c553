"""Real bundles of a detector and a segmenter with known answers: `python -m ... FOLDER`.

Both tell red and green from everything else, pixel by pixel, with weights that are written down.
The detector has one box for each cell of a 4 x 4 grid; the segmenter gives each pixel a class.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

import headtail
from headtail.preprocess import Frame
from tests.app.colour_bundle import PREPROCESS, SIDE

CELLS = 4
STEEP = 12.0  # of the logit between a channel that is as bright as the others and one alone
LABELS = ("background", "red", "green")


class Colours(torch.nn.Module):
    """(1, 3, 32, 32) in [0, 1] -> (1, 3, 32, 32): logits of background, red and green."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = torch.nn.Conv2d(3, 3, 1)
        assert self.mix.bias is not None
        with torch.no_grad():
            weights = torch.tensor([[0.0, 0, 0], [1, -0.5, -0.5], [-0.5, 1, -0.5]])
            self.mix.weight.copy_(STEEP * weights[:, :, None, None])
            self.mix.bias.copy_(torch.tensor([STEEP / 2, 0, 0]))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """See the class."""
        logits: torch.Tensor = self.mix(image)
        return logits


class Segmenter(torch.nn.Module):
    """`out`: the logits of every pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.colours = Colours()

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """See the class."""
        return {"out": self.colours(image)}


class Detector(torch.nn.Module):
    """`boxes` (1, 16, 4), the cells in pixels, and `scores` (1, 16, 2) of red and green in each."""

    cells: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.colours = Colours()
        self.pool = torch.nn.AvgPool2d(SIDE // CELLS)
        edges = torch.arange(CELLS) * (SIDE / CELLS)
        top, left = torch.meshgrid(edges, edges, indexing="ij")
        cells = torch.stack([left, top, left + SIDE / CELLS, top + SIDE / CELLS], -1)
        self.register_buffer("cells", cells.reshape(1, -1, 4))

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """See the class."""
        chances = torch.softmax(self.pool(self.colours(image)), 1)[:, 1:]
        scores = chances.flatten(2).transpose(1, 2)
        # an output has to depend on the input, or it is folded away
        return {"boxes": self.cells + 0 * scores[..., :1], "scores": scores}


def scene(*, seed: int) -> Frame:
    """A 64 x 64 photo: grey, with a red and a green square in two of its sixteen cells."""
    draw = np.random.default_rng(seed)
    photo = np.full((64, 64, 3), 128, np.uint8)
    cells = draw.choice(CELLS * CELLS, 2, replace=False)
    for cell, colour in zip(cells, ((230, 10, 10), (10, 230, 10)), strict=True):
        row, column = divmod(int(cell), CELLS)
        photo[16 * row : 16 * row + 16, 16 * column : 16 * column + 16] = colour
    return photo


def main(folder: Path) -> None:
    """Export `detector.bundle` and `segmenter.bundle`."""
    torch.set_num_threads(1)
    for name, model, labels in (
        ("detector", Detector(), LABELS[1:]),
        ("segmenter", Segmenter(), LABELS),
    ):
        headtail.export(
            model.eval(),
            (torch.zeros(1, 3, SIDE, SIDE),),
            output=folder / f"{name}.bundle",
            name=name,
            formats=("litert",),
            precisions=("fp32",),
            labels=labels,
            preprocess=PREPROCESS,
            calibration=[scene(seed=i) for i in range(4)],
            evaluation=[scene(seed=100 + i) for i in range(4)],
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
