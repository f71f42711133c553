"""`headtail report BUNDLE`."""

from __future__ import annotations

from pathlib import Path

import click

from headtail.cli.console import Console, json_option

__all__ = ["command"]


@click.command("report")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    show_default=True,
    help="The page to write; replaced if it is there.",
)
@json_option
def command(bundle: Path, output: Path, as_json: bool) -> int:
    """Write what is known about a bundle as one HTML page that loads nothing.

    Accuracy, size and latency across formats and precisions, and what `quantize` measured of
    layers, distributions and changed answers. With --json, the same data as one JSON object.
    Exits 1 if a byte of the manifest or the report was changed.
    """
    console = Console(as_json)
    from headtail.bundle import open_bundle, read_report
    from headtail.report import Report
    from headtail.report_page import contents, to_html
    from headtail.strictjson import to_json

    opened = open_bundle(bundle)
    measured = read_report(opened)
    report = None if measured is None else Report.from_json(measured, path="$.report")
    known = contents(opened.manifest, report)
    page = to_html(known).encode()
    output.write_bytes(page)
    console.print(f"{len(page):,} bytes written to {output}")
    console.finish(to_json(known))
    return 0
