"""Quantized EfficientNet-Lite0: our recipe beside each format's own tool, on photos.

    PYTHONPATH=. python benchmarks/quant.py [--folder build/quant] [--only PART ...]

Calibration on 64 crops of one set of photos, evaluation on 256 crops of another, one thread:

    ours      `exporters.pipeline.export` without cuts and without the cache, one process for each
              precision; `w8a8` in one for each format, whose wall-clock is "the whole of w8a8":
              rewrite, calibrate, solve, write, re-read and judge on the 256 crops
    tool      each format's own quantizer with its defaults on the file of its own converter:
              ExecuTorch XNNPACKQuantizer, static, per channel, by PT2E; LiteRT static_wi8_ai8 and
              weight_only_wi8_afp32; Core ML 8-bit weights, 4-bit k-means palettes, int4 in blocks
              of 32. Core ML's activation quantization runs the model, which needs a Mac.
    mixed     storages chosen weight by weight, within 1.15 x the bytes of our own int8 file
    latency   float32 and int8 files take turns, each in a process of its own, pinned to one core

Core ML files are run by the MIL interpreter. Parts are kept in the folder, so that a run can be
continued; ends in one JSON line with the rows, the goals and whether they are met.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import quant_tools
from benchmarks.zoo import latencies, source_of
from exporters.versions import tool_versions

FORMATS = {"executorch": "pte", "litert": "tflite", "coreml": "mlpackage"}
TIMED = ("executorch", "litert")  # on this machine
TURNS = 5  # medians of all files, each of 30 runs in turns; the median of their ratios counts
FOUR_BITS = ("w4", "w4b32", "p4")
PRECISIONS = ("fp32", "fp16", "w8", "w8a8", "mixed", *FOUR_BITS)
MIXED_OVER_INT8 = 1.15
# The tool's own int8 file; Core ML's own activation quantization runs the model, on a Mac.
TOOL_INT8 = {"executorch": "static_int8", "litert": "static_wi8_ai8", "coreml": "w8"}
LITE0, RESNET18 = "efficientnet_lite0", "resnet18"
CALIBRATION, EVALUATION = (64, 0), (256, 1)  # crops, seed
GOALS = {
    "w8a8_agreement": 0.95,
    "w8a8_snr_db": 22.0,
    "w8a8_over_tool_int8_size": 1.05,
    "w8_agreement": 0.98,
    "w8_snr_db": 30.0,
    "mixed_agreement": 0.98,
    "mixed_over_int8_size": MIXED_OVER_INT8,
    "four_bits_agreement": 0.90,
    "four_bits_over_fp16_size": 0.35,
    "int8_speedup": 1.8,
    "w8a8_seconds": 240.0,
    "w8a8_cpu_seconds": 240.0,  # of one core, what the wall-clock is on a machine of our own
}
AT_MOST = {
    "mixed_over_int8_size",
    "w8a8_over_tool_int8_size",
    "four_bits_over_fp16_size",
    "w8a8_seconds",
    "w8a8_cpu_seconds",
}
NOTES = (
    "Core ML's own activation quantization runs the model, which needs a Mac: the tool's int8 file "
    "is the one of 8-bit weights",
    "ExecuTorch writes no fp16 file: half of the bytes of fp32 stand for it",
    "Core ML files are run by the MIL interpreter, not by Apple hardware",
)
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONWARNINGS": "ignore"}


def crops_of(names: tuple[str, ...], count: int, seed: int) -> list[Any]:
    """`count` preprocessed crops of these photos, float32 (1, 3, 224, 224)."""
    from exporters.efficientnet_lite0 import get_preprocess
    from exporters.sources.photos import photos
    from quantizers.calibration import crops

    preprocess = get_preprocess()
    made = crops(photos(names), count=count, seed=seed, preprocess=preprocess)
    return [preprocess(frame) for frame in made]


def prepare(folder: Path) -> dict[str, Any]:
    """Both sets, and what PyTorch in float32 answers to the second; returns their provenance."""
    import torch

    from exporters.efficientnet_lite0 import get_model
    from exporters.sources.photos import CALIBRATION_PHOTOS, EVALUATION_PHOTOS
    from quantizers.calibration import from_arrays

    sets, said = {}, {}
    for key, names, (count, seed) in (
        ("calibration", CALIBRATION_PHOTOS, CALIBRATION),
        ("evaluation", EVALUATION_PHOTOS, EVALUATION),
    ):
        sets[key] = crops_of(names, count, seed)
        found = from_arrays([(array,) for array in sets[key]], source=key, seed=seed).provenance
        said[key] = {"photos": names, "crops": count, "seed": seed, "sha256": found.sha256}
        np.save(folder / f"{key}.npy", np.stack(sets[key]))
    model = get_model()
    with torch.inference_mode():
        answers = [model(torch.from_numpy(array)).numpy() for array in sets["evaluation"]]
    np.save(folder / "reference.npy", np.stack(answers))
    np.savez(folder / f"{LITE0}.input.npz", sets["evaluation"][0])
    return said


def export_ours(
    network: str, formats: Sequence[str], precisions: Sequence[str], to: Path, max_bytes: int
) -> None:
    """Child process: one bundle; `max_bytes` is the budget of mixed, 0 without."""
    from exporters.options import ExportOptions
    from exporters.pipeline import export
    from exporters.quantized import USUAL, FitOptions
    from exporters.source import SourceModel, load_module
    from quantizers.mixture import Mixture

    source = _lite0() if network == LITE0 else load_module(source_of(network))
    assert isinstance(source, SourceModel)
    np.savez(to.parent / f"{network}.input.npz", *source.evaluation.samples[0])
    options = ExportOptions(
        to,
        tuple(formats),
        tuple(precisions),
        split=False,
        force=True,
        rebuild=True,
        fit=FitOptions(Mixture(max_bytes=max_bytes)) if max_bytes else USUAL,
    )
    export(source, options, progress=_Spoken())


class _Spoken:
    """Progress as lines on stderr, without the solver's many."""

    def begin(self, stage: str) -> None:
        print(f"  {stage}", file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        if ": weight " not in text:
            print(f"    {text}", file=sys.stderr, flush=True)

    def end(self, stage: str, seconds: float) -> None:
        print(f"  {stage}: {seconds:.1f} s", file=sys.stderr, flush=True)


def _lite0() -> Any:
    from exporters import efficientnet_lite0 as lite0
    from exporters.source import from_module
    from exporters.sources.photos import CALIBRATION_PHOTOS, EVALUATION_PHOTOS

    return from_module(
        lite0.get_model(),
        lite0.get_args(),
        name=LITE0,
        labels=lite0.get_labels(),
        preprocess=lite0.get_preprocess(),
        calibration=crops_of(CALIBRATION_PHOTOS, *CALIBRATION),
        evaluation=crops_of(EVALUATION_PHOTOS, *EVALUATION),
    )


def ours(
    network: str,
    formats: Sequence[str],
    precisions: Sequence[str],
    to: Path,
    max_bytes: Callable[[], int] = lambda: 0,
) -> list[Any]:
    """The rows of one export; `max_bytes` is asked for the budget of mixed when it is needed.

    `seconds` is the wall-clock from capture to the packed bundle of all that is `exported`
    together; `process_seconds` has imports, reading of photos and the like too, `cpu_seconds` is
    the processor time of that, which other work on the machine changes less.
    """
    start, before = time.perf_counter(), os.times()
    asked = [",".join(formats), ",".join(precisions)]
    _child(["--export", network, *asked, str(to), str(max_bytes())])
    seconds, cpu = time.perf_counter() - start, _spent(os.times()) - _spent(before)
    commit = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], text=True).strip()
    said = json.loads((to / "report.json").read_text())["report"]
    quality = {f"{q['format']}.{q['precision']}": q for q in said["quality"]["reports"]}
    rows, whole = [], sum(said["stages"].values())
    for row in said["artifacts"]:
        deep = quality.get(f"{row['format']}.{row['precision']}", {})
        kept = ("format", "precision", "bytes", "agreement", "n", "low", "high", "verdict", "note")
        rows.append({"recipe": "ours", **{key: row[key] for key in kept}})
        rows[-1] |= {"snr_db_mean": row["snr_db_mean"], "snr_db_min": row["snr_db_min"]}
        rows[-1] |= {"faithful": deep.get("faithful"), "audit": deep.get("audit", "")}
        rows[-1] |= {"file": f"{to.name}/artifacts/{_file(network, row)}"}
        rows[-1] |= {"exported": " x ".join(asked), "seconds": round(whole, 1)}
        rows[-1] |= {"process_seconds": round(seconds, 1), "cpu_seconds": round(cpu, 1)}
        rows[-1] |= {"stages": said["stages"], "commit": commit, "load": os.getloadavg()[0]}
    return rows


