"""`headtail bench BUNDLE`."""

from __future__ import annotations

from pathlib import Path

import click

from headtail.cli.console import COUNT, Console, json_option

__all__ = ["command"]


@click.command("bench")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--runs", type=COUNT, default=50, show_default=True, help="Timed runs per entry point."
)
@click.option(
    "--warmup",
    type=click.IntRange(0),
    default=5,
    show_default=True,
    help="Runs before the timed ones.",
)
@click.option("--threads", type=COUNT, default=1, show_default=True, help="Threads of the runtime.")
@json_option
def command(bundle: Path, runs: int, warmup: int, threads: int, as_json: bool) -> int:
    """Measure the latency of every artifact and entry point on this machine.

    Host latencies; Core ML is evaluated by the reference interpreter, whose time says nothing about
    an Apple device. Writes report.json and report.html into the bundle.
    """
    console = Console(as_json)
    from exporters.verification import verify_artifacts
    from headtail.bundle import open_bundle, update_report
    from headtail.report import text

    opened = open_bundle(bundle)
    result = verify_artifacts(opened, warmup=warmup, runs=runs, threads=threads, progress=console)
    body = [
        [key, entry, *(f"{timing[p]:.2f}" for p in ("p50_ms", "p90_ms", "p99_ms")), timing["kind"]]
        for key, entries in result.timings.items()
        for entry, timing in entries.items()
    ]
    headings = ["artifact", "entry point", "p50 ms", "p90 ms", "p99 ms", "timing_kind"]
    console.print(text(headings, [[str(cell) for cell in row] for row in body]))
    note = f"{runs} runs after {warmup} warm-ups, {threads} thread(s)"
    update_report(opened, "bench", result.rows, (note,))
    console.finish(
        {
            "bundle_id": opened.manifest.bundle_id,
            "latency_ms": result.timings,
            "threads": threads,
        }
    )
    return 0 if result.good else 1
