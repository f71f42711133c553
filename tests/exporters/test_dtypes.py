"""Inputs and outputs of every dtype, in the formats that take them; the others say so."""

import pytest
import torch
from torch import nn

import headtail
from headtail.errors import GateFailed
from tests.exporters.nets import settle

pytestmark = pytest.mark.slow


def generator(seed):
    return torch.Generator().manual_seed(seed)


class Mixed(nn.Module):
    """int64 tokens, a float16 vector, a picture; a dict with an int64 place and a nested pair."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.conv = nn.Conv2d(3, 8, 3, 2)
        self.mix = nn.Linear(8, 8)

    def forward(self, tokens, half, picture):
        x = self.embed(tokens).mean(1) + self.conv(picture).relu().mean((2, 3))
        y = self.mix(x) + half.float()
        total = y.sum(1, keepdim=True)
        return {"scores": y, "best": y.argmax(1), "parts": (y.half(), {"sum": total})}

    @staticmethod
    def sample(seed):
        return (
            torch.randint(0, 20, (1, 6), generator=generator(seed)),
            torch.randn(1, 8, generator=generator(seed)).half(),
            torch.rand(1, 3, 16, 16, generator=generator(seed)),
        )


class Gated(nn.Module):
    """A bool gate and uint8 pixels, which Core ML has no arrays for."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(8, 8)

    def forward(self, gate, pixels, x):
        y = self.mix(x * gate) + pixels.float().mean((1, 2))[:, None] / 255
        return y, y > 0

    @staticmethod
    def sample(seed):
        return (
            torch.rand(1, 8, generator=generator(seed)) > 0.5,
            torch.randint(0, 255, (1, 6, 8), generator=generator(seed)).to(torch.uint8),
            torch.randn(1, 8, generator=generator(seed)),
        )


def exported(kind, folder, **options):
    return headtail.export(
        settle(kind()),
        kind.sample(0),
        output=folder / "net.bundle",
        precisions=["fp32"],
        evaluation=[kind.sample(seed) for seed in range(1, 4)],
        **options,
    )


def test_every_format_takes_integers_and_halves_and_names_its_outputs(tmp_path):
    result = exported(Mixed, tmp_path)
    assert not result.failures
    manifest = result.bundle.manifest
    assert [str(spec) for spec in manifest.inputs] == [
        "tokens:i32[1,6]",
        "half:f16[1,8]",
        "picture:f32[1,3,16,16]",
    ]
    assert [str(spec) for spec in manifest.outputs] == [
        "scores:f32[1,8]",
        "best:i32[1]",
        "parts_0:f16[1,8]",
        "parts_1_sum:f32[1,1]",
    ]
    assert {(a.format, a.verdict) for a in manifest.artifacts} == {
        ("litert", "pass"),
        ("executorch", "pass"),
        ("coreml", "pass"),
    }
    assert "input 0 is int64 in PyTorch and int32 on phones" in result.remarks


def test_a_format_that_does_not_take_a_dtype_fails_alone(tmp_path):
    result = exported(Gated, tmp_path)
    assert {a.format for a in result.bundle.manifest.artifacts} == {"litert", "executorch"}
    (failure,) = result.failures
    assert failure.reason == "Core ML takes no input like gate:bool[1,8]."


class Signs(nn.Module):
    """One bool output, which coremltools would write as float32."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(8, 8)

    def forward(self, x):
        return self.mix(x) > 0

    @staticmethod
    def sample(seed):
        return (torch.randn(1, 8, generator=generator(seed)),)


def test_an_output_that_core_ml_lacks_is_told_before_converting(tmp_path):
    with pytest.raises(GateFailed, match=r"Core ML gives no output like output:bool\[1,8\]"):
        exported(Signs, tmp_path, formats=["coreml"])
