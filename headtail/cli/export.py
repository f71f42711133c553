"""`headtail export SOURCE`."""

from __future__ import annotations

from pathlib import Path

import click

from headtail.cli.console import COUNT, Console, json_option, listed

__all__ = ["command"]

_POSITIVE = click.FloatRange(min=0, min_open=True)


@click.command("export")
@click.argument("source")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="NAME.bundle to write.")
@click.option("--name", default="", help="Name in the manifest; the source's own by default.")
@click.option(
    "--format",
    "formats",
    multiple=True,
    callback=listed,
    help="litert, executorch or coreml, with commas between several.",
)
@click.option(
    "--precision", "precisions", multiple=True, callback=listed, help="Names of headtail list."
)
@click.option("--cut", "cuts", multiple=True, callback=listed, help="Cut ids or node names.")
@click.option(
    "--images",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of photos to calibrate and judge with, for networks of a hub.",
)
@click.option(
    "--split/--no-split", default=True, help="Without: no cuts, no heads, no tail; the model whole."
)
@click.option(
    "--fold-preprocess",
    is_flag=True,
    help="The files take pixels of 0 to 255: normalisation moves into their weights.",
)
@click.option("--channels-last", is_flag=True, help="Pictures are NHWC in and out; LiteRT only.")
@click.option(
    "--dynamic",
    multiple=True,
    callback=listed,
    help="Sizes the files take: batch=1..8, or INPUT:AXIS=LOW..HIGH/STEP.",
)
@click.option("--runs", type=COUNT, default=20, show_default=True, help="Timed runs per artifact.")
@click.option("--force", is_flag=True, help="Replace an existing bundle.")
@click.option("--rebuild", is_flag=True, help="Take nothing from the cache of earlier exports.")
@click.option("--time-limit", type=_POSITIVE, help="Seconds after which a converter is ended.")
@click.option("--memory-limit", type=_POSITIVE, help="GB at which a converter is ended.")
@json_option
def command(  # noqa: PLR0913, PLR0917  # one parameter per option
    source: str,
    output: Path | None,
    name: str,
    formats: tuple[str, ...],
    precisions: tuple[str, ...],
    cuts: tuple[str, ...],
    images: Path | None,
    split: bool,
    fold_preprocess: bool,
    channels_last: bool,
    dynamic: tuple[str, ...],
    runs: int,
    force: bool,
    rebuild: bool,
    time_limit: float | None,
    memory_limit: float | None,
    as_json: bool,
) -> int:
    """Turn a PyTorch model into a verified bundle for phones.

    SOURCE is a script (path/to/file.py) or module (package.module) that defines get_model() and
    get_args(), package.module:factory, program.pt2, or a network of a hub: timm:NAME,
    torchvision:NAME, hf:ID, keras:FILE. `headtail list sources` has them all.
    """
    console = Console(as_json)
    from exporters.pipeline import ExportOptions, export, formats_of
    from exporters.processes import Limits
    from exporters.source import load_source
    from exporters.target import target
    from headtail.cli.tables import export_json, export_lines
    from quantizers.recipe import recipe

    for format_name in formats:
        target(format_name)
    for precision in precisions:
        recipe(precision)
    model = load_source(source, name=name, images=images)
    options = ExportOptions(
        output or Path(f"{model.name}.bundle"),
        formats=formats or formats_of(model, channels_last=channels_last),
        precisions=precisions,
        cuts=cuts,
        split=split,
        force=force,
        runs=runs,
        limits=Limits.of(seconds=time_limit, gigabytes=memory_limit),
        rebuild=rebuild,
        fold_preprocess=fold_preprocess,
        channels_last=channels_last,
        dynamic=dynamic,
    )
    result = export(model, options, progress=console)
    console.lines(export_lines(result))
    console.finish(export_json(result))
    return 0 if result.complete else 1