def _spent(times: os.times_result) -> float:
    return times.children_user + times.children_system


def _file(network: str, row: Mapping[str, Any]) -> str:
    return f"{network}.{row['precision']}.{FORMATS[row['format']]}"


def _child(arguments: Sequence[str]) -> None:
    done = subprocess.run(
        [sys.executable, __file__, *arguments],
        env={**os.environ, **ENVIRONMENT},
        stdout=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}")


def latency(network: str, format_name: str, folder: Path) -> dict[str, Any]:
    """Median ms of our float32 and int8 files in turns, several times, and their ratio."""
    suffix, files = FORMATS[format_name], {}
    for key, of_lite0 in (("fp32", "float"), ("w8a8", f"w8a8.{format_name}")):
        bundle = f"{network}.{of_lite0 if network == LITE0 else format_name}.bundle"
        files[key] = folder / bundle / f"artifacts/{network}.{key}.{suffix}"
    if (network, format_name) == (LITE0, "executorch"):  # LiteRT's own takes int8 inputs
        files["tool_int8"] = folder / f"tool/{TOOL_INT8[format_name]}.{suffix}"
    for path in files.values():
        path.stat()  # raises for what was not written
    turns = [latencies(files, folder / f"{network}.input.npz") for _ in range(TURNS)]
    speedups = sorted(one["fp32"] / one["w8a8"] for one in turns)
    said = {"network": network, "format": format_name, "ms": turns, "load": os.getloadavg()[0]}
    spread = [round(speedups[0], 3), round(speedups[-1], 3)]
    return {**said, "speedup": round(statistics.median(speedups), 3), "speedup_range": spread}


