"""A tail that is bound by compute beyond what Ray itself costs: sixteen 3x3 convolutions.

128 channels over 56x56: 14 GFLOP a sample and 9 MB of weights, so one core computes for most of a
request's time. Weights and inputs are random: what it answers means nothing.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from headtail.bundle import BundleWriter
from headtail.manifest import SCHEMA_VERSION, Cut, Manifest, QuantTable, SampleSet, Tail
from headtail.tensorfile import dump
from headtail.tensors import Array, TensorSpec

__all__ = ["NAME", "write_bundle"]

NAME, CUT = "conv_stack", "stem"
SAMPLES, LAYERS, CHANNELS, SIDE = 4, 16, 128, 56


def build() -> Any:
    """The module: a stem whose output is small on the wire, then the stack."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    stack: list[nn.Module] = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()]
    channels = 4
    for _ in range(LAYERS):
        layer = nn.Conv2d(channels, CHANNELS, 3, padding=1)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        stack += [layer, nn.ReLU()]
        channels = CHANNELS
    stack += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(CHANNELS, 10)]

    class ConvStack(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.tail = nn.Sequential(*stack[:2]), nn.Sequential(*stack[2:])

        def forward(self, x: Any) -> Any:
            return self.tail(self.stem(x))

    return ConvStack().eval()


def write_bundle(folder: Path) -> Path:
    """Publish the bundle in `folder`, once; its path."""
    import torch

    from exporters.capture import capture_batched, flat_graph
    from exporters.graphfile import TailProgram

    path = folder / f"{NAME}.bundle"
    if path.exists():
        return path
    torch.set_num_threads(1)
    model = build()
    program = capture_batched(model, (torch.zeros(1, 3, SIDE, SIDE),))
    assert program is not None
    graph = flat_graph(program)
    node = next(n.name for n in graph.graph.nodes if n.name.startswith("relu"))
    golden = _golden(model, node)
    with tempfile.TemporaryDirectory() as scratch:
        files = Path(scratch, "program.json"), Path(scratch, "weights.safetensors")
        TailProgram.of(graph).write(*files)
        with BundleWriter(path) as writer:
            writer.add("tail/program.json", files[0])
            writer.add("tail/weights.safetensors", files[1])
            writer.add("golden.safetensors", dump(golden))
            writer.publish(_manifest(golden, node, torch.__version__))
    return path


def _golden(model: Any, node: str) -> dict[str, Array]:
    import torch

    rng = np.random.default_rng(0)
    golden: dict[str, Array] = {}
    for i in range(SAMPLES):
        x = rng.standard_normal((1, 3, SIDE, SIDE), dtype=np.float32) * np.float32(i + 1)
        with torch.no_grad():
            boundary = model.stem(torch.from_numpy(x))
            output = model.tail(boundary).numpy()
        golden |= {
            f"input.{i}.x": x,
            f"output.{i}.output_0": output,
            f"cut.{CUT}.{i}.{node}": boundary.numpy(),
        }
    return golden


def _manifest(golden: dict[str, Array], node: str, torch_version: str) -> Manifest:
    array = golden[f"cut.{CUT}.{SAMPLES - 1}.{node}"]  # the largest
    high = float(array.max())
    cut = Cut(
        id=CUT,
        node=node,
        tensors=(TensorSpec.of(node, array),),
        per_tensor=(QuantTable((0.0,), (high,)),),
        per_channel=(QuantTable((0.0,) * array.shape[1], (high,) * array.shape[1]),),
        wire_bytes={"raw32": array.nbytes, "aq8t+deflate": array.size},
        head_flops=0.001,
        materialised=True,
        fidelity={},
    )
    return Manifest(
        schema_version=SCHEMA_VERSION,
        bundle_id="",
        name=NAME,
        source="benchmarks/ray_net.py",
        task="classification",
        labels=(),
        preprocess=None,
        inputs=(TensorSpec("x", "f32", (1, 3, SIDE, SIDE)),),
        outputs=(TensorSpec("output_0", "f32", (1, 10)),),
        artifacts=(),
        cuts=(cut,),
        tails=(Tail("tail/program.json", "tail/weights.safetensors"),),
        golden="golden.safetensors",
        calibration=None,
        evaluation=SampleSet("random numbers, for benchmarks only", SAMPLES, 0, "0" * 64),
        tool_versions={"torch": torch_version},
        recipes={},
        files={},
    )
