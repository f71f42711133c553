"""`headtail demo`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headtail.cli.console import Console, json_option

if TYPE_CHECKING:
    from exporters.pipeline import ExportResult
    from exporters.source import SourceModel
    from headtail.demo import Fallback, Split

__all__ = ["command"]

MODEL = "exporters.efficientnet_lite0"
_SPLIT_AGREEMENT = 0.98


@click.command("demo")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Keep the bundle as NAME.bundle."
)
@click.option("--force", is_flag=True, help="Replace an existing bundle.")
@json_option
def command(output: Path | None, force: bool, as_json: bool) -> int:
    """Export, verify, pack, serve and run split EfficientNet-Lite0 on real photos.

    Ends with one JSON object on standard output, with or without --json; needs no screen, no
    network and no phone.
    """
    console = Console(as_json)
    with tempfile.TemporaryDirectory(prefix="headtail-demo-") as temporary:
        destination = output or Path(temporary) / "efficientnet_lite0.bundle"
        return _demo(console, destination, force=force)


def _demo(console: Console, destination: Path, *, force: bool) -> int:
    import torch

    from exporters.pipeline import ExportOptions, export
    from exporters.progress import StageClock
    from exporters.source import load_module
    from headtail.cli.tables import export_lines

    options = ExportOptions(destination, force=force)  # refused before the long work
    torch.set_num_threads(1)
    clock = StageClock(console)
    with clock.stage("load"):
        source = load_module(MODEL)
    result = export(source, options, progress=console)
    console.lines(export_lines(result))
    split, fallback = _offload(console, clock, source, result)
    console.lines(_offload_lines(split, fallback))
    good = result.complete and _good(split, fallback)
    body = _body(result, split, fallback, {**clock.seconds, **result.seconds})
    console.finish({**body, "good": good}, always=True)
    return 0 if good else 1


def _offload(
    console: Console, clock: Any, source: SourceModel, result: ExportResult
) -> tuple[Split, Fallback]:
    import torch

    from headtail.demo import run_fallback, run_split, serving
    from headtail.runtimes import desk_runtimes

    artifact = result.bundle.manifest.artifact("litert", "fp32")
    entries = {entry.name: (entry.inputs, entry.outputs) for entry in artifact.entries}
    session = desk_runtimes()["litert"].load(result.bundle.artifact_path(artifact), entries=entries)
    samples = source.evaluation.samples
    with torch.inference_mode():
        expected = [source.module(torch.from_numpy(s[0])).numpy() for s in samples]
    with clock.stage("serve and split"), serving(result.bundle.path) as served:
        console.note(f"companion server at {served.url}")
        split = run_split(result.bundle, session, served.url, samples, expected=expected)
        console.note("killing the server in mid-run")
        fallback = run_fallback(result.bundle, session, served, samples, expected=expected)
    session.close()
    return split, fallback


def _offload_lines(split: Split, fallback: Fallback) -> list[str]:
    ratio = split.fp32_bytes / split.bytes_on_wire
    return [
        "",
        f"split at {split.cut}, {split.codec}: agrees with unsplit fp32 PyTorch on "
        f"{split.agreement:.3f} of {split.n} (95 % interval {split.low:.3f}-{split.high:.3f})",
        f"  {split.bytes_on_wire} bytes on the wire, {ratio:.1f}x below the fp32 tensors",
        f"  local {split.local_ms_p50:.1f} ms, split {split.split_ms_p50:.1f} ms (p50, host, "
        f"loopback; {split.added_ms_p50:.2f} ms of it neither head nor tail); head and tail share "
        "one desk here, so this shows that splitting works, not that it pays: see headtail plan",
        f"server killed after {fallback.before}: {fallback.answered} of {fallback.asked} further "
        f"inputs answered, {fallback.right} as fp32 PyTorch does, {fallback.in_time} within "
        f"{fallback.deadline_ms:.0f} ms, {fallback.marked_lost} marked local (server lost), "
        f"slowest {fallback.slowest_ms:.1f} ms",
    ]


def _good(split: Split, fallback: Fallback) -> bool:
    counts = {fallback.answered, fallback.right, fallback.in_time, fallback.marked_lost}
    return counts == {fallback.asked} and split.agreement >= _SPLIT_AGREEMENT


def _body(
    result: ExportResult, split: Split, fallback: Fallback, seconds: dict[str, float]
) -> dict[str, Any]:
    from headtail.cli.tables import artifacts_json

    return {
        "bundle_id": result.bundle.manifest.bundle_id,
        "artifacts": artifacts_json(result.rows),
        "failures": [vars(failure) for failure in result.failures],
        "split": vars(split),
        "fallback": vars(fallback),
        "seconds": seconds,
        "tool_versions": result.bundle.manifest.tool_versions,
    }
