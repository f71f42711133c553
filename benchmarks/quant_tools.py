"""Each format's own quantizer with its defaults, on the files of its own converter, judged.

What `benchmarks/quant.py` sets our files against. Runs in a process of its own.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from exporters.prove import size_of
from headtail.metrics import snr_db, top1_agreement, wilson_interval


def measure(format_name: str, folder: Path) -> None:
    """The format's own files by its own defaults, judged as ours are, in tool.FORMAT.json."""
    import torch

    torch.set_num_threads(1)
    from exporters.efficientnet_lite0 import get_args, get_model

    samples = list(np.load(folder / "calibration.npy"))
    files, seconds = TOOLS[format_name](get_model(), get_args(), samples, folder / "tool")
    inputs, expected = np.load(folder / "evaluation.npy"), np.load(folder / "reference.npy")
    rows: list[dict[str, Any]] = []
    for name, path in files.items():
        run = runner(path)
        given = [run(array) for array in inputs]
        rows.append({"recipe": "tool", "format": format_name, "precision": name})
        rows[-1] |= {"bytes": size_of(path), "file": f"tool/{path.name}"}
        rows[-1] |= {**judged(list(expected), given), "seconds": round(seconds[name], 1)}
        print(f"    {rows[-1]}", file=sys.stderr, flush=True)
    (folder / f"tool.{format_name}.json").write_text(json.dumps(rows))


def judged(expected: Sequence[Any], given: Sequence[Any]) -> dict[str, Any]:
    """Agreement with its Wilson interval, SNR in dB: mean and worst."""
    n = len(given)
    same = top1_agreement(reference=expected, candidate=given)
    low, high = wilson_interval(same, n)
    snrs = [snr_db(reference=r, candidate=c) for r, c in zip(expected, given, strict=True)]
    figures = {"snr_db_mean": float(np.mean(snrs)), "snr_db_min": float(min(snrs))}
    return {"agreement": same / n, "n": n, "low": low, "high": high, **figures}


def runner(path: Path) -> Callable[[Any], Any]:
    """From one input to the first output, float32 both, by the file's own runtime."""
    if path.suffix == ".tflite":
        return _litert_runner(path)
    import torch

    if path.suffix == ".mlpackage":
        from exporters.mil.evaluation import Program

        main = next(iter(Program(path).functions.values()))
        return lambda array: main.run([torch.from_numpy(array)])[0].numpy()
    from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
    from executorch.runtime import Runtime

    _unsafe_reset_threadpool(1)
    program = Runtime.get().load_program(path)
    method = program.load_method("forward")
    return lambda array: (program, method.execute([torch.from_numpy(array)])[0].numpy().copy())[1]


def _litert_runner(path: Path) -> Callable[[Any], Any]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(array: Any) -> Any:
        if given["dtype"] is np.int8:
            scale, zero = given["quantization"]
            array = np.clip(np.round(array / scale) + zero, -128, 127).astype(np.int8)
        interpreter.set_tensor(given["index"], array)
        interpreter.invoke()
        result = interpreter.get_tensor(made["index"])
        if result.dtype == np.int8:
            scale, zero = made["quantization"]
            result = ((result.astype(np.float32) - zero) * scale).astype(np.float32)
        return result

    return run


Files = tuple[dict[str, Path], dict[str, float]]


def _timed(seconds: dict[str, float], name: str, make: Callable[[], Any]) -> Any:
    start = time.perf_counter()
    made = make()
    seconds[name] = time.perf_counter() - start
    print(f"    {name} made in {seconds[name]:.1f} s", file=sys.stderr, flush=True)
    return made


def tool_executorch(model: Any, example: Any, samples: Sequence[Any], to: Path) -> Files:
    """XNNPACKQuantizer's static configuration per channel, with its own observers."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.backends.xnnpack.quantizer import xnnpack_quantizer
    from executorch.exir import to_edge_transform_and_lower
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    def lower(program: Any, path: Path) -> None:
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
        path.write_bytes(lowered.to_executorch().buffer)

    def int8() -> None:
        quantizer = xnnpack_quantizer.XNNPACKQuantizer()
        configuration = xnnpack_quantizer.get_symmetric_quantization_config(is_per_channel=True)
        quantizer.set_global(configuration)
        with torch.no_grad():
            prepared = prepare_pt2e(torch.export.export(model, example).module(), quantizer)
            for array in samples:
                prepared(torch.from_numpy(array))
            lower(torch.export.export(convert_pt2e(prepared), example), files["static_int8"])

    files = {"fp32": to / "fp32.pte", "static_int8": to / "static_int8.pte"}
    seconds: dict[str, float] = {}
    _timed(seconds, "fp32", lambda: lower(torch.export.export(model, example), files["fp32"]))
    _timed(seconds, "static_int8", int8)
    return files, seconds


def tool_litert(model: Any, example: Any, samples: Sequence[Any], to: Path) -> Files:
    """ai-edge-quantizer's recipes for all operators, with its own calibration."""
    import litert_torch
    from ai_edge_quantizer import quantizer, recipe

    exact, seconds = to / "fp32.tflite", dict[str, float]()
    _timed(seconds, "fp32", lambda: litert_torch.convert(model, example).export(str(exact)))
    files = {"fp32": exact}
    signature, names = next(iter(_signatures(exact).items()))
    given = {signature: [{names["inputs"][0]: array} for array in samples]}
    for name in ("static_wi8_ai8", "weight_only_wi8_afp32"):
        files[name] = to / f"{name}.tflite"

        def make(name: str = name) -> None:
            made = quantizer.Quantizer(str(exact), getattr(recipe, name)())
            found = made.calibrate(given, num_threads=1) if made.need_calibration else None
            files[name].write_bytes(bytes(made.quantize(found).quantized_model))

        _timed(seconds, name, make)
    return files, seconds


def _signatures(path: Path) -> dict[str, Any]:
    from ai_edge_litert.interpreter import Interpreter

    found: dict[str, Any] = Interpreter(model_path=str(path)).get_signature_list()
    return found


def tool_coreml(model: Any, example: Any, samples: Sequence[Any], to: Path) -> Files:
    """coremltools' weight compression of the package that its converter writes by default."""
    import coremltools as ct
    import coremltools.optimize.coreml as cto
    import torch

    del samples  # what is compressed here needs none
    program = torch.export.export(model, example).run_decompositions({})
    kinds = {
        "w8": (cto.OpLinearQuantizerConfig(mode="linear_symmetric"), cto.linear_quantize_weights),
        "p4": (cto.OpPalettizerConfig(mode="kmeans", nbits=4), cto.palettize_weights),
        "w4b32": (
            cto.OpLinearQuantizerConfig(
                mode="linear_symmetric", dtype="int4", granularity="per_block", block_size=32
            ),
            cto.linear_quantize_weights,
        ),
    }
    files, seconds = {"fp16": to / "fp16.mlpackage"}, dict[str, float]()
    aimed = {"convert_to": "mlprogram", "minimum_deployment_target": ct.target.iOS18}
    half = _timed(seconds, "fp16", lambda: ct.convert(program, **aimed))
    half.save(str(files["fp16"]))
    for name, (configuration, compress) in kinds.items():
        files[name] = to / f"{name}.mlpackage"
        config = cto.OptimizationConfig(global_config=configuration)
        made = _timed(seconds, name, lambda c=compress, o=config: c(half, o))  # type: ignore[misc]
        made.save(str(files[name]))
    return files, seconds


TOOLS: dict[str, Callable[[Any, Any, Sequence[Any], Path], Files]] = {
    "executorch": tool_executorch,
    "litert": tool_litert,
    "coreml": tool_coreml,
}
