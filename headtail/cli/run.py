"""`headtail run BUNDLE IMAGE...`."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headtail.cli.console import Console, json_option
from headtail.cli.credentials import credential_options, read_key
from headtail.errors import UsageFault

if TYPE_CHECKING:
    from headtail.manifest import Manifest
    from headtail.offload.client import Companion
    from headtail.offload.engine import Answer
    from headtail.offload.policy import Policy
    from headtail.preprocess import Preprocess
    from headtail.tensors import Array

__all__ = ["command"]

USUAL_CODEC = "aq8t+deflate"


@click.command("run")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--format", "format_name", default="litert", show_default=True)
@click.option("--precision", default="fp32", show_default=True)
@click.option("--server", help="Companion server's URL; without it everything runs here.")
@credential_options
@click.option("--auto", is_flag=True, help="Split only where that is predicted to be faster.")
@click.option("--cut", help="Where to cut; by default the smallest frame, or with --auto any.")
@click.option("--codec", help=f"{USUAL_CODEC} by default; with --min-fidelity what reaches it.")
@click.option(
    "--deadline-ms",
    type=click.FloatRange(0, min_open=True),
    default=1000.0,
    show_default=True,
    help="When each answer must be there.",
)
@click.option(
    "--min-fidelity",
    type=click.FloatRange(0, 1),
    help="Split only where the bundle proves this share of unchanged answers.",
)
@click.option("--trace", type=click.Path(path_type=Path), help="Write why each was decided.")
@json_option
def command(  # noqa: PLR0913, PLR0917  # one parameter per option
    bundle: Path,
    images: tuple[Path, ...],
    format_name: str,
    precision: str,
    server: str | None,
    key_file: Path | None,
    pin: str | None,
    auto: bool,
    cut: str | None,
    codec: str | None,
    deadline_ms: float,
    min_fidelity: float | None,
    trace: Path | None,
    as_json: bool,
) -> int:
    """Classify images with a bundle on this desk's runtimes, whole or split with a server.

    With --auto the first images are computed here while messages in the background measure link and
    server. `headtail replay` reads what --trace writes.
    """
    console = Console(as_json)
    from headtail.bundle import open_bundle
    from headtail.offload.engine import OffloadEngine
    from headtail.offload.policy import Policy
    from headtail.preprocess import load_image
    from headtail.runtimes import runtime_of

    asked = Policy("off", cut, codec, deadline_ms, minimum_fidelity=min_fidelity)
    opened = open_bundle(bundle)
    manifest = opened.manifest
    preprocess = _preprocess(manifest)
    frames = [load_image(path) for path in images]
    artifact = manifest.artifact(format_name, precision)
    entries = {entry.name: (entry.inputs, entry.outputs) for entry in artifact.entries}
    results = []
    with ExitStack() as held:
        policy = _policy(manifest, server, auto, asked)
        companion = None if server is None else _companion(held, server, pin, key_file)
        session = held.enter_context(
            closing(runtime_of(format_name).load(opened.artifact_path(artifact), entries=entries))
        )
        engine = OffloadEngine(opened, artifact, session, companion=companion, policy=policy)
        held.callback(engine.close)
        for path, frame in zip(images, frames, strict=True):
            answer = engine.answer([preprocess(frame)])
            results.append(_result(path, answer, manifest))
            console.lines(_lines(results[-1]))
        if trace is not None:
            trace.write_text(engine.trace.text(), encoding="utf-8")
    console.finish({"bundle_id": manifest.bundle_id, "results": results})
    return 0


def _preprocess(manifest: Manifest) -> Preprocess:
    if manifest.preprocess is None:
        raise UsageFault(
            f"Bundle {manifest.name!r} declares no preprocessing.",
            expected="Images become tensors by the manifest's preprocessing only.",
            remedy="Export it with get_preprocess(), or use the Python API with arrays.",
        )
    return manifest.preprocess


def _companion(held: ExitStack, server: str, pin: str | None, key_file: Path | None) -> Companion:
    """A server that is not there is an error now, not later."""
    from headtail.offload.client import Companion

    companion = held.enter_context(closing(Companion(server, pin=pin, key=read_key(key_file))))
    companion.ready()
    return companion


def _policy(manifest: Manifest, server: str | None, auto: bool, asked: Policy) -> Policy:
    """What was asked for, in a form that the engine takes; a minimum leaves more to choose."""
    if server is None:
        minimum = asked.minimum_fidelity
        for option, given in (("--cut", asked.cut), ("--auto", auto), ("--min-fidelity", minimum)):
            if given is not None and given is not False:
                raise UsageFault(
                    f"{option}{'' if given is True else f' {given}'} was given without --server.",
                    expected="Without a server the whole model runs here.",
                    remedy=f"Name a server, or leave {option} out.",
                )
        return asked
    if not manifest.cuts:
        raise UsageFault(
            f"Bundle {manifest.name!r} has no cuts.",
            expected="A server continues a model from a cut.",
            remedy="Leave --server out, or export the model again with cuts.",
        )
    if asked.cut is not None:
        manifest.cut(asked.cut)
    asked = dataclasses.replace(asked, mode="auto" if auto else "force")
    if asked.minimum_fidelity is not None:
        return asked
    codec = asked.codec or USUAL_CODEC
    cut = asked.cut if auto else asked.cut or _smallest_cut(manifest, codec)
    return dataclasses.replace(asked, cut=cut, codec=codec)


def _smallest_cut(manifest: Manifest, codec: str) -> str:
    sizes = {cut.id: cut.wire_bytes[codec] for cut in manifest.cuts if codec in cut.wire_bytes}
    if not sizes:
        raise UsageFault(
            f"No cut of {manifest.name!r} was measured with codec {codec}.",
            expected=f"Its cuts: {', '.join(cut.id for cut in manifest.cuts) or '(none)'}.",
            remedy="Name one with --cut, or leave --server out.",
        )
    return min(sizes, key=sizes.__getitem__)


def _result(path: Path, answer: Answer, manifest: Manifest) -> dict[str, Any]:
    return {
        "image": str(path),
        "where": answer.where,
        "reason": answer.reason,
        "decision": answer.decision.reason,
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
