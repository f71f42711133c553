"""MIL random numbers: iOS15.random.

https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
Apple's generator is not published, so only shape, type and distribution are those of Core ML, not
the numbers. A seed of 0 or more gives the same numbers each time; without one they come from
torch's global generator (`torch.manual_seed`).
"""

from __future__ import annotations

import torch

from exporters.mil.optable import Arguments, operation


def _generator(a: Arguments) -> torch.Generator | None:
    seed = a.integer("seed")
    return torch.Generator().manual_seed(seed) if seed >= 0 else None


def _uniform(a: Arguments) -> torch.Tensor:
    return torch.rand(a.integers("shape"), generator=_generator(a))


@operation("random_bernoulli", required="shape", optional={"prob": 0.5, "seed": -1})
def random_bernoulli(a: Arguments) -> torch.Tensor:
    """iOS15.random.random_bernoulli: 1 with probability prob, else 0, as floats."""
    return (_uniform(a) < a.number("prob")).float()


@operation("random_uniform", required="shape", optional={"low": 0.0, "high": 1.0, "seed": -1})
def random_uniform(a: Arguments) -> torch.Tensor:
    """iOS15.random.random_uniform on [low, high)."""
    low, high = a.number("low"), a.number("high")
    return _uniform(a) * (high - low) + low


@operation("random_normal", required="shape", optional={"mean": 0.0, "stddev": 1.0, "seed": -1})
def random_normal(a: Arguments) -> torch.Tensor:
    """iOS15.random.random_normal."""
    drawn = torch.randn(a.integers("shape"), generator=_generator(a))
    return drawn * a.number("stddev") + a.number("mean")


@operation("random_categorical", required="x", optional={"mode": "logits", "size": 1, "seed": -1})
def random_categorical(a: Arguments) -> torch.Tensor:
    """iOS15.random.random_categorical: x.shape[:-1] + [size] class numbers, floats as declared."""
    x, mode, size = a.tensor("x"), a.text("mode"), a.integer("size")
    if mode not in {"logits", "probs"}:
        raise ValueError(f"mode {mode!r} is unknown")
    shares = torch.softmax(x, -1) if mode == "logits" else x
    rows = shares.reshape(-1, x.shape[-1])
    drawn = torch.multinomial(rows, size, replacement=True, generator=_generator(a))
    return drawn.reshape(*x.shape[:-1], size).float()
