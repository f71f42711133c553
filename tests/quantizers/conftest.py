"""A small convolutional net with batch norms, its head, and real photos to feed both."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from headtail.preprocess import Frame, Preprocess

torch.set_num_threads(1)


class Head(torch.nn.Module):
    """Ends with a batch norm, as a block of an inverted-residual net does."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = torch.nn.Sequential(
            torch.nn.Conv2d(3, 24, 3, stride=2, padding=1, bias=False),
            torch.nn.BatchNorm2d(24),
            torch.nn.ReLU6(),
        )
        self.project = torch.nn.Sequential(
            torch.nn.Conv2d(24, 32, 3, padding=1, bias=False), torch.nn.BatchNorm2d(32)
        )

    def forward(self, x):
        return self.project(self.stem(x))


class Net(torch.nn.Module):
    """(1, 3, 32, 32) -> (1, 10) logits."""

    def __init__(self) -> None:
        super().__init__()
        self.head = Head()
        self.tail = torch.nn.Sequential(torch.nn.Conv2d(32, 48, 3, padding=1), torch.nn.ReLU6())
        self.dropout = torch.nn.Dropout(0.2)  # in the captured graph, though it does nothing
        self.classify = torch.nn.Linear(48, 10)

    def forward(self, x):
        return self.classify(self.dropout(self.tail(self.head(x)).mean((2, 3))))


@pytest.fixture(scope="session")
def net() -> Net:
    torch.manual_seed(7)
    made = Net().eval()
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # a fresh one is the identity: a poor test
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            module.running_mean = torch.empty(module.num_features).uniform_(-0.2, 0.2)
            module.running_var = torch.empty(module.num_features).uniform_(0.5, 1.5)
    return made


@pytest.fixture(scope="session")
def photos() -> dict[str, Frame]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside scikit-learn's and -image's imports
        import skimage.data
        from sklearn.datasets import load_sample_images

        found = {name: getattr(skimage.data, name)() for name in ("astronaut", "chelsea", "coffee")}
        found |= dict(zip(("china", "flower"), load_sample_images().images, strict=True))
    return {name: np.ascontiguousarray(frame[..., :3]) for name, frame in found.items()}


@pytest.fixture(scope="session")
def preprocess() -> Preprocess:
    mean, std = (127.0,) * 3, (128.0,) * 3
    return Preprocess(32, 32, "RGB", "crop", 0.875, "bicubic", 1.0, mean, std, "NCHW")


@pytest.fixture(scope="session")
def samples(photos: dict[str, Frame], preprocess: Preprocess) -> list[tuple[np.ndarray]]:
    from quantizers.calibration import crops

    made = crops(photos, count=15, seed=3, preprocess=preprocess)
    return [(preprocess(frame),) for frame in made]
