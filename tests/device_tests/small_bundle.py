"""A real bundle of a small net, made in a process of its own: `python -m ... DESTINATION`.

A convolutional net with two outputs and one cut, through the real converters to LiteRT (fp32 and
w8a8) and ExecuTorch (fp32). The Core ML entry is a stand-in of made-up bytes: no target here runs
Core ML, and what is tested is that it is counted as not run.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from headtail.bundle import BundleWriter
from headtail.manifest import (
    FORWARD,
    SCHEMA_VERSION,
    Agreement,
    Artifact,
    Cut,
    Entry,
    Manifest,
    QuantTable,
    SampleSet,
    Tail,
    head_entry,
)
from headtail.metrics import snr_db
from headtail.runtimes import desk_runtimes
from headtail.tensorfile import dump
from headtail.tensors import Array, TensorSpec
from quantizers.plan import Plan

SAMPLES = 3
CUT = "b1"
IMAGE = TensorSpec("image", "f32", (1, 3, 32, 32))
OUTPUTS = (TensorSpec("scores", "f32", (1, 5)), TensorSpec("map", "f32", (1, 2, 8, 8)))
BOUNDARY = (TensorSpec("relu_1", "f32", (1, 16, 8, 8)),)
ENTRIES = (Entry(FORWARD, (IMAGE,), OUTPUTS), Entry(head_entry(CUT), (IMAGE,), BOUNDARY))
STAND_IN = "artifacts/small.fp32.mlpackage"


class Small(torch.nn.Module):
    """A head of two convolutions; scores and a map from its last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, stride=2, padding=1),
            torch.nn.ReLU(),
            torch.nn.Conv2d(8, 16, 3, stride=2, padding=1),
            torch.nn.ReLU(),
        )
        self.scores = torch.nn.Linear(16, 5)
        self.map = torch.nn.Conv2d(16, 2, 1)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(1, 3, 32, 32) -> (1, 5) and (1, 2, 8, 8)."""
        features = self.head(image)
        return self.scores(features.mean((2, 3))), self.map(features)


def main(destination: Path) -> None:
    """Write the bundle."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = Small().eval()
    images = np.random.default_rng(3).normal(size=(SAMPLES, *IMAGE.shape)).astype(np.float32)
    golden = _golden(net, images)
    with tempfile.TemporaryDirectory() as name, BundleWriter(destination) as writer:
        made = _convert(net, images, Path(name))
        for path in made.values():
            writer.add(f"artifacts/{path.name}", path)
        writer.add(f"{STAND_IN}/Manifest.json", b"stand-in, not a model\n")
        writer.add("golden.safetensors", dump(golden))
        for rel in ("tail/program.json", "tail/weights.safetensors"):
            writer.add(rel, b"no test here enters the tail\n")
        artifacts = [_artifact(*key, path, golden) for key, path in made.items()]
        writer.publish(_manifest((*artifacts, _stand_in())))


def _golden(net: Small, images: Array) -> dict[str, Array]:
    golden: dict[str, Array] = {}
    for i, image in enumerate(images):
        tensor = torch.from_numpy(image)
        with torch.inference_mode():
            results, boundary = net(tensor), net.head(tensor)
        golden[f"input.{i}.{IMAGE.name}"] = image
        for spec, result in zip(OUTPUTS, results, strict=True):
            golden[f"output.{i}.{spec.name}"] = result.numpy()
        golden[f"cut.{CUT}.{i}.{BOUNDARY[0].name}"] = boundary.numpy()
    return golden


def _convert(net: Small, images: Array, folder: Path) -> dict[tuple[str, str], Path]:
    import litert_torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    from quantizers.litert_backend import quantize_file
    from quantizers.recipe import recipe

    example = (torch.from_numpy(images[0]),)
    parts: dict[str, torch.nn.Module] = {FORWARD: net, head_entry(CUT): net.head}
    whole, head = parts.items()
    paths = {
        ("litert", "fp32"): folder / "small.fp32.tflite",
        ("litert", "w8a8"): folder / "small.w8a8.tflite",
        ("executorch", "fp32"): folder / "small.fp32.pte",
    }
    edge = litert_torch.signature(*whole, example).signature(*head, example).convert()
    edge.export(str(paths["litert", "fp32"]))
    calibration = {name: [[image] for image in images] for name in parts}
    quantize_file(
        paths["litert", "fp32"], paths["litert", "w8a8"], Plan(recipe("w8a8")), calibration
    )
    programs = {name: torch.export.export(part, example) for name, part in parts.items()}
    lowered = to_edge_transform_and_lower(programs, partitioner=[XnnpackPartitioner()])
    with paths["executorch", "fp32"].open("wb") as file:
        lowered.to_executorch().write_to_file(file)
    return paths


def _artifact(kind: str, precision: str, path: Path, golden: dict[str, Array]) -> Artifact:
    """The manifest's entry, with agreement measured on this machine's runtime."""
    entries = {entry.name: (entry.inputs, entry.outputs) for entry in ENTRIES}
    session = desk_runtimes()[kind].load(path, entries=entries)
    snrs = []
    for i in range(SAMPLES):
        results = session.run(FORWARD, [golden[f"input.{i}.{IMAGE.name}"]])
        pairs = zip(OUTPUTS, results, strict=True)
        snrs.append(
            min(snr_db(reference=golden[f"output.{i}.{s.name}"], candidate=r) for s, r in pairs)
        )
    return Artifact(
        path=f"artifacts/{path.name}",
        format=kind,
        precision=precision,
        bytes=path.stat().st_size,
        entries=ENTRIES,
        runtime=kind,
        minimum_runtime="",
        agreement=Agreement(SAMPLES, None, None, None, float(np.mean(snrs)), min(snrs)),
        verdict="pass",
        dtypes={},
        rewrites={},
        coverage=None,
        calibration=None,
        splits={},
    )


def _stand_in() -> Artifact:
    return Artifact(
        path=STAND_IN,
        format="coreml",
        precision="fp32",
        bytes=len(b"stand-in, not a model\n"),
        entries=ENTRIES,
        runtime="",
        minimum_runtime="",
        agreement=Agreement(SAMPLES, None, None, None, 0.0, 0.0),
        verdict="poor",
        dtypes={},
        rewrites={},
        coverage=None,
        calibration=None,
        splits={},
    )


def _manifest(artifacts: tuple[Artifact, ...]) -> Manifest:
    cut = Cut(
        id=CUT,
        node=BOUNDARY[0].name,
        tensors=BOUNDARY,
        per_tensor=(QuantTable((0.0,), (1.0,)),),
        per_channel=(QuantTable((0.0,) * 16, (1.0,) * 16),),
        wire_bytes={},
        head_flops=0.9,
        materialised=True,
        fidelity={},
    )
    return Manifest(
        schema_version=SCHEMA_VERSION,
        bundle_id="",
        name="small",
        source="tests",
        task="segmentation",
        labels=(),
        preprocess=None,
        inputs=(IMAGE,),
        outputs=OUTPUTS,
        artifacts=artifacts,
        cuts=(cut,),
        tails=(Tail("tail/program.json", "tail/weights.safetensors"),),
        golden="golden.safetensors",
        calibration=None,
        evaluation=SampleSet("normal noise: a test of the harness, no claim", SAMPLES, 3, "0" * 64),
        tool_versions={},
        recipes={},
        files={},
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
