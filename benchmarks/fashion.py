"""Accuracy of quantized files on Fashion-MNIST: our recipes beside each format's own tool.

    PYTHONPATH=. python benchmarks/fashion.py [--folder build/fashion] [--only PART ...]

Two small networks (`benchmarks/fashion_nets.py`) are trained from a seed; 64 training pictures
calibrate, without their labels. Every file is then run by its runtime on the 10,000 test pictures,
one thread, and its answers are held against the labels and, picture by picture, against those of
the float32 model in PyTorch:

    ours        `exporters.pipeline.export` in the three formats, all precisions
    finetuned   2-bit weights, trained for 1,000 steps to answer as the float32 model does on 2,000
                training pictures, without their labels
    tool        each format's own quantizer with its defaults, as in `benchmarks/quant.py`

A drop is accuracy of the float32 model less that of the file, with Newcombe's paired interval and
McNemar's p-value. Core ML files are run by the MIL interpreter, not by Apple hardware. Parts are
kept in the folder, so that a run can be continued; ends in one JSON line with the rows, the goals
and whether they are met. The pictures are those of the Debian package dataset-fashion-mnist.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import quant_tools
from benchmarks.fashion_data import CLASSES, normalised, read_set
from exporters.prove import size_of
from exporters.versions import tool_versions
from headtail.quality import assess
from quantizers.recipe import RECIPES, Recipe

if TYPE_CHECKING:
    from exporters.options import ExportOptions

FORMATS = {"executorch": "pte", "litert": "tflite", "coreml": "mlpackage"}
NETS = ("mobile", "vit")
FOUR_BITS = ("w4", "w4b32", "p4")
PRECISIONS = ("fp32", "w8", "w8a8", "w8a8d", *FOUR_BITS)
CALIBRATION, EVALUATION, SEED = 64, 200, 0
FINETUNING, STEPS = 2000, 1000  # training pictures, without their labels; steps of 8
# Depthwise kernels, the first layer and the smallest weights keep 8 bits, as with four bits.
TWO_BITS = Recipe("w2", "i2", rules=RECIPES["w4"].rules)
GOALS = {"w8a8": 0.003, "four_bits": 0.010, "two_bits": 0.030}
NOTES = (
    "Core ML's own activation quantization runs the model, which needs a Mac: its tool has 8-bit "
    "and 4-bit weights only",
    "Core ML files are run by the MIL interpreter, not by Apple hardware",
)
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONWARNINGS": "ignore"}


def calibration(count: int) -> Any:
    """Training pictures to calibrate with, float32 (count, 1, 28, 28), drawn from a seed."""
    pictures, _ = read_set("train")
    chosen = np.random.default_rng(SEED).permutation(len(pictures))[:count]
    return normalised(pictures[chosen])


def trained(net: str, folder: Path) -> dict[str, Any]:
    """Child process: the network's weights in the folder, and its answers to the test pictures."""
    import torch

    from benchmarks.fashion_nets import train

    torch.set_num_threads(1)
    kept, start = folder / f"{net}.safetensors", time.perf_counter()
    train(net, *read_set("train"), kept)
    return {**reference(net, folder), "seconds": round(time.perf_counter() - start, 1)}


def reference(net: str, folder: Path) -> dict[str, Any]:
    """The trained network's answers to the test pictures, one by one as files get them, kept."""
    import torch

    from benchmarks.fashion_nets import load

    kept = folder / f"{net}.safetensors"
    module = load(net, kept)
    pictures, labels = read_set("t10k")
    with torch.inference_mode():
        answers = [module(torch.from_numpy(one[None])).numpy() for one in normalised(pictures)]
    logits = np.concatenate(answers)
    np.save(folder / f"{net}.reference.npy", logits)
    said = {"network": net, "weights": sum(p.numel() for p in module.parameters())}
    said |= {"sha256": hashlib.sha256(kept.read_bytes()).hexdigest()}
    return {**said, "accuracy": float((logits.argmax(1) == labels).mean()), "n": len(labels)}


def exported(net: str, folder: Path) -> list[dict[str, Any]]:
    """Child process: our files, in one bundle, each judged."""
    from exporters.options import ExportOptions

    bundle = folder / f"{net}.bundle"
    options = ExportOptions(bundle, tuple(FORMATS), PRECISIONS, **_EXPORT)
    return _judged_export(net, folder, options, samples=CALIBRATION)


