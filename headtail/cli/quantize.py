"""`headtail quantize SOURCE`."""

from __future__ import annotations

from pathlib import Path

import click

from headtail.cli.console import COUNT, Console, json_option, listed

__all__ = ["command"]


@click.command("quantize")
@click.argument("source")
@click.option(
    "--recipe",
    "recipes",
    multiple=True,
    required=True,
    callback=listed,
    help="Recipes of headtail list, with commas between several; FILE.json, one of your own; "
    "mixed, chosen weight by weight within a budget.",
)
@click.option("--max-mb", type=float, help="Budget of mixed: the largest file, in 10^6 bytes.")
@click.option(
    "--min-agreement", type=float, help="Budget of mixed: the least share of equal answers (.98)."
)
@click.option(
    "--format", "formats", multiple=True, callback=listed, help="Formats; all that honour a recipe."
)
@click.option(
    "--calibration-data",
    type=click.Path(path_type=Path),
    help="Folder of photos, or the word synthetic for noise; the source's own inputs by default.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="NAME.bundle to write.")
@click.option(
    "--fail-on", multiple=True, help="Exit 1 if an artifact is so bad: 'agreement<.95,snr<20'."
)
@click.option(
    "--tune",
    type=COUNT,
    help="Try so many configurations of ranges, scales, rounding and biases, and use the best.",
)
@click.option(
    "--finetune",
    type=COUNT,
    help="Train the weights for so many steps to answer as the float model does; no labels.",
)
@click.option("--split/--no-split", default=False, help="With: cuts, heads and a tail as export.")
@click.option("--runs", type=COUNT, default=20, show_default=True, help="Timed runs per artifact.")
@click.option("--force", is_flag=True, help="Replace an existing bundle.")
@json_option
def command(  # noqa: PLR0913, PLR0917  # one parameter per option
    source: str,
    recipes: tuple[str, ...],
    max_mb: float | None,
    min_agreement: float | None,
    formats: tuple[str, ...],
    calibration_data: Path | None,
    output: Path | None,
    fail_on: tuple[str, ...],
    tune: int | None,
    finetune: int | None,
    split: bool,
    runs: int,
    force: bool,
    as_json: bool,
) -> int:
    """Write verified, audited artifacts of these precisions, fitted to real inputs.

    SOURCE is as for export, or a bundle with cuts, to which the artifacts are added. Weights are
    rounded layer by layer on the calibration inputs, biases take the mean errors away, and every
    file is held against the program that it should equal (faithful) and against the float32 model
    (good), each with an interval.
    """
    console = Console(as_json)
    from exporters.adding import add_precisions
    from exporters.pipeline import ExportOptions, export, formats_of
    from exporters.quantized import FitOptions
    from exporters.source import load_module
    from exporters.sources.bundled import from_bundle
    from exporters.sources.calibration_folder import calibrated_with
    from headtail.bundle import open_bundle, read_report
    from headtail.cli.recipes import asked_for
    from headtail.cli.tables import export_json, export_lines
    from headtail.quality import parse_gates
    from headtail.report import Report
    from headtail.strictjson import to_json

    parse_gates(fail_on)  # before any work
    asked = asked_for(recipes, max_mb=max_mb, min_agreement=min_agreement)
    bundle = open_bundle(source) if Path(source).suffix in (".bundle", ".zip") else None
    model = from_bundle(bundle) if bundle else load_module(source)
    if calibration_data is not None:
        model = calibrated_with(model, calibration_data)
    options = ExportOptions(
        output or (bundle.path if bundle else Path(f"{model.name}.bundle")),
        formats=formats or formats_of(model),
        precisions=asked.precisions,
        recipes=asked.recipes,
        fit=FitOptions(asked.mixture, tune or 0, finetune or 0, profiles=True),
        split=split,
        force=force,
        runs=runs,
    )
    if bundle:
        result = add_precisions(bundle, model, options, progress=console)
    else:
        result = export(model, options, progress=console)
    quality = Report.from_json(read_report(result.bundle)).quality
    failed = asked.failures(result.rows, quality.reports if quality else (), fail_on)
    console.lines([*export_lines(result), *failed])
    console.finish(export_json(result) | {"quality": to_json(quality), "failed_gates": failed})
    return 0 if result.complete and not failed else 1
