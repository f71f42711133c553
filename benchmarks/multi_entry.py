"""What entry points cost in file size: `forward` alone against `forward` plus a head per cut.

    python benchmarks/multi_entry.py

EfficientNet-Lite0, the three cuts that an export chooses, every format and precision; both files
of a pair are written in the same run. Ends with one JSON line.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch

from exporters.capture import input_specs
from exporters.convert import convert_all, plan_conversions
from exporters.packing import tool_versions
from exporters.pipeline import ExportOptions, capture_source
from exporters.progress import Quiet
from exporters.prove import size_of
from exporters.source import load_source
from exporters.target import TARGETS
from headtail.manifest import FORWARD

MODEL = "exporters.efficientnet_lite0"
GOAL = 1.02


def main() -> None:
    """Write both kinds of file and compare."""
    torch.set_num_threads(1)
    source = load_source(MODEL)
    pairs, _ = plan_conversions(tuple(TARGETS), (), source.calibration)
    sizes: dict[str, dict[str, int]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        captured = capture_source(source, ExportOptions(folder / "x.bundle"), folder)
        for kind, names in (("forward", [FORWARD]), ("with_heads", list(captured.programs))):
            (folder / kind).mkdir()
            done, failures = convert_all(
                pairs,
                {name: captured.programs[name] for name in names},
                input_specs(captured.graph),
                name=source.name,
                calibration=source.calibration,
                folder=folder / kind,
                progress=Quiet(),
            )
            assert not failures, failures
            for one in done:
                sizes.setdefault(f"{one.format}.{one.precision}", {})[kind] = size_of(one.path)
    ratios = {key: round(both["with_heads"] / both["forward"], 4) for key, both in sizes.items()}
    for key, ratio in ratios.items():
        print(f"{key:18} {sizes[key]['forward']:>10} {sizes[key]['with_heads']:>10} {ratio:.4f}")
    heads = [name for name in captured.programs if name != FORWARD]
    print(
        json.dumps(
            {
                "benchmark": "multi_entry",
                "bytes": sizes,
                "ratio": ratios,
                "heads": heads,
                "goal": GOAL,
                "met": max(ratios.values()) <= GOAL,
                "tool_versions": tool_versions(),
            }
        )
    )


if __name__ == "__main__":
    main()