def parts(folder: Path) -> dict[str, Callable[[], Any]]:
    """What is measured, each part once, the most important first."""

    made: dict[str, Callable[[], Any]] = {}
    for name in FORMATS:
        bundle = folder / f"{LITE0}.w8a8.{name}.bundle"
        made[f"ours.w8a8.{name}"] = partial(ours, LITE0, [name], ["w8a8"], bundle)
        made[f"tool.{name}"] = partial(_of_tool, name, folder)
    bundle = folder / f"{LITE0}.float.bundle"
    made["ours.float"] = partial(ours, LITE0, list(FORMATS), ["fp32", "fp16"], bundle)
    for name in TIMED:
        made[f"latency.{LITE0}.{name}"] = partial(latency, LITE0, name, folder)
    for name in FORMATS:
        bundle = folder / f"{LITE0}.mixed.{name}.bundle"
        budget = partial(_budget, folder, name)
        made[f"ours.mixed.{name}"] = partial(ours, LITE0, [name], ["mixed"], bundle, budget)
    for precision in ("w8", *FOUR_BITS):
        bundle = folder / f"{LITE0}.{precision}.bundle"
        made[f"ours.{precision}"] = partial(ours, LITE0, _honouring(precision), [precision], bundle)
    for name in TIMED:
        bundle = folder / f"{RESNET18}.{name}.bundle"
        made[f"{RESNET18}.{name}"] = partial(ours, RESNET18, [name], ["fp32", "w8a8"], bundle)
        made[f"latency.{RESNET18}.{name}"] = partial(latency, RESNET18, name, folder)
    return made


def _budget(folder: Path, format_name: str) -> int:
    rows = json.loads((folder / f"part.ours.w8a8.{format_name}.json").read_text())
    return int(MIXED_OVER_INT8 * rows[0]["bytes"])


def _of_tool(format_name: str, folder: Path) -> list[Any]:
    _child(["--tool", format_name, str(folder)])
    found: list[Any] = json.loads((folder / f"tool.{format_name}.json").read_text())
    return found


def _honouring(precision: str) -> list[str]:
    from quantizers.support import supported

    return [name for name in FORMATS if precision in supported(name)]


