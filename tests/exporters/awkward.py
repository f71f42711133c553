"""Small networks that real models resemble in what is awkward about them, each with its example."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from tests.exporters.nets import settle

IMAGE = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
TOKENS = torch.randint(
    0, 50, (1, 12), dtype=torch.int32, generator=torch.Generator().manual_seed(2)
)


class InPlace(nn.Module):
    """`nn.ReLU(inplace=True)`, as in torchvision, and `+=`."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.again = nn.Conv2d(4, 4, 3, padding=1)
        self.score = nn.Linear(4, 5)

    def forward(self, x):
        x = self.relu(self.conv(x))
        y = self.again(x)
        y += x
        return self.score(y.mean((2, 3)))


class WritesToAView(nn.Module):
    """A slice is written through: what is before the cut changes after it."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        y = self.conv(x)
        y[:, :, :2] += 1
        return y * 2


class Tokens(nn.Module):
    """int32 tokens; positions from an int64 buffer and from an int64 `arange`."""

    def __init__(self):
        super().__init__()
        self.token = nn.Embedding(50, 16)
        self.place = nn.Embedding(12, 16)
        self.register_buffer("ids", torch.arange(12)[None])
        self.score = nn.Linear(16, 4)

    def forward(self, tokens):
        x = self.token(tokens.long()) + self.place(self.ids)
        x = torch.tanh(x) + self.place(torch.arange(tokens.shape[1]))
        return self.score(x.mean(1))


class VisionTransformer(nn.Module):
    """One pre-norm block: class token, `view` with the batch, attention."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 32, 8, 8)
        self.cls = nn.Parameter(torch.zeros(1, 1, 32))
        self.position = nn.Parameter(torch.zeros(1, 17, 32))
        self.norm = nn.LayerNorm(32)
        self.qkv = nn.Linear(32, 96)
        self.out = nn.Linear(32, 32)
        self.score = nn.Linear(32, 5)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)  # (batch, 16, 32)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.position
        batch, length, width = x.shape
        qkv = self.qkv(self.norm(x)).view(batch, length, 3, 4, 8).permute(2, 0, 3, 1, 4)
        y = nn.functional.scaled_dot_product_attention(*qkv.unbind(0))  # (batch, 4, 17, 8)
        x = x + self.out(y.transpose(1, 2).reshape(batch, length, width))
        return self.score(x[:, 0])


class SequenceFirst(nn.Module):
    """nn.MultiheadAttention turns to (sequence, batch, channel) and folds heads into the batch."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 32, 8, 8)
        self.attention = nn.MultiheadAttention(32, 4)
        self.score = nn.Linear(32, 5)

    def forward(self, x):
        x = self.patches(x).flatten(2).permute(2, 0, 1)  # (16, batch, 32)
        return self.score(self.attention(x, x, x)[0].mean(0))


class Folded(nn.Module):
    """Channels folded into axis 0 and sizes multiplied, so that captures number their calls
    differently: `mul_1` is a tensor in one and a size in the other."""

    def __init__(self):
        super().__init__()
        self.score = nn.Linear(1024, 5)

    def forward(self, x):
        batch = x.shape[0]
        y = (x * 3).reshape(batch * 3, -1).mul(2)  # (batch * 3, 1024)
        y = y.mul(0.1).softmax(1)
        return self.score(y.reshape(y.shape[0] // 3, 3, -1).mul(3).amax(1))


class Constants(nn.Module):
    """Tensors made in `forward`: a scalar, an int64 list, likes and ones."""

    def forward(self, x):
        x = x * torch.tensor(2.0) + torch.tensor([1, 2, 3]).view(1, 3, 1, 1)
        return (x + torch.zeros_like(x) + torch.ones(1, 3, 1, 1)).mean((2, 3))


class Parts(nn.Module):
    """`chunk`, and a maximum whose int64 place is converted: calls that return tuples."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        a, b = self.conv(x).chunk(2, 1)
        value, place = (a * b).flatten(1).max(1)
        return value[:, None], place.int()


class Listed(nn.Module):
    """A list of outputs, one of which is made from another, and one of which is the input."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        y = self.conv(x).relu()
        return [y, y.mean((2, 3)), x]


class HalfInput(nn.Module):
    """Takes float16, computes in float32."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.conv(x.float()).relu().mean((2, 3))


class BatchStatistics(nn.Module):
    """A batch norm without running statistics: other samples of a batch change the answer."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4, track_running_stats=False)

    def forward(self, x):
        return self.norm(self.conv(x)).amax((2, 3))


class FixedBatch(nn.Module):
    """`reshape(1, ...)` runs on two samples too, and answers for one."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.conv(x).reshape(1, 4, -1).mean(2)


# name -> (model, example) ; the model is made anew each time
AWKWARD: dict[str, Callable[[], tuple[nn.Module, tuple[torch.Tensor, ...]]]] = {
    "InPlace": lambda: (settle(InPlace()), (IMAGE,)),
    "WritesToAView": lambda: (settle(WritesToAView()), (IMAGE,)),
    "Tokens": lambda: (settle(Tokens()), (TOKENS,)),
    "VisionTransformer": lambda: (settle(VisionTransformer()), (IMAGE,)),
    "SequenceFirst": lambda: (settle(SequenceFirst()), (IMAGE,)),
    "Folded": lambda: (settle(Folded()), (IMAGE,)),
    "Constants": lambda: (settle(Constants()), (IMAGE,)),
    "Parts": lambda: (settle(Parts()), (IMAGE,)),
    "Listed": lambda: (settle(Listed()), (IMAGE,)),
    "HalfInput": lambda: (settle(HalfInput()), (IMAGE.half(),)),
    # not settled: that would give it the running statistics it lacks
    "BatchStatistics": lambda: (BatchStatistics().eval(), (IMAGE,)),
    "FixedBatch": lambda: (settle(FixedBatch()), (IMAGE,)),
}
ONE_SAMPLE = frozenset({"BatchStatistics", "FixedBatch"})
