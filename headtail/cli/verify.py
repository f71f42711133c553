"""`headtail verify BUNDLE`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headtail.cli.console import COUNT, Console, json_option, listed

if TYPE_CHECKING:
    from headtail.bundle import Bundle
    from headtail.report import ArtifactRow

__all__ = ["command"]


@click.command("verify")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--runs", type=COUNT, default=20, show_default=True, help="Timed runs per artifact.")
@click.option(
    "--bisect",
    is_flag=True,
    help="Find the first module that disagrees, for formats that fail or are missing.",
)
@click.option(
    "--format",
    "formats",
    multiple=True,
    callback=listed,
    help="With --bisect, the formats to bisect.",
)
@click.option(
    "--repro",
    type=click.Path(path_type=Path),
    default=Path("repro"),
    show_default=True,
    help="Folder for what --bisect finds.",
)
@json_option
def command(  # one parameter per option
    bundle: Path,
    runs: int,
    bisect: bool,
    formats: tuple[str, ...],
    repro: Path,
    as_json: bool,
) -> int:
    """Check every byte and re-run every artifact of a bundle on its golden vectors.

    Exits 1, naming the file, if any byte of any file was changed. With --bisect, every format whose
    fp32 file is missing from the bundle or fails is converted again part by part, and the first
    module at fault is named, with a script that shows it.
    """
    _check_options(bisect, formats)
    console = Console(as_json)
    from exporters.verification import verify_artifacts
    from headtail.bundle import open_bundle, read_report, update_report
    from headtail.cli.tables import artifacts_json, cut_lines
    from headtail.report import text_table

    console.begin("hashes")
    opened = open_bundle(bundle)
    read_report(opened)
    console.note(
        f"{len(opened.manifest.files)} files match bundle {opened.manifest.bundle_id[:16]}"
    )
    result = verify_artifacts(opened, runs=runs, progress=console)
    console.print(text_table(result.rows))
    if opened.manifest.cuts:
        console.print("\nsplits of the fp32 model, as the export measured them:")
        console.lines(cut_lines(opened.manifest))
    note = "on the bundle's golden inputs; the manifest has the figures of the whole evaluation set"
    update_report(opened, "verify", result.rows, (note,))
    body: dict[str, Any] = {
        "bundle_id": opened.manifest.bundle_id,
        "verified": result.good,
        "artifacts": artifacts_json(result.rows),
        "seconds": result.seconds,
    }
    good = result.good
    if bisect:
        body["bisect"], agrees = _bisected(
            console, opened, formats or _suspects(result.rows), repro
        )
        good = good and agrees
    console.finish(body)
    return 0 if good else 1


def _check_options(bisect: bool, formats: tuple[str, ...]) -> None:
    from exporters.target import target
    from headtail.errors import UsageFault

    for name in formats:
        target(name)
    if formats and not bisect:
        raise UsageFault(
            "--format was given without --bisect.",
            expected="verify runs every artifact of the bundle.",
            remedy="Add --bisect, or leave --format out.",
        )


def _suspects(rows: Sequence[ArtifactRow]) -> tuple[str, ...]:
    """Formats whose fp32 artifact fails or is not there."""
    from exporters.target import TARGETS

    good = {row.format for row in rows if row.precision == "fp32" and row.verdict != "failed"}
    return tuple(name for name in TARGETS if name not in good)


def _bisected(
    console: Console, opened: Bundle, formats: Sequence[str], repro: Path
) -> tuple[dict[str, Any], bool]:
    from exporters.diagnosis import bisect_all, graph_of_bundle
    from exporters.verification import golden_inputs
    from headtail.cli.findings import bisection_json, bisection_lines

    if not formats:
        console.print("every format has an fp32 file that agrees: nothing to bisect")
        return {}, True
    found = []
    for result in bisect_all(
        graph_of_bundle(opened), golden_inputs(opened), formats, folder=repro, progress=console
    ):
        console.lines(bisection_lines(result))
        found.append(result)
    return {f.target: bisection_json(f) for f in found}, all(f.good for f in found)