def goals(rows: Sequence[Any], timings: Sequence[Any]) -> list[dict[str, Any]]:
    """Each goal of each format: the figure, None if it was not measured, and whether it is met."""
    found = {(r["recipe"], r["format"], r["precision"]): r for r in rows}
    said = []
    for name in FORMATS:
        mine = {p: found.get(("ours", name, p), {}) for p in PRECISIONS}
        theirs = found.get(("tool", name, TOOL_INT8[name]), {})
        figures = {
            "w8a8_agreement": mine["w8a8"].get("agreement"),
            "w8a8_snr_db": mine["w8a8"].get("snr_db_mean"),
            "w8a8_over_tool_int8_size": _ratio(mine["w8a8"].get("bytes"), theirs.get("bytes")),
            "mixed_agreement": mine["mixed"].get("agreement"),
            "mixed_over_int8_size": _ratio(mine["mixed"].get("bytes"), mine["w8a8"].get("bytes")),
            "w8_agreement": mine["w8"].get("agreement"),
            "w8_snr_db": mine["w8"].get("snr_db_mean"),
            "w8a8_seconds": mine["w8a8"].get("seconds"),
            "w8a8_cpu_seconds": mine["w8a8"].get("cpu_seconds"),
        }
        said += [_goal(name, key, key, figure) for key, figure in figures.items()]
        half = mine["fp16"].get("bytes") or (mine["fp32"].get("bytes") or 0) / 2
        for precision in (p for p in FOUR_BITS if name in _honouring(p)):
            row, key = mine[precision], "four_bits"
            share = _ratio(row.get("bytes"), half)
            said.append(
                _goal(name, f"{precision}_agreement", f"{key}_agreement", row.get("agreement"))
            )
            said.append(_goal(name, f"{precision}_over_fp16_size", f"{key}_over_fp16_size", share))
    for one in timings:
        label = f"{one['network']}_int8_speedup"
        said.append(_goal(one["format"], label, "int8_speedup", one["speedup"]))
    return said


def _ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above and below else None


def _goal(format_name: str, label: str, key: str, figure: float | None) -> dict[str, Any]:
    goal = GOALS[key]
    met = None
    if figure is not None and math.isfinite(figure):
        met = figure <= goal if key in AT_MOST else figure >= goal
    shown = None if figure is None else round(figure, 4)
    return {"format": format_name, "what": label, "figure": shown, "goal": goal, "met": met}


def _once(kept: Path, make: Callable[[], Any]) -> Any:
    """What an earlier run measured, or else what `make` measures now."""
    if not kept.exists():
        kept.write_text(json.dumps(make()))
    return json.loads(kept.read_text())


def measure(folder: Path, only: Sequence[str]) -> dict[str, Any]:
    """Every part that is asked for or was measured before; what fails is named, not hidden."""
    done: dict[str, Any] = {}
    failed: dict[str, str] = {}
    missing = []
    for key, make in parts(folder).items():
        kept = folder / f"part.{key}.json"
        if only and not kept.exists() and not any(f"{key}.".startswith(f"{one}.") for one in only):
            missing.append(key)
            continue
        print(key, file=sys.stderr, flush=True)
        try:
            done[key] = _once(kept, make)
        except Exception as error:  # the other parts are still worth their figures
            failed[key] = f"{type(error).__name__}: {error}"[:500]
            print(f"{key} failed: {failed[key]}", file=sys.stderr, flush=True)
    rows = [row for key, part in done.items() if key.startswith(("ours.", "tool.")) for row in part]
    timings = [part for key, part in done.items() if key.startswith("latency.")]
    other = [row for key, part in done.items() if key.startswith(f"{RESNET18}.") for row in part]
    said = {"rows": rows, "latency": timings, "resnet18": other}
    return {**said, "goals": goals(rows, timings), "not_measured": missing, "failed": failed}


def main() -> int:
    """Measure the parts that are not measured yet, and sum up all that are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("build/quant"))
    parser.add_argument("--only", nargs="*", default=[], help="parts by the start of their names")
    parser.add_argument("--export", nargs=5, help=argparse.SUPPRESS)
    parser.add_argument("--tool", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.export:
        network, formats, precisions, to, size = options.export
        export_ours(network, formats.split(","), precisions.split(","), Path(to), int(size))
        return 0
    if options.tool:
        quant_tools.measure(options.tool[0], Path(options.tool[1]))
        return 0
    folder = options.folder.absolute()
    (folder / "tool").mkdir(parents=True, exist_ok=True)
    sets = _once(folder / "sets.json", lambda: prepare(folder))
    whole = {"benchmark": "quant", "network": LITE0, **sets, **measure(folder, options.only)}
    whole |= {"notes": NOTES, "machine": platform.processor(), "threads": 1}
    tools = {name: importlib.metadata.version(name) for name in ("torchao", "ai-edge-quantizer")}
    print(json.dumps({**whole, "versions": {**tool_versions(), **tools}}))
    return 0 if all(one["met"] for one in whole["goals"]) and not whole["failed"] else 1


if __name__ == "__main__":
    sys.exit(main())
