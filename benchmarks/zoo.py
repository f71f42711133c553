"""The 28 mobile backbones: `headtail export` beside the three converters called plainly.

    python benchmarks/zoo.py [NAME ...] [--folder build/zoo]

For each network, in one run, one thread, with randomised norm weights (fresh ones fold away):

    plain     one process imports and calls ExecuTorch, litert-torch and coremltools one after
              another, with each tool's defaults and no check of what they wrote
    headtail  one `headtail export timm:NAME` to the same three formats, verified, without cuts,
              without the cache
    latency   the four files take turns, A B C D A B C D, each in a process of its own, pinned to
              one core; medians. Core ML times are the MIL interpreter's, emulated.

`export_wall` compares whole processes; `export_calls` compares our whole process with the plain
calls alone, without their imports. Figures of every network are kept in the folder, so that a run
can be continued; ends in one JSON line with the geometric means and the goals.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from exporters.versions import tool_versions

NAMES = (
    "mobilenetv3_small_100",
    "mobilenetv4_conv_small",
    "efficientformer_l1",
    "efficientformerv2_s0",
    "repvit_m0_9",
    "fastvit_t8",
    "mobileone_s0",
    "mobilevitv2_050",
    "mobilevit_xxs",
    "swiftformer_xs",
    "shvit_s1",
    "edgenext_xx_small",
    "ghostnetv2_100",
    "levit_128s",
    "tiny_vit_5m_224",
    "efficientnet_lite0",
    "resnet18",
    "vit_tiny_patch16_224",
    "convnext_atto",
    "starnet_s1",
    "efficientvit_b0",
    "swin_tiny_patch4_window7_224",
    "resnest14d",
    "xcit_nano_12_p16_224",
    "maxvit_tiny_rw_224",
    "coatnet_0_rw_224",
    "poolformer_s12",
    "mambaout_femto",
)
ROUNDS = 10
RUNS_PER_ROUND = 3
CORE = 0
FP32_DB, COREML_FP16_DB = 85.0, 35.0
GOALS = {
    "executorch_over_litert_worst": 1.1,
    "executorch_over_litert_geomean": 1.0,
    "executorch_over_plain_geomean": 0.6,
    "litert_over_plain_worst": 1.0,
    "litert_over_plain_geomean": 0.95,
    "export_wall_geomean": 1.0,
    "interpreter_ms_worst": 3000.0,
    "interpreter_ms_efficientnet_lite0": 150.0,
}
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONWARNINGS": "ignore"}


def source_of(name: str) -> str:
    """The same weights for both sides: random, seeded, norms settled on photos."""
    return f"timm:{name}?pretrained=0"


def plain(name: str, folder: Path) -> None:
    """Child process: three converters, called as their documentation shows, one after another."""
    import torch

    from exporters.source import load_source

    torch.set_num_threads(1)
    source = load_source(source_of(name))
    seconds: dict[str, float] = {}
    failed: dict[str, str] = {}
    for format_name, call in PLAIN.items():
        start = time.perf_counter()
        try:
            call(source.module, source.example, folder)
        except Exception as error:  # that a plain call fails is a result
            failed[format_name] = f"{type(error).__name__}: {error}"[:300]
        seconds[format_name] = round(time.perf_counter() - start, 2)
    np.savez(folder / "input.npz", *(value.numpy() for value in source.example))
    (folder / "plain.json").write_text(json.dumps({"seconds": seconds, "failed": failed}))


def _plain_executorch(module: Any, example: tuple[Any, ...], folder: Path) -> None:
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    program = torch.export.export(module, example)
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    (folder / "plain.pte").write_bytes(lowered.to_executorch().buffer)


def _plain_litert(module: Any, example: tuple[Any, ...], folder: Path) -> None:
    import litert_torch

    litert_torch.convert(module, example).export(str(folder / "plain.tflite"))


def _plain_coreml(module: Any, example: tuple[Any, ...], folder: Path) -> None:
    import coremltools as ct
    import torch

    program = torch.export.export(module, example).run_decompositions({})
    model = ct.convert(program, convert_to="mlprogram", compute_precision=ct.precision.FLOAT32)
    model.save(str(folder / "plain.mlpackage"))


PLAIN: dict[str, Callable[[Any, tuple[Any, ...], Path], None]] = {
    "executorch": _plain_executorch,
    "litert": _plain_litert,
    "coreml": _plain_coreml,
}


def serve_runs(path: Path, inputs: Path) -> None:
    """Child process: a count per line on stdin, a JSON list of milliseconds per line on stdout."""
    os.sched_setaffinity(0, {CORE})
    arrays = [array for _, array in sorted(np.load(inputs).items())]
    run = _runner(path, arrays)
    run()
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter_ns()
            run()
            times.append((time.perf_counter_ns() - start) / 1e6)
        print(json.dumps(times), flush=True)


def _runner(path: Path, arrays: Sequence[Any]) -> Callable[[], object]:
    if path.suffix == ".tflite":
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_path=str(path), num_threads=1)
        interpreter.allocate_tensors()
        for detail, array in zip(interpreter.get_input_details(), arrays, strict=True):
            interpreter.set_tensor(detail["index"], array)
        return interpreter.invoke
    import torch
    from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
    from executorch.runtime import Runtime

    _unsafe_reset_threadpool(1)
    program = Runtime.get().load_program(path)
    method = program.load_method("forward")
    tensors = [torch.from_numpy(array) for array in arrays]
    return lambda: (program, method.execute(tensors))


@contextmanager
def _runners(files: Sequence[Path], inputs: Path) -> Iterator[list[subprocess.Popen[str]]]:
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, "--serve", str(path), str(inputs)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **ENVIRONMENT},
        )
        for path in files
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def latencies(files: Mapping[str, Path], inputs: Path) -> dict[str, float]:
    """Median milliseconds by name, the files taking turns; the first round is warm-up."""
    times: dict[str, list[float]] = {name: [] for name in files}
    with _runners(list(files.values()), inputs) as processes:
        for turn in range(ROUNDS + 1):
            for name, process in zip(files, processes, strict=True):
                seen = _turn(process, files[name])
                times[name] += seen if turn else []
    return {name: round(statistics.median(samples), 3) for name, samples in times.items()}


def _turn(process: subprocess.Popen[str], path: Path) -> list[float]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{RUNS_PER_ROUND}\n")
    process.stdin.flush()
    for line in process.stdout:
        if line.startswith("["):
            found: list[float] = json.loads(line)
            return found
    raise SystemExit(f"{path} does not run")


def _timed(command: Sequence[str]) -> tuple[float, subprocess.CompletedProcess[str]]:
    start = time.perf_counter()
    done = subprocess.run(
        command,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        check=False,
    )
    return round(time.perf_counter() - start, 2), done


def measure(name: str, folder: Path) -> dict[str, Any]:
    """Everything about one network."""
    folder.mkdir(parents=True, exist_ok=True)
    wall_plain, done = _timed([sys.executable, __file__, "--plain", name, str(folder)])
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr[-2000:]}")
    said = json.loads((folder / "plain.json").read_text())
    bundle = folder / f"{name}.bundle"
    wall_ours, ours = _timed([*_headtail(name, bundle), "--precision", "fp32", "--rebuild"])
    result = json.loads(ours.stdout.splitlines()[-1])
    rows = {f"{r['format']}.{r['precision']}": r for r in result.get("artifacts", [])}
    files = {
        "litert_plain": folder / "plain.tflite",
        "executorch_plain": folder / "plain.pte",
        "litert": bundle / f"artifacts/{name}.fp32.tflite",
        "executorch": bundle / f"artifacts/{name}.fp32.pte",
    }
    present = {key: path for key, path in files.items() if path.exists()}
    return {
        "name": name,
        "exit": ours.returncode,
        "verdicts": {key: row["verdict"] for key, row in rows.items()},
        "snr_db_min": {key: row["snr_db_min"] for key, row in rows.items()},
        "snr_db_mean": {key: row["snr_db_mean"] for key, row in rows.items()},
        "failures": [f["reason"] for f in result.get("failures", [])] or result.get("error"),
        "plain_failed": said["failed"],
        "ms": latencies(present, folder / "input.npz"),
        "interpreter_ms": rows.get("coreml.fp32", {}).get("latency_ms_p50"),
        "seconds_plain_calls": said["seconds"],
        "seconds_plain": wall_plain,
        "seconds_headtail": wall_ours,
    }


def _headtail(name: str, bundle: Path) -> list[str]:
    command = [sys.executable, "-m", "headtail", "export", source_of(name), "-o", str(bundle)]
    return [*command, "--force", "--no-split", "--json", "--runs", "10"]


def half(name: str, folder: Path) -> dict[str, Any]:
    """Core ML in half precision: not timed, so it is exported apart from what is."""
    bundle = folder / f"{name}.half.bundle"
    asked = ["--format", "coreml", "--precision", "fp16"]
    _, done = _timed([*_headtail(name, bundle), *asked])
    rows = json.loads(done.stdout.splitlines()[-1]).get("artifacts", [])
    found = next((row for row in rows if row["precision"] == "fp16"), {})
    return {key: found.get(key) for key in ("verdict", "snr_db_min", "snr_db_mean")}


def ratios(row: Mapping[str, Any]) -> dict[str, float]:
    """Ours over theirs; a pair of which one side is missing has none."""
    ms, found = row["ms"], {}
    for key, above, below in (
        ("executorch_over_litert", "executorch", "litert"),
        ("executorch_over_plain", "executorch", "executorch_plain"),
        ("litert_over_plain", "litert", "litert_plain"),
    ):
        if above in ms and below in ms:
            found[key] = round(ms[above] / ms[below], 3)
    found["export_wall"] = round(row["seconds_headtail"] / row["seconds_plain"], 3)
    calls = sum(row["seconds_plain_calls"].values())
    found["export_calls"] = round(row["seconds_headtail"] / calls, 3)
    return found


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Geometric means, worst cases and which goals are met."""
    every = [ratios(row) for row in rows]
    figures: dict[str, float] = {}
    for key in ("executorch_over_litert", "executorch_over_plain", "litert_over_plain"):
        found = {row["name"]: r[key] for row, r in zip(rows, every, strict=True) if key in r}
        figures[f"{key}_geomean"] = _geomean(found.values())
        figures[f"{key}_worst"] = max(found.values())
    for key in ("export_wall", "export_calls"):
        figures[f"{key}_geomean"] = _geomean(r[key] for r in every)
    milliseconds = {row["name"]: row["interpreter_ms"] for row in rows if row["interpreter_ms"]}
    figures["interpreter_ms_worst"] = max(milliseconds.values())
    if "efficientnet_lite0" in milliseconds:
        figures["interpreter_ms_efficientnet_lite0"] = milliseconds["efficientnet_lite0"]
    good = [row for row in rows if _proven(row)]
    met = {key: figures[key] <= goal for key, goal in GOALS.items() if key in figures}
    return {"proven": f"{len(good)}/{len(rows)}", "figures": figures, "goals": GOALS, "met": met}


