"""A manifest and a report with every section of the page filled. Its figures are computed, by the
functions that compute them for real files, of outputs that are made up."""

from __future__ import annotations

import dataclasses

import numpy as np

from headtail.manifest import Agreement, Coverage, LeftOver, Manifest, SampleSet
from headtail.quality import (
    Halves,
    LayerNoise,
    NoiseProfile,
    Quality,
    QualityReport,
    Sensitivity,
    SensitivityRun,
    Settings,
    assess,
    equalized,
    with_thumbnails,
)
from headtail.report import Effort, Report
from headtail.tensors import Array
from tests.support.bundles import FAILED, PASSED, golden_tensors, manifest_of

INPUTS = 60
_FRAMES = np.random.default_rng(5).integers(0, 256, (INPUTS, 40, 60, 3), np.uint8)


def full_manifest() -> Manifest:
    """litert.fp32, coreml.fp32, and litert.w8a8 with an operator that no delegate takes."""
    manifest = manifest_of(golden_tensors(), name="tiny")
    first = manifest.artifacts[0]
    quantized = dataclasses.replace(
        first,
        path="artifacts/tiny.w8a8.tflite",
        precision="w8a8",
        bytes=first.bytes // 4,
        agreement=Agreement(2, 0.5, 0.09, 0.91, 14.8, 9.1),
        splits={"late": {"raw32": Agreement(2, 0.5, 0.09, 0.91, 15.5, 9.5)}},
        verdict="poor",
        dtypes={"i8": 96, "f32": 4},
        coverage=Coverage("XNNPACK", 0.75, 2, (LeftOver("aten.<pad>", "blocks.0", 3),)),
    )
    artifacts = (first, quantized, *manifest.artifacts[1:])
    return dataclasses.replace(manifest, artifacts=artifacts, bundle_id="f" * 64)


def full_report() -> Report:
    """Rows for the artifacts of `full_manifest`, one that failed, and all of `quality`."""
    emulated = dataclasses.replace(
        PASSED, format="coreml", latency_ms_p50=99.5, latency_ms_p90=99.5, timing_kind="emulated"
    )
    rows = (
        PASSED,
        dataclasses.replace(PASSED, precision="w8a8", verdict="poor", latency_ms_p50=4.25, n=2),
        emulated,
        dataclasses.replace(FAILED, precision="w4"),
    )
    return Report(
        "quantize",
        rows,
        ("a <remark>",),
        {"calibrate": 12.25},
        {"litert.w8a8": Effort(3.5, 10**8)},
        full_quality(),
    )


def full_quality() -> Quality:
    """Two reports, one of them with changed answers, and the network's sections."""
    layers = ("stem.conv", "blocks.0.depthwise", "classifier")
    kinds = ("conv", "depthwise", "linear")
    values = np.random.default_rng(3).normal(size=(6, 4, 3, 3))
    noise = tuple(
        LayerNoise(layer, kind, db)
        for layer, kind, db in zip(layers, kinds, (41.25, -3.5, 20.75), strict=True)
    )
    damage = tuple(
        Sensitivity(layer, kind, 100 * i + 9, one)
        for i, (layer, kind, one) in enumerate(zip(layers, kinds, (0.5, 0.125, 1e-6), strict=True))
    )
    return Quality(
        reports=(quality_report("litert", "fp32", 0.0), quality_report("litert", "w8a8", 2.0)),
        noise=(NoiseProfile("", "w8a8", 16, noise),),
        sensitivity=(SensitivityRun("one at a time", "i8", 16, damage),),
        equalization=(equalized("stem.conv.weight", "weight", values * 3, values),),
        steps=("folded 1 batch norm",),
        evaluation=SampleSet("made up crops", INPUTS, 11, "2" * 64),
        halves=Halves(12, 2.0, 3.25, "stem.conv", 0.5, "classifier", 9),
    )


def quality_report(format_name: str, precision: str, noise: float) -> QualityReport:
    """Of a made-up classifier of three classes, with `noise` on its logits."""
    reference, candidate = logits(noise)
    report = assess(
        reference,
        candidate,
        kind=(format_name, precision),
        labels=reference.argmax(axis=1),
        groups=[("day", "<night>")[i % 2] for i in range(INPUTS)],
        program_outputs=np.add(candidate, 1e-4),
        settings=Settings(resamples=100, slice_minimum=5),
    )
    audit = f"asked {precision}, got <it>"
    return dataclasses.replace(with_thumbnails(report, lambda i: _FRAMES[i], limit=3), audit=audit)


def logits(noise: float) -> tuple[Array, Array]:
    """(60, 3) of the reference and, with noise, of the candidate."""
    generator = np.random.default_rng(7)
    reference = 2 * generator.normal(size=(INPUTS, 3))
    return reference, reference + noise * generator.normal(size=reference.shape)
