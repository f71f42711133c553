"""Every recipe that a format honours, through `headtail quantize`: written, audited, faithful."""

import pytest

from exporters.target import target
from headtail.bundle import open_bundle
from quantizers.recipe import RECIPES
from quantizers.support import matrix
from tests.exporters.sources.commands import run

SCRIPT = """
import torch
from torch import nn
from torch.nn import functional

class Net(nn.Module):
    # as MobileViT: separable convolutions, then attention over places; weights are mostly pointwise
    def __init__(self):
        super().__init__()
        self.pictures = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU6(),
            nn.Conv2d(16, 16, 3, 2, 1, groups=16), nn.BatchNorm2d(16), nn.ReLU6(),
            nn.Conv2d(16, 64, 1), nn.BatchNorm2d(64), nn.Hardswish(), nn.AvgPool2d(2),
        )
        self.before, self.between = nn.LayerNorm(64), nn.LayerNorm(64)
        self.attend = nn.MultiheadAttention(64, 4, batch_first=True)
        self.wider, self.narrower = nn.Linear(64, 256), nn.Linear(256, 64)
        self.classify = nn.Linear(64, 8)

    def forward(self, x):
        tokens = self.pictures(x).flatten(2).transpose(1, 2)
        read = self.before(tokens)
        tokens = tokens + self.attend(read, read, read, need_weights=False)[0]
        tokens = tokens + self.narrower(functional.gelu(self.wider(self.between(tokens))))
        return self.classify(tokens.mean(1))

def get_model():
    torch.manual_seed(0)
    return Net().eval()

def get_args():
    return (torch.zeros(1, 3, 32, 32),)

def drawn(seed, count):
    draw = torch.Generator().manual_seed(seed)
    # patches of one brightness and texture: more like pictures than noise is
    coarse = torch.randn(count, 3, 5, 5, generator=draw)
    smooth = functional.interpolate(coarse, (32, 32), mode="bilinear")
    return list((smooth + 0.1 * torch.randn(count, 3, 32, 32, generator=draw)).split(1))

def get_calibration_data():
    return drawn(1, 6)

def get_eval_batches():
    return drawn(2, 2)
"""
# Of a file against its own program, dB: rounded activations fall to the other side here and there.
LEAST_DB = {"static": 20.0, "dynamic": 25.0}
BIASES = 0.1  # of all weight elements, at most, are what no recipe quantizes


@pytest.mark.slow
@pytest.mark.parametrize("format_name", sorted(matrix()))
def test_every_recipe_of_a_format(tmp_path, format_name):
    (tmp_path / "net.py").write_text(SCRIPT)
    names, out = matrix()[format_name], tmp_path / "small.bundle"
    given = ("--recipe", ",".join(names), "--format", format_name, "--runs", 1, "-o", out)
    found = run("quantize", tmp_path / "net.py", *given)
    assert found["failures"] == []
    held = {artifact.precision: artifact for artifact in open_bundle(out).manifest.artifacts}
    assert set(held) == set(names)
    told = {one["precision"]: one for one in found["quality"]["reports"]}
    for name in names:
        asked = RECIPES[name]
        dtypes = held[name].dtypes
        stored = {storage.dtype: dtypes.get(storage.dtype, 0) for storage in asked.storages}
        assert sum(stored.values()) >= (1 - BIASES) * sum(dtypes.values()), (name, dtypes)
        assert all(stored.values()), (name, dtypes)
        if asked.quantizes:  # floats are held against the model itself
            least = LEAST_DB.get(asked.activation_mode, target(format_name).fp32_gate_db)
            assert told[name]["faithful"]["db_min"] >= least, name
