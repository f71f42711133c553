"""A model whose tail gains from batching, as a bundle that a server can hold.

The classifier that AlexNet and VGG made common, three dense layers, behind two convolutions: one
sample reads every weight once and does two operations with it, so it is bound by memory, and a
batch reads the weights once for all: 52 MB, which no level of cache of a small machine holds. Its
weights and inputs are random: what it answers means nothing, and how long it takes does not depend
on that. Two cuts, `features` and `hidden`, so that clients can enter at different ones.
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

NAME = "dense_classifier"
SAMPLES = 8
WIDTH = 2048
CODECS = ("raw32", "aq8t+deflate")


def build() -> Any:
    """The module; its `stages` are the two boundary tensors and the output."""
    import torch
    from torch import nn

    class DenseClassifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1)
            self.body = nn.Conv2d(16, 80, 3, stride=2, padding=1)
            self.first = nn.Linear(80 * 4 * 4, WIDTH)
            self.second = nn.Linear(WIDTH, WIDTH)
            self.third = nn.Linear(WIDTH, WIDTH)
            self.last = nn.Linear(WIDTH, 1000)
            for layer in self.children():  # so that answers differ as much as inputs do
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

        def stages(self, x: Any) -> tuple[Any, Any, Any]:
            features = torch.relu(self.body(torch.relu(self.stem(x))))
            hidden = torch.relu(self.first(features.flatten(1)))
            later = torch.relu(self.third(torch.relu(self.second(hidden))))
            return features, hidden, self.last(later)

        def forward(self, x: Any) -> Any:
            return self.stages(x)[2]

    torch.manual_seed(0)
    return DenseClassifier().eval()


def write_bundle(folder: Path) -> Path:
    """Publish the bundle in `folder`, once; its path."""
    path = folder / f"{NAME}.bundle"
    if path.exists():
        return path
    import torch

    from exporters.capture import capture_batched, flat_graph
    from exporters.graphfile import TailProgram

    torch.set_num_threads(1)
    model = build()
    program = capture_batched(model, (torch.zeros(1, 3, 16, 16),))
    assert program is not None
    graph = flat_graph(program)
    with tempfile.TemporaryDirectory() as scratch:
        files = Path(scratch, "program.json"), Path(scratch, "weights.safetensors")
        TailProgram.of(graph).write(*files)
        golden, names = _golden(model), _boundaries(graph)
        cuts = tuple(_cut(name, node, golden) for name, node in names.items())
        for name, node in names.items():
            for i in range(SAMPLES):
                golden[f"cut.{name}.{i}.{node}"] = golden.pop(f"{name}.{i}")
        with BundleWriter(path) as writer:
            writer.add("tail/program.json", files[0])
            writer.add("tail/weights.safetensors", files[1])
            writer.add("golden.safetensors", dump(golden))
            writer.publish(_manifest(cuts, torch.__version__))
    return path


def _golden(model: Any) -> dict[str, Array]:
    import torch

    rng = np.random.default_rng(0)
    golden: dict[str, Array] = {}
    for i in range(SAMPLES):
        x = rng.standard_normal((1, 3, 16, 16), dtype=np.float32)
        with torch.no_grad():
            features, hidden, output = (t.numpy() for t in model.stages(torch.from_numpy(x)))
        golden |= {
            f"input.{i}.x": x,
            f"output.{i}.output_0": output,
            f"features.{i}": features,
            f"hidden.{i}": hidden,
        }
    return golden


def _boundaries(graph: Any) -> dict[str, str]:
    """Cut id -> the graph value of the second and third relu, which are its boundary tensors."""
    module = graph.module if hasattr(graph, "module") else graph
    relus = [node.name for node in module.graph.nodes if node.name.startswith("relu")]
    return {"features": relus[1], "hidden": relus[2]}


def _cut(name: str, node: str, golden: dict[str, Array]) -> Cut:
    arrays = [golden[f"{name}.{i}"] for i in range(SAMPLES)]
    high = max(float(array.max()) for array in arrays)
    channels = arrays[0].shape[1]
    return Cut(
        id=name,
        node=node,
        tensors=(TensorSpec.of(node, arrays[0]),),
        per_tensor=(QuantTable((0.0,), (high,)),),
        per_channel=(QuantTable((0.0,) * channels, (high,) * channels),),
        wire_bytes=dict.fromkeys(CODECS, arrays[0].size),
        head_flops=0.05 if name == "features" else 0.2,
        materialised=True,
        fidelity={},
    )


def _manifest(cuts: tuple[Cut, ...], torch_version: str) -> Manifest:
    return Manifest(
        schema_version=SCHEMA_VERSION,
        bundle_id="",
        name=NAME,
        source="benchmarks/server_nets.py",
        task="classification",
        labels=(),
        preprocess=None,
        inputs=(TensorSpec("x", "f32", (1, 3, 16, 16)),),
        outputs=(TensorSpec("output_0", "f32", (1, 1000)),),
        artifacts=(),
        cuts=cuts,
        tails=(Tail("tail/program.json", "tail/weights.safetensors"),),
        golden="golden.safetensors",
        calibration=None,
        evaluation=SampleSet("random numbers, for the server's load only", SAMPLES, 0, "0" * 64),
        tool_versions={"torch": torch_version},
        recipes={},
        files={},
    )
