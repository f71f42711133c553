"""More precisions for a bundle that exists: its own program quantized, the files added to it.

    bundle's program + calibration inputs --export--> a bundle beside it --add--> one bundle

Everything that was in the bundle stays, byte for byte. What is added has the entry point `forward`
only: cuts are named by modules, which the program in a bundle no longer knows.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

from exporters.options import ExportOptions, ExportResult
from exporters.pipeline import export
from exporters.progress import Progress
from exporters.source import SourceModel
from exporters.versions import tool_versions
from headtail.bundle import Bundle, BundleWriter, check_destination, read_report, write_report
from headtail.errors import UsageFault
from headtail.manifest import Artifact
from headtail.quality import Quality
from headtail.report import Report

__all__ = ["add_precisions"]

_WHOLE = "added to the bundle: forward only, no heads; quantize the source with --split for those"


def add_precisions(
    bundle: Bundle,
    source: SourceModel,
    options: ExportOptions,
    *,
    progress: Progress | None = None,
) -> ExportResult:
    """Export `source`, the bundle's own program, and write the bundle with these artifacts too.

    It is written to the destination of `options`, which may be the bundle itself. Without `force`
    an artifact that is there already is a `UsageFault`; with it, the new one takes its place.
    Errors are those of `export`; then nothing has changed.
    """
    _check_tools(bundle)
    if not options.force:
        _check_new(bundle, options)
    with tempfile.TemporaryDirectory(prefix="headtail-") as temporary:
        beside = Path(temporary) / options.destination.name
        alone = dataclasses.replace(options, destination=beside, split=False, cuts=(), force=False)
        result = export(source, alone, progress=progress)
        _check_names(bundle, result.bundle)  # what mixed is was chosen only now
        report = _joined(_report(bundle), _report(result.bundle))
        merged = _merged(bundle, result.bundle, options.destination)  # maybe in its place
        write_report(merged, dataclasses.replace(report, notes=(*report.notes, _WHOLE)).to_json())
    return dataclasses.replace(result, bundle=merged, remarks=(*result.remarks, _WHOLE))


def _check_new(bundle: Bundle, options: ExportOptions) -> None:
    held = {(a.format, a.precision) for a in bundle.manifest.artifacts}
    asked = {(f, p) for f in options.formats for p in options.precisions}
    twice = sorted(f"{f}.{p}" for f, p in held & asked)
    if twice:
        raise UsageFault(
            f"{bundle.path} already holds {', '.join(twice)}.",
            expected="An artifact is never replaced unasked.",
            remedy="Leave that format or recipe out, or pass --force to replace it.",
        )
    if not (options.destination.exists() and options.destination.samefile(bundle.path)):
        check_destination(options.destination, force=False)


def _check_tools(bundle: Bundle) -> None:
    held, own = bundle.manifest.tool_versions, tool_versions()
    other = sorted(name for name in held | own if held.get(name) != own.get(name))
    if other:
        name = other[0]
        raise UsageFault(
            f"{bundle.path} was written with {name} {held.get(name, '(none)')}, here is "
            f"{own.get(name, 'none')}.",
            expected="The artifacts of a bundle are made by the versions that it names.",
            remedy="Export the source again with the present versions, all precisions at once.",
        )


def _check_names(base: Bundle, made: Bundle) -> None:
    """A precision's name stands for one recipe in a bundle."""
    before, after = base.manifest.recipes, made.manifest.recipes
    for artifact in _kept(base, made):
        name = artifact.precision
        if name in after and after[name] != before.get(name):
            raise UsageFault(
                f"{base.path} holds {artifact.format}.{name}, made by another recipe of this name.",
                expected="Artifacts of a bundle that are called alike are made by the same recipe.",
                remedy="Give the recipe another name, or quantize for all formats at once with "
                "--force.",
            )


def _kept(base: Bundle, made: Bundle) -> list[Artifact]:
    """Artifacts of `base` that none of `made` takes the place of."""
    replaced = {artifact.path for artifact in made.manifest.artifacts}
    return [one for one in base.manifest.artifacts if one.path not in replaced]


def _merged(base: Bundle, made: Bundle, destination: Path) -> Bundle:
    new, kept = made.manifest.artifacts, _kept(base, made)
    dropped = {a.path for a in base.manifest.artifacts} - {a.path for a in kept}
    with BundleWriter(destination, force=True) as writer:
        for rel in base.manifest.files:
            if not any(rel == path or rel.startswith(f"{path}/") for path in dropped):
                writer.add(rel, base.file(rel))
        for artifact in new:
            writer.add(artifact.path, made.artifact_path(artifact))
        artifacts: tuple[Artifact, ...] = (*kept, *new)
        named = {artifact.precision for artifact in artifacts}
        recipes = base.manifest.recipes | made.manifest.recipes
        manifest = dataclasses.replace(
            base.manifest,
            artifacts=artifacts,
            recipes={name: said for name, said in recipes.items() if name in named},
            bundle_id="",
            files={},
        )
        return writer.publish(manifest)


def _report(bundle: Bundle) -> Report:
    held = read_report(bundle)
    return Report("export", ()) if held is None else Report.from_json(held, path="$.report")


def _joined(before: Report, after: Report) -> Report:
    """Both reports' rows and figures, the later where both have one."""
    new = {(row.format, row.precision) for row in after.artifacts}
    rows = [row for row in before.artifacts if (row.format, row.precision) not in new]
    old, quality = before.quality or Quality(), after.quality or Quality()
    made = {precision for _, precision in new}
    noise = [one for one in old.noise if one.precision not in made]
    runs = [one for one in old.sensitivity if one.storage not in made]
    kept = [one for one in old.reports if (one.format, one.precision) not in new]
    return dataclasses.replace(
        after,
        artifacts=(*rows, *after.artifacts),
        notes=tuple(dict.fromkeys((*before.notes, *after.notes))),
        conversions=before.conversions | after.conversions,
        quality=dataclasses.replace(
            quality,
            reports=(*kept, *quality.reports),
            noise=(*noise, *quality.noise),
            sensitivity=(*runs, *quality.sensitivity),
        ),
    )
