"""`headtail stage`."""

from __future__ import annotations

from pathlib import Path

import click

from headtail.cli.console import Console, json_option

__all__ = ["command"]


@click.command("stage")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("build/phone"),
    show_default=True,
    help="Folder to write.",
)
@json_option
def command(output: Path, as_json: bool) -> int:
    """Write the app's phone payload, from which buildozer and kivy-ios build."""
    console = Console(as_json)
    import headtail
    from headtail.stage import stage

    report = stage(output, checkout=Path(headtail.__file__).parent.parent)
    console.print(f"{report.files} files, {report.bytes / 1e3:.0f} kB staged in {output}")
    console.finish({"output": str(output), "files": report.files, "bytes": report.bytes})
    return 0
