"""A small, complete, valid bundle for tests that need one and do not care what is in it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from headtail.bundle import Bundle, BundleWriter
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
from headtail.metrics import wilson_interval
from headtail.preprocess import Preprocess
from headtail.report import ArtifactRow, Report
from headtail.tensorfile import dump
from headtail.tensors import Array, TensorSpec

LABELS = ("cat", "dog", "ship")
IMAGE = TensorSpec("image", "f32", (1, 3, 8, 8))
LOGITS = TensorSpec("logits", "f32", (1, len(LABELS)))
EARLY = (TensorSpec("relu", "f32", (1, 4, 4, 4)),)
LATE = (TensorSpec("mul", "f32", (1, 2, 2, 2)), TensorSpec("gate", "f32", (1, 2, 1, 1)))
PREPROCESS = Preprocess(
    height=8,
    width=8,
    colour="RGB",
    fit="crop",
    crop_fraction=1.0,
    resize="bilinear",
    scale=1 / 255,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    layout="NCHW",
)
SAMPLES = 2


def tiny_bundle(folder: Path, *, name: str = "tiny") -> Bundle:
    """`folder/NAME.bundle`: one LiteRT artifact and one Core ML folder, the cuts `early` (one
    tensor) and `late` (two tensors, of which one is a gate), labels, golden vectors with frames.

    Written through `BundleWriter`, so manifest, hashes and golden file are real and consistent. The
    artifacts and the tail are NOT models but made-up bytes: no runtime can load them, and the
    agreement and wire sizes in the manifest were measured by nobody.
    """
    with BundleWriter(folder / f"{name}.bundle") as writer:
        for rel, data in FILES.items():
            writer.add(rel, data)
        golden = golden_tensors()
        writer.add("golden.safetensors", dump(golden))
        return writer.publish(manifest_of(golden, name=name))


def tiny_report(*, command: str = "verify") -> Report:
    """A report with one row per verdict; its figures are made up."""
    poor = dataclasses.replace(
        PASSED,
        precision="w8a8",
        bytes=5_600_000,
        agreement=0.7,
        low=0.575,
        high=0.801,
        snr_db_mean=14.8,
        snr_db_min=9.1,
        verdict="poor",
        note="static int8 by the plain path",
    )
    return Report(command, (PASSED, poor, FAILED), ("int8 by the plain path is poor here.",))


PASSED = ArtifactRow(
    format="litert",
    precision="fp32",
    bytes=18_800_000,
    agreement=1.0,
    n=60,
    low=wilson_interval(60, 60)[0],
    high=1.0,
    snr_db_mean=float("inf"),
    snr_db_min=128.64,
    latency_ms_p50=12.5,
    latency_ms_p90=13.75,
    runtime="LiteRT 2.3.0",
    timing_kind="host",
    verdict="pass",
    note="",
)
FAILED = ArtifactRow(
    format="coreml",
    precision="fp32",
    bytes=0,
    agreement=None,
    n=0,
    low=None,
    high=None,
    snr_db_mean=None,
    snr_db_min=None,
    latency_ms_p50=None,
    latency_ms_p90=None,
    runtime="",
    timing_kind="",
    verdict="failed",
    note="the converter refuses <alias> & co.",
)
FILES: dict[str, bytes] = {
    "artifacts/tiny.fp32.tflite": b"not a model: litert fp32\n",
    "artifacts/tiny.fp32.mlpackage/Manifest.json": b"{}\n",
    "artifacts/tiny.fp32.mlpackage/Data/com.apple.CoreML/model.mlmodel": b"not a model\n",
    "artifacts/tiny.fp32.mlpackage/Data/com.apple.CoreML/weights/weight.bin": bytes(range(16)),
    "tail/program.json": b'{"not":"a program"}\n',
    "tail/weights.safetensors": b"not weights\n",
}


def golden_tensors() -> dict[str, Array]:
    """Deterministic golden vectors of the shapes that the manifest promises."""
    rng = np.random.default_rng(7)
    golden: dict[str, Array] = {}
    for i in range(SAMPLES):
        frame = rng.integers(0, 256, (10, 12, 3), np.uint8)
        golden[f"frame.{i}"] = frame
        golden[f"input.{i}.{IMAGE.name}"] = PREPROCESS(frame)
        golden[f"output.{i}.{LOGITS.name}"] = rng.normal(size=LOGITS.shape).astype(np.float32)
        for cut, specs in (("early", EARLY), ("late", LATE)):
            for spec in specs:
                value = np.abs(rng.normal(size=spec.shape)).astype(np.float32)
                golden[f"cut.{cut}.{i}.{spec.name}"] = value
    return golden


def manifest_of(golden: dict[str, Array], *, name: str) -> Manifest:
    """The manifest of `tiny_bundle`, before `publish` fills in `files` and `bundle_id`."""
    cuts = (_cut("early", EARLY, golden, flops=0.25), _cut("late", LATE, golden, flops=0.75))
    return Manifest(
        schema_version=SCHEMA_VERSION,
        bundle_id="",
        name=name,
        source="tests",
        task="image-classification",
        labels=LABELS,
        preprocess=PREPROCESS,
        inputs=(IMAGE,),
        outputs=(LOGITS,),
        artifacts=(
            _artifact("artifacts/tiny.fp32.tflite", "litert", "LiteRT 2.3.0"),
            _artifact("artifacts/tiny.fp32.mlpackage", "coreml", "MIL reference interpreter"),
        ),
        cuts=cuts,
        tails=(Tail("tail/program.json", "tail/weights.safetensors"),),
        golden="golden.safetensors",
        calibration=SampleSet("made up", SAMPLES, 7, "0" * 64),
        evaluation=SampleSet("made up", SAMPLES, 8, "1" * 64),
        tool_versions={"headtail": "0.1.0"},
        recipes={},
        files={},
    )


def _agreement() -> Agreement:
    return Agreement(SAMPLES, 1.0, *wilson_interval(SAMPLES, SAMPLES), 120.0, 110.0)


def _artifact(path: str, kind: str, runtime: str) -> Artifact:
    heads = tuple(Entry(head_entry(i), (IMAGE,), t) for i, t in (("early", EARLY), ("late", LATE)))
    return Artifact(
        path=path,
        format=kind,
        precision="fp32",
        bytes=sum(len(data) for rel, data in FILES.items() if rel.startswith(path)),
        entries=(Entry(FORWARD, (IMAGE,), (LOGITS,)), *heads),
        runtime=runtime,
        minimum_runtime="",
        agreement=_agreement(),
        verdict="pass",
        dtypes={"f32": 100},
        rewrites={},
        coverage=None,
        calibration=None,
        splits={},
    )


def _cut(
    cut_id: str, specs: tuple[TensorSpec, ...], golden: dict[str, Array], *, flops: float
) -> Cut:
    per_tensor, per_channel = [], []
    for spec in specs:
        values = np.concatenate([golden[f"cut.{cut_id}.{i}.{spec.name}"] for i in range(SAMPLES)])
        axes = (0, *range(2, values.ndim))
        per_tensor.append(QuantTable((float(values.min()),), (float(values.max()),)))
        per_channel.append(
            QuantTable(
                tuple(map(float, values.min(axis=axes))), tuple(map(float, values.max(axis=axes)))
            )
        )
    raw = sum(spec.nbytes for spec in specs)
    return Cut(
        id=cut_id,
        node=specs[0].name,
        tensors=specs,
        per_tensor=tuple(per_tensor),
        per_channel=tuple(per_channel),
        wire_bytes={"raw32": raw, "aq8t+deflate": raw // 4},
        head_flops=flops,
        materialised=True,
        fidelity={codec: _agreement() for codec in ("raw32", "aq8t+deflate")},
    )
