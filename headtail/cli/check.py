"""`headtail check SOURCE`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from headtail.cli.console import Console, json_option, listed

if TYPE_CHECKING:
    from exporters.source import SourceModel

__all__ = ["command"]


@click.command("check")
@click.argument("source")
@click.option(
    "--format",
    "formats",
    multiple=True,
    callback=listed,
    help="litert, executorch or coreml, with commas between several.",
)
@click.option(
    "--bisect", is_flag=True, help="Also convert, and find the first module that disagrees."
)
@click.option(
    "--repro",
    type=click.Path(path_type=Path),
    default=Path("repro"),
    show_default=True,
    help="Folder for what --bisect finds.",
)
@json_option
def command(source: str, formats: tuple[str, ...], bisect: bool, repro: Path, as_json: bool) -> int:
    """Tell for every operator of a model whether each target takes it, before converting.

    Exits 1 if an operator is unsupported or unknown, or if the model cannot be captured. With
    --bisect, also converts, runs and compares growing parts of the model.
    """
    console = Console(as_json)
    import torch

    from exporters.diagnosis import check, support_table
    from exporters.source import load_module
    from exporters.target import TARGETS
    from headtail.cli.findings import check_json, check_lines

    names = tuple(dict.fromkeys(formats)) or tuple(TARGETS)
    for name in names:
        support_table(name)  # refused before the model is built
    torch.set_num_threads(1)
    model = load_module(source)
    report = check(model.module, model.example, names, progress=console)
    console.lines(check_lines(report))
    result = check_json(report)
    good = report.good
    if bisect and not report.capture:
        found, agrees = _bisected(console, model, names, repro)
        result["bisect"], good = found, good and agrees
    console.finish({"good": good, **result})
    return 0 if good else 1


def _bisected(
    console: Console, model: SourceModel, names: tuple[str, ...], repro: Path
) -> tuple[dict[str, object], bool]:
    from exporters.capture import capture, flat_graph
    from exporters.diagnosis import bisect_all
    from headtail.cli.findings import bisection_json, bisection_lines

    graph, samples = flat_graph(capture(model.module, model.example)), model.evaluation.samples
    found = []
    for result in bisect_all(graph, samples, names, folder=repro, progress=console):
        console.lines(bisection_lines(result))
        found.append(result)
    return {f.target: bisection_json(f) for f in found}, all(f.good for f in found)
