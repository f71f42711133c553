"""A folder that shows a converter's fault without Headtail: a script, weights, inputs.

`repro.py` holds the part of the model as plain PyTorch code (as rewritten for the target), converts
it with the converter's own call, runs it and prints the SNR; it exits 1 if that is under the gate.
It needs torch, numpy and the converter. Core ML programs run off a Mac in Headtail's interpreter,
so that one script needs Headtail there.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch
from torch import fx

from exporters.diagnosis.support import TABLES
from exporters.prepare import prepare
from exporters.target import Target
from headtail.errors import UsageFault
from headtail.tensorfile import write_tensors
from headtail.tensors import Array

__all__ = ["write_reproduction"]

_FILES = frozenset({"inputs.safetensors", "part.mlpackage", "repro.py", "weights.safetensors"})


def write_reproduction(
    graph: fx.GraphModule, samples: Sequence[Sequence[Array]], target: Target, folder: Path
) -> Path:
    """Write the folder, over an older reproduction; raises `UsageFault` over anything else."""
    _make_room(folder)
    example = [torch.from_numpy(array) for array in samples[0]]
    try:
        prepared = prepare(graph, example, target.format).graph
    except Exception:  # a rewrite at fault is no part of what the converter is shown
        prepared = prepare(graph, example, "").graph
    weights = _flat_weights(prepared)
    write_tensors(folder / "weights.safetensors", weights)
    inputs = {f"{i}.{j}": array for i, s in enumerate(samples) for j, array in enumerate(s)}
    write_tensors(folder / "inputs.safetensors", inputs)
    (folder / "repro.py").write_text(_script(prepared, target))
    return folder


def _make_room(folder: Path) -> None:
    if folder.exists():
        if not folder.is_dir() or {path.name for path in folder.iterdir()} - _FILES:
            raise UsageFault(
                f"{folder} exists and is no reproduction.",
                expected="A reproduction overwrites nothing but an older one.",
                remedy="Name another folder with --repro.",
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True)


def _flat_weights(graph: fx.GraphModule) -> dict[str, Array]:
    """Rename every weight to `weight_<n>`, so that the script can set it; their values."""
    weights: dict[str, Array] = {}
    for index, node in enumerate(n for n in graph.graph.nodes if n.op == "get_attr"):
        path, _, leaf = str(node.target).rpartition(".")
        value = getattr(graph.get_submodule(path), leaf)
        name = f"weight_{index}"
        weights[name] = value.detach().contiguous().numpy()
        graph.register_buffer(name, value.detach())
        node.target = name
    return weights


def _script(graph: fx.GraphModule, target: Target) -> str:
    graph.graph.set_codegen(fx.graph.CodeGen())
    code = graph.graph.python_code("self").src
    body = "\n".join(f"    {line}" if line else "" for line in code.strip().splitlines())
    package = TABLES[target.format]
    return _TEMPLATE.format(
        package=package,
        version=version(package),
        torch=torch.__version__,
        gate=target.fp32_gate_db,
        forward=body,
        run=_RUNS[target.format].strip(),
    )


_TEMPLATE = '''\
"""Part of a model that {package} {version} (torch {torch}) converts wrongly, or not at all.

Run it in its folder: python repro.py
"""

import json
import struct
import sys
from pathlib import Path

import numpy as np
import torch
from torch import device, inf, nan  # noqa: F401  # forward() may name them

GATE_DB = {gate}
FOLDER = Path(__file__).resolve().parent
DTYPES = {{"F64": "f8", "F32": "f4", "F16": "f2", "I64": "i8", "I32": "i4", "I16": "i2",
          "I8": "i1", "U8": "u1", "BOOL": "?"}}


def read(name):
    """A safetensors file: https://github.com/huggingface/safetensors#format."""
    data = (FOLDER / name).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    tensors = {{}}
    for key, entry in header.items():
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        array = np.frombuffer(data[start:end], DTYPES[entry["dtype"]])
        tensors[key] = torch.from_numpy(array.reshape(entry["shape"]).copy())
    return tensors


class Part(torch.nn.Module):
    def __init__(self):
        super().__init__()
        for name, value in read("weights.safetensors").items():
            self.register_buffer(name, value)

{forward}


{run}


def samples():
    values = read("inputs.safetensors")
    count = 1 + max(int(key.split(".")[0]) for key in values)
    width = len(values) // count
    return [tuple(values[f"{{i}}.{{j}}"] for j in range(width)) for i in range(count)]


def snr_db(expected, given):
    expected, given = np.float64(expected), np.float64(given).reshape(expected.shape)
    error = np.sum((expected - given) ** 2)
    return np.inf if error == 0 else 10 * np.log10(np.sum(expected**2) / error)


def main():
    torch.set_num_threads(1)
    part, inputs = Part().eval(), samples()
    with torch.no_grad():
        given = convert_and_run(part, inputs)
        worst = min(
            snr_db(right.numpy(), seen)
            for sample, outputs in zip(inputs, given)
            for right, seen in zip(part(*sample), outputs)
        )
    print(f"SNR {{worst:.1f}} dB, it should be at least {{GATE_DB:.0f}} dB")
    return 0 if worst >= GATE_DB else 1


if __name__ == "__main__":
    sys.exit(main())
'''

_RUNS = {
    "litert": """
def convert_and_run(part, inputs):
    import litert_torch

    model = litert_torch.convert(part, inputs[0])
    results = [model(*(value.numpy() for value in sample)) for sample in inputs]
    return [r if isinstance(r, (list, tuple)) else [r] for r in results]
""",
    "executorch": """
def convert_and_run(part, inputs):
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower
    from executorch.runtime import Runtime

    program = torch.export.export(part, inputs[0])
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    data = lowered.to_executorch().buffer
    method = Runtime.get().load_program(data).load_method("forward")
    return [[out.numpy().copy() for out in method.execute(sample)] for sample in inputs]
""",
    "coreml": """
def convert_and_run(part, inputs):
    import coremltools as ct

    program = torch.export.export(part, inputs[0]).run_decompositions({})
    model = ct.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=ct.target.iOS18,
        compute_precision=ct.precision.FLOAT32,
        skip_model_load=sys.platform != "darwin",
    )
    names = [entry.name for entry in model.get_spec().description.input]
    answers = [entry.name for entry in model.get_spec().description.output]
    if sys.platform == "darwin":
        fed = [dict(zip(names, (v.numpy() for v in sample))) for sample in inputs]
        given = [model.predict(values) for values in fed]
        return [[values[name] for name in answers] for values in given]
    model.save(str(FOLDER / "part.mlpackage"))  # off a Mac, Headtail reads it as MIL specifies
    from exporters.mil.evaluation import Mode, Program

    function = Program(FOLDER / "part.mlpackage").functions["main"]
    return [[o.numpy() for o in function.run(list(s), mode=Mode.DECLARED)] for s in inputs]
""",
}
