"""Small nets with the blocks of the architectures people export. Parameters hide nothing.

Residual branches matter: every norm has random scale, bias and statistics (`families.randomise`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody reads at once
from torch import Tensor, nn

from .families import randomise

SIDE = 32


class InvertedResidual(nn.Module):
    """MobileNetV3's block: expand, depthwise, squeeze and excite, project, add."""

    def __init__(self, width: int, expanded: int, activation: type[nn.Module]) -> None:
        super().__init__()
        self.expand = nn.Sequential(
            nn.Conv2d(width, expanded, 1, bias=False), nn.BatchNorm2d(expanded), activation()
        )
        self.depthwise = nn.Sequential(
            nn.Conv2d(expanded, expanded, 5, 1, 2, groups=expanded, bias=False),
            nn.BatchNorm2d(expanded),
            activation(),
        )
        self.excite = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(expanded, 8, 1),
            nn.ReLU(),
            nn.Conv2d(8, expanded, 1),
            nn.Hardsigmoid(),
        )
        self.project = nn.Sequential(
            nn.Conv2d(expanded, width, 1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, x: Tensor) -> Tensor:
        h = self.depthwise(self.expand(x))
        y: Tensor = x + self.project(h * self.excite(h))
        return y


def mobilenet_v3() -> nn.Module:
    """Stem, two inverted residuals (relu, hardswish), head; 10 classes."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.Hardswish(),
        InvertedResidual(16, 48, nn.ReLU),
        InvertedResidual(16, 64, nn.Hardswish),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 32),
        nn.Hardswish(),
        nn.Dropout(0.2),
        nn.Linear(32, 10),
    )


class Basic(nn.Module):
    """ResNet's basic block, with a projection when it strides."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.short = (
            nn.Identity()
            if stride == 1
            else nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.short(x))


def resnet() -> nn.Module:
    """Stem with max pooling, two basic blocks, global pooling; 10 classes."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 7, 2, 3, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        Basic(16, 16, 1),
        Basic(16, 32, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


class Attention(nn.Module):
    """Transformer encoder block: norm, attention, norm, two linear layers with GELU."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(batch, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
        x = x + self.out(attended)
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


class VisionTransformer(nn.Module):
    """Patches, class token, positions, two blocks; 10 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 24, 8, 8)
        self.token = nn.Parameter(torch.randn(1, 1, 24))
        self.position = nn.Parameter(torch.randn(1, 17, 24))
        self.blocks = nn.Sequential(Attention(24, 3), Attention(24, 3))
        self.norm, self.head = nn.LayerNorm(24), nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patch(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), patches], 1) + self.position
        y: Tensor = self.head(self.norm(self.blocks(tokens))[:, 0])
        return y


class Segmenter(nn.Module):
    """Encoder and decoder with a skip connection; two outputs: a mask and a coarse mask."""

    def __init__(self) -> None:
        super().__init__()
        self.down1 = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU6())
        self.down2 = nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU6())
        self.up = nn.ConvTranspose2d(16, 8, 2, 2)
        self.mix = nn.Conv2d(24, 8, 3, padding=1)
        self.fine, self.coarse = nn.Conv2d(8, 4, 1), nn.Conv2d(16, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        one = self.down1(x)
        two = self.down2(one)
        near = F.interpolate(self.down1(x), scale_factor=1.0, mode="nearest")
        joined = torch.cat([self.up(two), one, near], 1)
        fine = F.interpolate(self.fine(F.relu(self.mix(joined))), x.shape[-2:], mode="bilinear")
        return fine, F.interpolate(self.coarse(two), scale_factor=4.0, mode="nearest")


def mobilenet_v2_like() -> nn.Module:
    """The operators the mutations need: conv, clip, pooling, add, mul, softmax, two norms."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 12, 3, 2, 1), nn.BatchNorm2d(12), nn.ReLU6())
            self.branch = nn.Sequential(
                nn.Conv2d(12, 12, 3, 1, 1, groups=12), nn.ReLU6(), nn.Conv2d(12, 12, 1)
            )
            self.gate = nn.Conv2d(12, 12, 1)
            self.late = nn.BatchNorm2d(12)
            self.norm, self.head = nn.LayerNorm(12), nn.Linear(12, 10)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            x = x + self.branch(x)
            x = self.late(x * torch.softmax(self.gate(x), 1))
            y: Tensor = self.head(F.gelu(self.norm(x.mean((2, 3)))))
            return y

    return Net()


NETS = {
    "mobilenet_v3": mobilenet_v3,
    "resnet": resnet,
    "vision_transformer": VisionTransformer,
    "segmenter": Segmenter,
    "mobilenet_v2_like": mobilenet_v2_like,
}


def build(name: str) -> nn.Module:
    """A net by name, randomised with its norms calibrated, in eval mode."""
    net = randomise(NETS[name]())
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # statistics of the photos below, so that activations stay in range
        norm.reset_running_stats()
    with torch.no_grad():
        net.train()(photos())
    return net.eval()


def photos(side: int = SIDE) -> Tensor:
    """Four crops of scikit-image's cat photo, [4,3,side,side], normalised."""
    from skimage import data

    cat = torch.from_numpy(data.chelsea().copy()).permute(2, 0, 1).float() / 255
    tiles = [cat[:, y : y + 150, x : x + 150] for y in (0, 140) for x in (60, 240)]
    small = F.interpolate(torch.stack(tiles), (side, side), mode="bilinear", antialias=True)
    return (small - 0.449) / 0.226