def two_bits(net: str, folder: Path) -> list[dict[str, Any]]:
    """Child process: weights of 2 bits but for the tender ones, as solved for, judged."""
    return _two_bits(net, folder, "two_bits", samples=CALIBRATION, steps=0)


def finetuned(net: str, folder: Path) -> list[dict[str, Any]]:
    """Child process: the same, trained to answer as the float32 model does."""
    rows = _two_bits(net, folder, "finetuned", samples=FINETUNING, steps=STEPS)
    return [row | {"recipe": "finetuned"} for row in rows]


def _two_bits(
    net: str, folder: Path, which: str, *, samples: int, steps: int
) -> list[dict[str, Any]]:
    from exporters.options import ExportOptions
    from exporters.quantized import FitOptions
    from quantizers.support import refusal

    formats = tuple(name for name in FORMATS if refusal(name, TWO_BITS) is None)
    asked: dict[str, Any] = {"recipes": (TWO_BITS,), "fit": FitOptions(steps=steps)}
    bundle = folder / f"{net}.{which}.bundle"
    options = ExportOptions(bundle, formats, (TWO_BITS.name,), **asked, **_EXPORT)
    return _judged_export(net, folder, options, samples=samples)


_EXPORT: dict[str, Any] = {"split": False, "force": True, "rebuild": True, "runs": 1}


def _judged_export(
    net: str, folder: Path, options: ExportOptions, *, samples: int
) -> list[dict[str, Any]]:
    """The rows of an export that is fitted to so many training pictures, without their labels."""
    import torch

    from benchmarks.fashion_nets import load
    from exporters.pipeline import export
    from exporters.source import from_module

    torch.set_num_threads(1)
    pictures, labels = read_set("t10k")
    inputs = normalised(pictures)[:, None]
    source = from_module(
        load(net, folder / f"{net}.safetensors"),
        (torch.from_numpy(inputs[0]),),
        name=net,
        labels=CLASSES,
        calibration=list(calibration(samples)[:, None]),
        evaluation=list(inputs[:EVALUATION]),
        eval_labels=labels[:EVALUATION],
    )
    result, bundle = export(source, options), options.destination
    commit = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], text=True).strip()
    rows = []
    for row in result.rows:
        path = bundle / f"artifacts/{net}.{row.precision}.{FORMATS[row.format]}"
        said = {"recipe": "ours", "network": net, "verdict": row.verdict, "note": row.note}
        said["commit"] = commit
        figures = judged((net, row.format, row.precision), path, folder) if path.exists() else {}
        rows.append({**said, **figures, "format": row.format, "precision": row.precision})
    return rows


def of_tool(net: str, format_name: str, folder: Path) -> list[dict[str, Any]]:
    """Child process: the files of a format's own quantizer with its defaults, judged."""
    import torch

    from benchmarks.fashion_nets import load

    torch.set_num_threads(1)
    samples = list(calibration(CALIBRATION)[:, None])
    to = folder / f"tool.{net}"
    to.mkdir(exist_ok=True)
    make = quant_tools.TOOLS[format_name]
    module = load(net, folder / f"{net}.safetensors")
    # a copy has the strides that its shape implies; those of `array[:, None]` are 0
    example = torch.from_numpy(samples[0]).clone(memory_format=torch.contiguous_format)
    files, _ = make(module, (example,), samples, to)
    return [
        {"recipe": "tool", **judged((net, format_name, name), path, folder)}
        for name, path in files.items()
    ]


def judged(kind: tuple[str, str, str], path: Path, folder: Path) -> dict[str, Any]:
    """One file on all test pictures: against labels and against the float32 model."""
    net, format_name, precision = kind
    run, start = quant_tools.runner(path), time.perf_counter()
    pictures, labels = read_set("t10k")
    given = [run(one[None])[0] for one in normalised(pictures)]
    seconds = time.perf_counter() - start
    found = assess(
        np.load(folder / f"{net}.reference.npy"),
        given,
        kind=(format_name, precision),
        labels=labels.tolist(),
    )
    assert found.accuracy is not None  # there are labels
    assert found.agreement is not None
    drop = found.accuracy.drop
    row: dict[str, Any] = {"network": net, "format": format_name, "precision": precision}
    row |= {"bytes": size_of(path), "n": found.n, "accuracy": found.accuracy.candidate}
    row |= {"drop": drop.value, "low": drop.low, "high": drop.high}
    row |= {"lost": found.accuracy.lost, "won": found.accuracy.won}
    row |= {"p_value": found.accuracy.p_value, "agreement": found.agreement.value}
    row |= {"snr_db_mean": found.snr_db.value, "snr_db_min": found.snr_db_min}
    row |= {"run_seconds": round(seconds, 1)}
    print(f"    {row}", file=sys.stderr, flush=True)
    return row


