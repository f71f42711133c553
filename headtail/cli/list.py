"""`headtail list`."""

from __future__ import annotations

import click

from headtail.cli.console import Console, json_option

__all__ = ["command"]


@click.command("list")
@json_option
def command(as_json: bool) -> int:
    """List formats with the precisions they honour, what precisions mean, codecs and sources."""
    console = Console(as_json)
    from exporters.source import KINDS
    from exporters.target import TARGETS
    from headtail.report import text
    from headtail.wire.codecs import CODEC_IDS
    from quantizers.recipe import RECIPES
    from quantizers.support import matrix

    honoured = matrix()
    rows = [
        [name, f".{aim.suffix}", ", ".join(honoured[name]), aim.minimum_runtime]
        for name, aim in TARGETS.items()
    ]
    console.print(text(["format", "file", "precisions", "minimum runtime"], rows))
    console.print()
    meanings = [
        [r.name, str(r.storage), r.activations, r.activation_mode, "; ".join(map(str, r.rules))]
        for r in RECIPES.values()
    ]
    console.print(text(["precision", "weights", "activations", "ranges", "rules"], meanings))
    console.print()
    console.print(f"codecs: {', '.join(CODEC_IDS)}")
    console.print(f"sources: {', '.join(KINDS)}")
    console.finish(
        {
            "formats": honoured,
            "precisions": list(RECIPES),
            "codecs": list(CODEC_IDS),
            "sources": list(KINDS),
        }
    )
    return 0
