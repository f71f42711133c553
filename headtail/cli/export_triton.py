"""`headtail export-triton BUNDLE -o REPOSITORY`."""

from __future__ import annotations

from pathlib import Path

import click

from headtail.cli.console import Console, json_option, listed

__all__ = ["command"]

CHECKED = "every byte of the bundle"
NOT_CHECKED = "a Triton server: none was started here"


@click.command("export-triton")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="Triton model repository to add the models to.",
)
@click.option(
    "--cut",
    "cuts",
    multiple=True,
    callback=listed,
    help="Cuts to answer, repeated or with commas between them. [default: all]",
)
@json_option
def command(bundle: Path, output: Path, cuts: tuple[str, ...], as_json: bool) -> int:
    """Write a bundle's tail as models of a Triton Inference Server.

    Triton needs numpy, torch and headtail in the Python of its Python backend. Phones ask it for
    the model's name, without a version; the bundle's id travels in the request.
    """
    console = Console(as_json)
    from companion_server.triton_repository import write_repository
    from headtail.bundle import open_bundle

    models = write_repository(open_bundle(bundle), output, cuts=cuts)
    for model in models:
        console.print(f"wrote {model}")
    console.print(f"checked: {CHECKED}")
    console.print(f"not checked: {NOT_CHECKED}")
    console.print(f"next: tritonserver --model-repository={output}")
    names = [model.name for model in models]
    told = {"output": str(output), "models": names, "checked": CHECKED, "not_checked": NOT_CHECKED}
    console.finish(told)
    return 0