def parts(folder: Path) -> dict[str, Callable[[], Any]]:
    """What is measured, each part once and in a process of its own."""
    made: dict[str, Callable[[], Any]] = {}
    for net in NETS:
        made[f"train.{net}"] = partial(_child, folder, "train", net)
    for net in NETS:
        made[f"ours.{net}"] = partial(_child, folder, "ours", net)
        made[f"two_bits.{net}"] = partial(_child, folder, "two_bits", net)
        made[f"finetuned.{net}"] = partial(_child, folder, "finetuned", net)
        for name in FORMATS:
            made[f"tool.{net}.{name}"] = partial(_child, folder, "tool", net, name)
    return made


def _child(folder: Path, *which: str) -> Any:
    """What a part says that is measured in a process of its own, one JSON line."""
    done = subprocess.run(
        [sys.executable, __file__, "--folder", str(folder), "--part", *which],
        env={**os.environ, **ENVIRONMENT},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(which)} ended with {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


CHILDREN: Mapping[str, Callable[..., Any]] = {
    "train": trained,
    "ours": exported,
    "two_bits": two_bits,
    "finetuned": finetuned,
    "tool": of_tool,
}


def goals(rows: Sequence[Any]) -> list[dict[str, Any]]:
    """Each goal of each network and file: the figure, its interval, and whether it is met.

    `surely`: is the whole interval on the right side?
    """
    said = []
    names = {("ours", precision): "four_bits" for precision in FOUR_BITS}
    names |= {("ours", "w8a8"): "w8a8", ("finetuned", TWO_BITS.name): "two_bits"}
    for row in rows:
        key = names.get((row["recipe"], row["precision"]))
        if key is None:
            continue
        goal, drop = GOALS[key], row.get("drop")
        said.append({"network": row["network"], "format": row["format"]})
        said[-1] |= {"what": f"{row['precision']} drop", "figure": drop, "goal": goal}
        said[-1] |= {"met": drop is not None and drop <= goal}
        said[-1] |= {"surely": drop is not None and row["high"] <= goal}
    return said


def measure(folder: Path, only: Sequence[str]) -> dict[str, Any]:
    """Every part that is asked for or was measured before; what fails is named, not hidden."""
    done: dict[str, Any] = {}
    failed: dict[str, str] = {}
    missing = []
    for key, make in parts(folder).items():
        kept = folder / f"part.{key}.json"
        if not kept.exists():
            if only and not any(f"{key}.".startswith(f"{one}.") for one in only):
                missing.append(key)
                continue
            print(key, file=sys.stderr, flush=True)
            try:
                kept.write_text(json.dumps(make()))
            except Exception as error:  # the other parts are still worth their figures
                failed[key] = f"{type(error).__name__}: {error}"[:500]
                print(f"{key} failed: {failed[key]}", file=sys.stderr, flush=True)
                continue
        done[key] = json.loads(kept.read_text())
    networks = [part for key, part in done.items() if key.startswith("train.")]
    rows = [row for key, part in done.items() if not key.startswith("train.") for row in part]
    said = {"networks": networks, "rows": rows, "goals": goals(rows)}
    return {**said, "not_measured": missing, "failed": failed}


def main() -> int:
    """Measure the parts that are not measured yet, and sum up all that are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("build/fashion"))
    parser.add_argument("--only", nargs="*", default=[], help="parts by the start of their names")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    folder = options.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if options.part:
        which, *rest = options.part
        print(json.dumps(CHILDREN[which](*rest, folder)))
        return 0
    whole: dict[str, Any] = {"benchmark": "fashion", "calibration": CALIBRATION, "seed": SEED}
    whole |= {**measure(folder, options.only), "notes": NOTES, "threads": 1}
    tools = {name: importlib.metadata.version(name) for name in ("torchao", "ai-edge-quantizer")}
    versions = {"machine": platform.processor(), "versions": {**tool_versions(), **tools}}
    print(json.dumps({**whole, **versions}))
    return 0 if all(one["met"] for one in whole["goals"]) and not whole["failed"] else 1


if __name__ == "__main__":
    sys.exit(main())
