"""Models for the server's load, as bundles that a server can hold: no artifacts, only a tail.

Their weights and inputs are random: what they answer means nothing, and how long that takes does
not depend on it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headtail.bundle import BundleWriter
from headtail.manifest import SCHEMA_VERSION, Cut, Manifest, QuantTable, SampleSet, Tail
from headtail.tensorfile import dump
from headtail.tensors import Array, TensorSpec

__all__ = ["CONV_STACK", "DENSE_CLASSIFIER", "TailNet", "write_bundle"]

CODECS = ("raw32", "aq8t+deflate")


@dataclass(frozen=True)
class TailNet:
    """`build()` makes a module whose `stages(x)` are the boundary tensors, in the order of `cuts`,
    and the output (1, `classes`), of `x` f32 (1, 3, `side`, `side`).

    `cuts`: by id, which relu of the graph is the boundary, and the head's share of the work.
    `louder`: each input is a multiple of noise, for a net that averages noise away.
    """

    name: str
    build: Callable[[], Any]
    side: int
    classes: int
    samples: int
    cuts: dict[str, tuple[int, float]]
    louder: bool = False


def write_bundle(net: TailNet, folder: Path) -> Path:
    """Publish the bundle of `net` in `folder`, once; its path."""
    path = folder / f"{net.name}.bundle"
    if path.exists():
        return path
    import torch

    from exporters.capture import capture_batched, flat_graph
    from exporters.graphfile import TailProgram

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = net.build().eval()
    program = capture_batched(model, (torch.zeros(1, 3, net.side, net.side),))
    assert program is not None
    graph = flat_graph(program)
    relus = [node.name for node in graph.graph.nodes if node.name.startswith("relu")]
    nodes = {cut: relus[place] for cut, (place, _) in net.cuts.items()}
    golden = _golden(net, model, nodes)
    with tempfile.TemporaryDirectory() as scratch:
        files = Path(scratch, "program.json"), Path(scratch, "weights.safetensors")
        TailProgram.of(graph).write(*files)
        with BundleWriter(path) as writer:
            writer.add("tail/program.json", files[0])
            writer.add("tail/weights.safetensors", files[1])
            writer.add("golden.safetensors", dump(golden))
            writer.publish(_manifest(net, nodes, golden, torch.__version__))
    return path


def _golden(net: TailNet, model: Any, nodes: dict[str, str]) -> dict[str, Array]:
    import torch

    rng = np.random.default_rng(0)
    golden: dict[str, Array] = {}
    for i in range(net.samples):
        x = rng.standard_normal((1, 3, net.side, net.side), dtype=np.float32)
        x *= np.float32(i + 1 if net.louder else 1)
        with torch.no_grad():
            *boundaries, output = (t.numpy() for t in model.stages(torch.from_numpy(x)))
        golden |= {f"input.{i}.x": x, f"output.{i}.output_0": output}
        for (cut, node), boundary in zip(nodes.items(), boundaries, strict=True):
            golden[f"cut.{cut}.{i}.{node}"] = boundary
    return golden


def _manifest(
    net: TailNet, nodes: dict[str, str], golden: dict[str, Array], torch_version: str
) -> Manifest:
    return Manifest(
        schema_version=SCHEMA_VERSION,
        bundle_id="",
        name=net.name,
        source="benchmarks/tail_nets.py",
        task="classification",
        labels=(),
        preprocess=None,
        inputs=(TensorSpec("x", "f32", (1, 3, net.side, net.side)),),
        outputs=(TensorSpec("output_0", "f32", (1, net.classes)),),
        artifacts=(),
        cuts=tuple(_cut(net, cut, node, golden) for cut, node in nodes.items()),
        tails=(Tail("tail/program.json", "tail/weights.safetensors"),),
        golden="golden.safetensors",
        calibration=None,
        evaluation=SampleSet("random numbers, for benchmarks only", net.samples, 0, "0" * 64),
        tool_versions={"torch": torch_version},
        recipes={},
        files={},
    )


def _cut(net: TailNet, cut: str, node: str, golden: dict[str, Array]) -> Cut:
    arrays = [golden[f"cut.{cut}.{i}.{node}"] for i in range(net.samples)]
    high = max(float(array.max()) for array in arrays)
    channels = arrays[0].shape[1]
    return Cut(
        id=cut,
        node=node,
        tensors=(TensorSpec.of(node, arrays[0]),),
        per_tensor=(QuantTable((0.0,), (high,)),),
        per_channel=(QuantTable((0.0,) * channels, (high,) * channels),),
        wire_bytes=dict.fromkeys(CODECS, arrays[0].size),
        head_flops=net.cuts[cut][1],
        materialised=True,
        fidelity={},
    )


def _dense_classifier() -> Any:
    import torch
    from torch import nn

    width = 2048

    class DenseClassifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1)
            self.body = nn.Conv2d(16, 80, 3, stride=2, padding=1)
            self.first = nn.Linear(80 * 4 * 4, width)
            self.second = nn.Linear(width, width)
            self.third = nn.Linear(width, width)
            self.last = nn.Linear(width, 1000)
            for layer in self.children():  # so that answers differ as much as inputs do
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

        def stages(self, x: Any) -> tuple[Any, Any, Any]:
            features = torch.relu(self.body(torch.relu(self.stem(x))))
            hidden = torch.relu(self.first(features.flatten(1)))
            later = torch.relu(self.third(torch.relu(self.second(hidden))))
            return features, hidden, self.last(later)

        def forward(self, x: Any) -> Any:
            return self.stages(x)[-1]

    return DenseClassifier()


def _conv_stack() -> Any:
    from torch import nn

    layers, width = 16, 128
    stack: list[nn.Module] = []
    for channels in (4, *[width] * (layers - 1)):
        layer = nn.Conv2d(channels, width, 3, padding=1)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        stack += [layer, nn.ReLU()]

    class ConvStack(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
            self.tail = nn.Sequential(
                *stack, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10)
            )

        def stages(self, x: Any) -> tuple[Any, Any]:
            stem = self.stem(x)
            return stem, self.tail(stem)

        def forward(self, x: Any) -> Any:
            return self.stages(x)[-1]

    return ConvStack()


# Its tail gains from batching. The three dense layers that AlexNet and VGG made common, behind two
# convolutions: one sample reads every weight once and does two operations with it, so it is bound
# by memory, and a batch reads the weights once for all: 52 MB, more than a small machine's caches.
DENSE_CLASSIFIER = TailNet(
    "dense_classifier",
    _dense_classifier,
    side=16,
    classes=1000,
    samples=8,
    cuts={"features": (1, 0.05), "hidden": (2, 0.2)},
)
# Its tail is bound by compute beyond what Ray itself costs: sixteen 3x3 convolutions over 56x56,
# 14 GFLOP a sample and 9 MB of weights, so one core computes for most of a request's time.
CONV_STACK = TailNet(
    "conv_stack",
    _conv_stack,
    side=56,
    classes=10,
    samples=4,
    cuts={"stem": (0, 0.001)},
    louder=True,
)