def _proven(row: Mapping[str, Any]) -> bool:
    exact = [row["snr_db_min"].get(f"{f}.fp32") or 0 for f in PLAIN]
    in_half = row.get("coreml_fp16", {}).get("snr_db_mean") or 0
    return row["exit"] == 0 and min(exact) >= FP32_DB and in_half >= COREML_FP16_DB


def _geomean(values: Any) -> float:
    found = list(values)
    return round(math.exp(sum(map(math.log, found)) / len(found)), 3)


def _once(kept: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What an earlier run measured, or else what `make` measures now."""
    if not kept.exists():
        made = make()
        kept.write_text(json.dumps(made))
    found: dict[str, Any] = json.loads(kept.read_text())
    return found


def main() -> int:
    """Measure the networks that are not measured yet, and sum up all that are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="networks; all 28 by default")
    parser.add_argument("--folder", type=Path, default=Path("build/zoo"))
    parser.add_argument("--plain", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--serve", nargs=2, metavar=("FILE", "INPUTS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain:
        plain(options.plain[0], Path(options.plain[1]))
        return 0
    if options.serve:
        serve_runs(*map(Path, options.serve))
        return 0
    folders = {name: options.folder / name for name in options.names or NAMES}
    rows = []
    for name, folder in folders.items():
        rows.append(_once(folder / "row.json", partial(measure, name, folder)))
        print(json.dumps({"name": name, **ratios(rows[-1])}), file=sys.stderr, flush=True)
    for row, (name, folder) in zip(rows, folders.items(), strict=True):
        row["coreml_fp16"] = _once(folder / "half.json", partial(half, name, folder))
    whole = {"benchmark": "zoo", **summary(rows), "networks": rows}
    print(json.dumps({**whole, "machine": platform.processor(), "versions": tool_versions()}))
    return 0 if all(whole["met"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
