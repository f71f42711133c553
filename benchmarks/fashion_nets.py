"""Two small classifiers of Fashion-MNIST, one of each family, trained from a seed in minutes.

    mobile   inverted residuals with depthwise convolutions, batch norm and ReLU6
             (MobileNetV2, https://arxiv.org/abs/1801.04381)
    vit      patch embedding, learned positions, blocks of attention and GELU behind layer norms
             (ViT, https://arxiv.org/abs/2010.11929)

Seeded: the same machine and versions give the same weights.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.fashion_data import CLASSES, SIDE, Bytes, normalised

__all__ = ["NETS", "Net", "load", "train"]

BATCH = 128
SEED = 0
SHIFT = 2  # pixels, either way
_SMOOTHING = 0.1


class InvertedResidual(nn.Module):
    """Wider, depthwise, narrower; added to its input where shapes allow it."""

    def __init__(self, channels: int, out: int, *, expand: int, stride: int = 1) -> None:
        super().__init__()
        wide = channels * expand
        self.layers = nn.Sequential(
            *_normed(nn.Conv2d(channels, wide, 1, bias=False)),
            nn.ReLU6(),
            *_normed(nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False)),
            nn.ReLU6(),
            *_normed(nn.Conv2d(wide, out, 1, bias=False)),
        )
        self.adds = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) to (n, out, h / stride, w / stride)."""
        made: Tensor = self.layers(x)
        return x + made if self.adds else made


def _normed(convolution: nn.Conv2d) -> tuple[nn.Module, nn.Module]:
    return convolution, nn.BatchNorm2d(convolution.out_channels)


def mobile() -> nn.Module:
    """About 0.11 million weights; (n, 1, 28, 28) to (n, 10)."""
    return nn.Sequential(
        *_normed(nn.Conv2d(1, 24, 3, 2, 1, bias=False)),
        nn.ReLU6(),
        InvertedResidual(24, 24, expand=2),
        InvertedResidual(24, 40, expand=4, stride=2),
        InvertedResidual(40, 40, expand=4),
        InvertedResidual(40, 64, expand=4),
        InvertedResidual(64, 64, expand=4),
        *_normed(nn.Conv2d(64, 192, 1, bias=False)),
        nn.ReLU6(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(192, len(CLASSES)),
    )


class Block(nn.Module):
    """Attention and a network of two layers, each behind a layer norm and added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, tokens, width) to the same."""
        n, tokens, width = x.shape
        parts = self.qkv(self.norm1(x)).reshape(n, tokens, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        x = x + self.proj(mixed.transpose(1, 2).reshape(n, tokens, width))
        made: Tensor = x + self.mlp(self.norm2(x))
        return made


class VisionTransformer(nn.Module):
    """About 0.11 million weights; (n, 1, 28, 28) to (n, 10), by the mean of 49 tokens."""

    def __init__(self, *, width: int = 64, depth: int = 3, heads: int = 4, patch: int = 4) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, patch, patch)
        self.positions = nn.Parameter(torch.randn(1, (SIDE // patch) ** 2, width) * 0.02)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, len(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        logits: Tensor = self.head(self.norm(self.blocks(tokens)).mean(1))
        return logits


@dataclass(frozen=True)
class Net:
    """A network and how it is trained: epochs, and the largest learning rate of AdamW."""

    make: Callable[[], nn.Module]
    epochs: int
    rate: float


NETS = {"mobile": Net(mobile, 10, 6e-3), "vit": Net(VisionTransformer, 12, 3e-3)}


def train(name: str, pictures: Bytes, labels: Bytes, to: Path) -> None:
    """Train a network of `NETS` on bytes (n, 28, 28) and labels (n,), and keep its weights."""
    from safetensors.torch import save_file

    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(mode=True)
    net, generator = NETS[name], np.random.default_rng(SEED)
    # twice as fast as channels first on a CPU
    module = net.make().train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    steps = net.epochs * (len(pictures) // BATCH)
    optimizer = torch.optim.AdamW(module.parameters(), net.rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, net.rate, steps, pct_start=0.2)
    for epoch in range(net.epochs):
        start, total = time.perf_counter(), 0.0
        for inputs, right in _batches(pictures, labels, generator):
            answers = module(inputs.to(memory_format=torch.channels_last))
            loss = functional.cross_entropy(answers, right, label_smoothing=_SMOOTHING)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch's
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        mean, seconds = total * BATCH / len(pictures), time.perf_counter() - start
        print(f"  {name} epoch {epoch + 1}: loss {mean:.3f}, {seconds:.0f} s", file=sys.stderr)
    save_file({k: v.contiguous() for k, v in module.state_dict().items()}, to)


def load(name: str, kept: Path) -> nn.Module:
    """The trained network, to be judged and exported."""
    from safetensors.torch import load_file

    module = NETS[name].make()
    module.load_state_dict(load_file(kept))
    return module.eval()


def _batches(
    pictures: Bytes,
    labels: Bytes,
    generator: np.random.Generator,
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch in random order, pictures shifted by up to `SHIFT` pixels and maybe mirrored."""
    order = generator.permutation(len(pictures))
    edge = ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT))
    for at in range(0, len(order) - BATCH + 1, BATCH):
        chosen = order[at : at + BATCH]
        padded = np.pad(pictures[chosen], edge)
        down, right = generator.integers(0, 2 * SHIFT + 1, (2, BATCH, 1))
        rows, columns = down + np.arange(SIDE), right + np.arange(SIDE)
        mirrored = generator.random((BATCH, 1)) < 0.5
        columns = np.where(mirrored, columns[:, ::-1], columns)
        moved = padded[np.arange(BATCH)[:, None, None], rows[:, :, None], columns[:, None]]
        yield torch.from_numpy(normalised(moved)), torch.from_numpy(labels[chosen].astype(np.int64))
