"""`headtail run BUNDLE IMAGE...`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headtail.cli.console import Console, json_option

if TYPE_CHECKING:
    from headtail.manifest import Manifest
    from headtail.offload.engine import Answer
    from headtail.tensors import Array

__all__ = ["command"]


@click.command("run")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--format", "format_name", default="litert", show_default=True)
@click.option("--precision", default="fp32", show_default=True)
@click.option("--server", help="Companion server's URL; without it everything runs here.")
@click.option("--cut", help="Where to cut; by default the smallest frame.")
@click.option("--codec", default="aq8t+deflate", show_default=True)
@click.option("--deadline-ms", default=1000.0, show_default=True)
@json_option
def command(  # noqa: PLR0913, PLR0917  # one parameter per option
    bundle: Path,
    images: tuple[Path, ...],
    format_name: str,
    precision: str,
    server: str | None,
    cut: str | None,
    codec: str,
    deadline_ms: float,
    as_json: bool,
) -> int:
    """Classify images with a bundle on this desk's runtimes, whole or split with a server."""
    console = Console(as_json)
    from headtail.bundle import open_bundle
    from headtail.errors import UsageFault
    from headtail.offload.client import Companion
    from headtail.offload.engine import SplitEngine
    from headtail.preprocess import load_image
    from headtail.runtimes import runtime_of

    opened = open_bundle(bundle)
    manifest = opened.manifest
    if manifest.preprocess is None:
        raise UsageFault(
            f"Bundle {manifest.name!r} declares no preprocessing.",
            expected="Images become tensors by the manifest's preprocessing only.",
            remedy="Export it with get_preprocess(), or use the Python API with arrays.",
        )
    frames = [load_image(path) for path in images]
    artifact = manifest.artifact(format_name, precision)
    entries = {entry.name: (entry.inputs, entry.outputs) for entry in artifact.entries}
    session = runtime_of(format_name).load(opened.artifact_path(artifact), entries=entries)
    companion = None
    if server:
        companion = Companion(server)
        companion.ready()  # a server that is not there is an error now, a fallback later
        if cut is None:
            cut = min(manifest.cuts, key=lambda c: c.wire_bytes[codec]).id
    engine = SplitEngine(
        opened, session, companion=companion, cut=cut, codec=codec, deadline_ms=deadline_ms
    )
    try:
        results = []
        for path, frame in zip(images, frames, strict=True):
            answer = engine.answer([manifest.preprocess(frame)])
            results.append(_result(path, answer, manifest))
            console.lines(_lines(results[-1]))
    finally:
        engine.close()
        session.close()
        if companion:
            companion.close()
    console.finish({"bundle_id": manifest.bundle_id, "results": results})
    return 0


def _result(path: Path, answer: Answer, manifest: Manifest) -> dict[str, Any]:
    return {
        "image": str(path),
        "where": answer.where,
        "reason": answer.reason,
        "cut": answer.cut,
        "codec": answer.codec,
        "total_ms": answer.total_ms,
        "bytes_up": answer.bytes_up,
        **_outcome(answer.outputs, manifest),
    }


def _outcome(outputs: list[Array], manifest: Manifest) -> dict[str, Any]:
    from headtail.postprocess import top_k

    if manifest.task == "classification":
        return {"top": [vars(ranked) for ranked in top_k(outputs[0], manifest.labels)]}
    specs = zip(manifest.outputs, outputs, strict=True)
    return {"outputs": [{"tensor": str(s), "mean": float(a.mean())} for s, a in specs]}


def _lines(result: dict[str, Any]) -> list[str]:
    head = f"{result['image']}: {result['where']}, {result['total_ms']:.1f} ms"
    if result["bytes_up"]:
        head += f", {result['bytes_up']} bytes up"
    if "top" not in result:
        return [head, *(f"  {o['tensor']} mean {o['mean']:.5g}" for o in result["outputs"])]
    return [head, *(f"  {r['probability']:6.1%}  {r['label']}" for r in result["top"])]
