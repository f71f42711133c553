"""`headtail plan BUNDLE`."""

from __future__ import annotations

from pathlib import Path

import click

from headtail.cli.console import Console, json_option

__all__ = ["command"]

# A way that changes one answer in twenty is no way to get the answer, unless somebody says it is.
USUAL_FIDELITY = 0.95
CODECS = ("aq8t+deflate", "aq6t+deflate", "aq4c+deflate", "raw32")


@click.command("plan")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--uplink-mbit", required=True, type=float, help="Measured uplink, Mbit/s.")
@click.option("--downlink-mbit", type=float, help="Downlink, Mbit/s; the uplink by default.")
@click.option("--rtt-ms", required=True, type=float, help="Measured round-trip time.")
@click.option("--format", "format_name", default="litert", show_default=True)
@click.option("--precision", default="fp32", show_default=True)
@click.option("--device-factor", default=1.0, show_default=True, help="Phone time / host time.")
@click.option(
    "--min-fidelity",
    type=float,
    help=f"Smallest share of unchanged answers; {USUAL_FIDELITY} for a classifier.",
)
@click.option("--keep-picture", is_flag=True, help="The picture may not leave the phone.")
@click.option("--deadline-ms", type=float, help="When the answer must be there.")
@json_option
def command(  # noqa: PLR0913, PLR0917  # one parameter per option
    bundle: Path,
    uplink_mbit: float,
    downlink_mbit: float | None,
    rtt_ms: float,
    format_name: str,
    precision: str,
    device_factor: float,
    min_fidelity: float | None,
    keep_picture: bool,
    deadline_ms: float | None,
    as_json: bool,
) -> int:
    """Choose where to run: all on the phone, split at a cut, or the compressed picture sent.

    Times are measured on this machine now; --device-factor scales the phone's side. The link's
    figures are yours to measure.
    """
    console = Console(as_json)
    import torch

    from exporters.measurement import measure_bundle
    from headtail.bundle import open_bundle
    from headtail.plan import Constraints, Link, plan
    from headtail.report import text
    from headtail.strictjson import to_json

    torch.set_num_threads(1)
    link = Link(uplink_mbit, downlink_mbit or uplink_mbit, rtt_ms)
    Constraints(min_fidelity, not keep_picture, deadline_ms)  # refused before the long work
    opened = open_bundle(bundle)
    if min_fidelity is None and opened.manifest.task == "classification":
        min_fidelity = USUAL_FIDELITY
    constraints = Constraints(min_fidelity, not keep_picture, deadline_ms)
    artifact = opened.manifest.artifact(format_name, precision)
    console.begin("measure")
    measured = measure_bundle(opened, artifact, CODECS, device_factor=device_factor)
    chosen = plan(measured.problem(link, constraints))
    body = [
        [
            c.name,
            *(f"{ms:.1f}" for ms in (c.device_ms, c.up_ms, c.rtt_ms, c.server_ms, c.down_ms)),
            f"{c.total_ms:.1f}",
            str(c.bytes_up),
            "-" if c.fidelity is None else f"{c.fidelity:.3f}",
            c.refused or ("<- chosen" if c == chosen.chosen else ""),
        ]
        for c in chosen.candidates
    ]
    heads = ["candidate", "device", "up", "rtt", "server", "down", "total ms", "bytes", "fidelity"]
    console.print(text([*heads, ""], body))
    console.print(chosen.reason)
    scaled = f", phone assumed {device_factor:g}x slower" if device_factor != 1 else ""
    console.print(
        f"times measured on this host{scaled}; fidelity of splits as the manifest has it, of "
        f"pictures on {measured.samples} golden inputs"
    )
    console.finish(to_json(chosen))
    return 0 if chosen.chosen is not None else 1
