"""The Python façade: what the command line does, for a model that is already in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from exporters.pipeline import ExportResult
    from exporters.verification import Verification
    from headtail.preprocess import Preprocess

__all__ = ["export", "verify"]


def export(  # noqa: PLR0913  # the command's options, keyword-only
    model: torch.nn.Module,
    inputs: Sequence[torch.Tensor],
    *,
    output: str | Path,
    name: str = "",
    formats: Sequence[str] = (),
    precisions: Sequence[str] = (),
    cuts: Sequence[str] = (),
    labels: Sequence[str] = (),
    preprocess: Preprocess | None = None,
    calibration: Iterable[Any] | None = None,
    evaluation: Iterable[Any] | None = None,
    eval_labels: Iterable[Any] = (),
    eval_slices: Iterable[str] = (),
    split: bool = True,
    fold_preprocess: bool = False,
    channels_last: bool = False,
    dynamic: Sequence[str] = (),
    force: bool = False,
    runs: int = 20,
    rebuild: bool = False,
    time_limit: float | None = None,
    memory_limit: float | None = None,
) -> ExportResult:
    """Export a live model to a verified bundle at `output` (`NAME.bundle`).

    `inputs`: one tensor per argument of forward(), batch 1, contiguous. `calibration` and
    `evaluation` are iterables of inputs (tuples of arrays, or uint8 photos if `preprocess` is
    given) that share nothing; without `evaluation` the example inputs are all that is compared.
    `eval_labels` (the index of the right class) and `eval_slices` (any name) are one per evaluation
    input: with them the report has accuracies and the worst slice.
    Empty `formats`, `precisions`, `cuts` mean all formats, all precisions they honour, three cuts.
    Without `split` the model stays whole: no cuts, no heads, no tail. With `fold_preprocess` the
    normalisation of `preprocess` is in the files, which take pixels of 0 to 255. With
    `channels_last` pictures are NHWC in and out, and LiteRT is the one format. `dynamic` are ranges
    of sizes that the files take (`batch=1..8`, `x:2=160..320/32`); such a model stays whole.
    `rebuild` takes nothing from the cache of earlier exports. `runs` counts timed runs per
    artifact. A converter is ended after `time_limit` seconds, or when its process holds
    `memory_limit` GB.
    Raises `SourceFault` for a model that cannot be exported as given, `UsageFault` for options
    that cannot be, `GateFailed` if nothing could be proven. Formats that fail are in
    `result.failures`; the others are written.
    """
    from exporters.pipeline import ExportOptions, formats_of
    from exporters.pipeline import export as run
    from exporters.processes import Limits
    from exporters.source import from_module

    source = from_module(
        model,
        inputs,
        name=name,
        labels=labels,
        preprocess=preprocess,
        calibration=calibration,
        evaluation=evaluation,
        eval_labels=eval_labels,
        eval_slices=eval_slices,
    )
    options = ExportOptions(
        Path(output),
        formats=tuple(formats) or formats_of(source, channels_last=channels_last),
        precisions=tuple(precisions),
        cuts=tuple(cuts),
        split=split,
        force=force,
        runs=runs,
        rebuild=rebuild,
        fold_preprocess=fold_preprocess,
        channels_last=channels_last,
        dynamic=tuple(dynamic),
        limits=Limits.of(seconds=time_limit, gigabytes=memory_limit),
    )
    return run(source, options)


def verify(path: str | Path, *, runs: int = 20) -> Verification:
    """Check every byte of a bundle and re-run every artifact on its golden vectors.

    `runs` counts timed runs per artifact. Raises `IntegrityFault` naming the file if a byte was
    changed, in its report too.
    """
    from exporters.verification import verify_artifacts
    from headtail.bundle import open_bundle, read_report

    bundle = open_bundle(Path(path))
    read_report(bundle)
    return verify_artifacts(bundle, runs=runs)
