"""What entry points cost in file size: `forward` alone against `forward` plus a head per cut.

    python benchmarks/multi_entry.py

EfficientNet-Lite0, the three cuts that an export chooses, every format and precision; both files
of a pair are written in the same run. Ends with one JSON line.
"""

from __future__ import annotations

import json
import tempfile
import threading
from pathlib import Path

import torch

from exporters.cache import Cache
from exporters.capture import input_specs
from exporters.captured import capture_source
from exporters.conversion import Captures
from exporters.convert import convert_all, plan_conversions, save_calibration
from exporters.kept import Kept
from exporters.processes import Limits
from exporters.progress import Quiet
from exporters.prove import size_of
from exporters.source import load_source
from exporters.target import TARGETS
from exporters.versions import tool_versions

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
        captured, _ = capture_source(source, folder)
        inputs = input_specs(captured.graph)
        calibration = save_calibration(source.calibration, inputs, folder)
        for kind, heads in (("forward", {}), ("with_heads", captured.heads)):
            (folder / kind).mkdir()
            done, failures = convert_all(
                pairs,
                Captures(captured.program, heads, inputs, calibration),
                name=source.name,
                folder=folder / kind,
                progress=Quiet(),
                limits=Limits(),
                cancel=threading.Event(),
                cache=Kept(Cache(folder / "cache"), rebuild=True),
            )
            assert not failures, failures
            for one in done:
                sizes.setdefault(f"{one.format}.{one.precision}", {})[kind] = size_of(one.path)
    ratios = {key: round(both["with_heads"] / both["forward"], 4) for key, both in sizes.items()}
    for key, ratio in ratios.items():
        print(f"{key:18} {sizes[key]['forward']:>10} {sizes[key]['with_heads']:>10} {ratio:.4f}")
    print(
        json.dumps(
            {
                "benchmark": "multi_entry",
                "bytes": sizes,
                "ratio": ratios,
                "heads": list(captured.heads),
                "goal": GOAL,
                "met": max(ratios.values()) <= GOAL,
                "tool_versions": tool_versions(),
            }
        )
    )


if __name__ == "__main__":
    main()
