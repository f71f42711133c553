"""`headtail replay TRACE`."""

from __future__ import annotations

from pathlib import Path

import click

from headtail.cli.console import Console, json_option

__all__ = ["command"]


@click.command("replay")
@click.argument("trace", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@json_option
def command(trace: Path, as_json: bool) -> int:
    """Decide again, from the recorded situations, where each frame of a trace went.

    TRACE is what `headtail run --trace` or the app wrote: a line per frame, with everything the
    decision was made from. Ends with 1 if a decision comes out otherwise.
    """
    console = Console(as_json)
    from headtail.offload.trace import Record, replay
    from headtail.report import text
    from headtail.strictjson import to_json

    lines = [line for line in trace.read_text(encoding="utf-8").splitlines() if line.strip()]
    count, differing = replay(lines)
    rows = [
        [str(r.number), r.where, f"{r.total_ms:.1f}", r.decision.reason]
        for r in map(Record.parse, lines)
    ]
    console.print(text(["frame", "where", "ms", "because"], rows))
    for found in differing:
        console.print(f"frame {found.record.number} is now decided otherwise: {found.now.reason}")
    console.print(f"{count} decisions, {len(differing)} come out otherwise")
    console.finish({"decisions": count, "differing": [to_json(d) for d in differing]})
    return 1 if differing else 0
