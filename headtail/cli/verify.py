"""`headtail verify BUNDLE`."""

from __future__ import annotations

from pathlib import Path

import click

from headtail.cli.console import COUNT, Console, json_option

__all__ = ["command"]


@click.command("verify")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--runs", type=COUNT, default=20, show_default=True, help="Timed runs per artifact.")
@json_option
def command(bundle: Path, runs: int, as_json: bool) -> int:
    """Check every byte and re-run every artifact of a bundle on its golden vectors.

    Exits 1, naming the file, if any byte of any file was changed.
    """
    console = Console(as_json)
    from exporters.verification import verify_artifacts
    from headtail.bundle import open_bundle, read_report, write_report
    from headtail.cli.tables import artifacts_json
    from headtail.report import Report, text_table

    console.begin("hashes")
    opened = open_bundle(bundle)
    read_report(opened)
    console.note(
        f"{len(opened.manifest.files)} files match bundle {opened.manifest.bundle_id[:16]}"
    )
    result = verify_artifacts(opened, runs=runs, progress=console)
    console.print(text_table(result.rows))
    note = "on the bundle's golden inputs; the manifest has the figures of the whole evaluation set"
    write_report(opened, Report("verify", result.rows, (note,)).to_json())
    console.finish(
        {
            "bundle_id": opened.manifest.bundle_id,
            "verified": result.good,
            "artifacts": artifacts_json(result.rows),
            "seconds": result.seconds,
        }
    )
    return 0 if result.good else 1
