"""What can run a segment instead of torch's eager operators: a table, and how each is loaded.

    executorch   a `.pte` that this server built, run by ExecuTorch's XNNPACK delegate
    inductor     a `.so` that this server built with AOTInductor and a C++ compiler
    cuda         the eager module on the first CUDA device; nothing to build

A built file is code: loading it executes it. So only files that `builder.py` wrote into the
server's own folder are ever loaded, see `built.py`.
"""

from __future__ import annotations

import importlib.util
import math
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from companion_server.tails.chain import Runs

    Tensors = tuple[torch.Tensor, ...]

__all__ = ["BACKENDS", "EAGER", "MOST_SAMPLES", "Backend"]

EAGER = "eager"
MOST_SAMPLES = 16  # of one call into a built file; its memory is planned for so many


@dataclass(frozen=True)
class Backend:
    """`missing` says why it is not on this machine ("" if it is). `write` builds a file from
    (module, example values of two samples, path, most samples), None if there is nothing to build;
    `load` makes something that runs from (path, eager module, threads), and does not hold on to the
    module, whose weights are freed."""

    missing: Callable[[], str]
    write: Callable[[Any, Sequence[torch.Tensor], Path, int], None] | None
    load: Callable[[Path, Any, int], Runs]


class _InParts:
    """Runs at most `most` samples at a time, in parts of one size; tensors are made dense."""

    def __init__(self, call: Callable[[Sequence[torch.Tensor]], Any], most: int) -> None:
        self._call = call
        self._most = most

    def __call__(self, *values: torch.Tensor) -> Tensors:
        import torch

        dense = [value.contiguous() for value in values]
        samples = dense[0].shape[0]
        if samples <= self._most:
            return tuple(self._call(dense))
        size = math.ceil(samples / math.ceil(samples / self._most))  # 16 in 8 + 8, not 15 + 1
        parts = zip(*(torch.split(value, size) for value in dense), strict=True)
        rows = [self._call(list(part)) for part in parts]
        return tuple(torch.cat(held) for held in zip(*rows, strict=True))


def _missing_executorch() -> str:
    if importlib.util.find_spec("executorch") is None:
        return "executorch is not installed: pip install 'headtail[export]'"
    return ""


def _write_executorch(module: Any, example: Sequence[torch.Tensor], path: Path, most: int) -> None:
    from exporters.tail_code import write_executorch

    write_executorch(module, example, path, most=most)


def _load_executorch(path: Path, _eager: Any, threads: int) -> Runs:
    import torch  # noqa: F401  # its libraries must be there before the binding is imported

    # the documented executorch.runtime imports the whole exporter first: 3 s and 130 MB
    from executorch.extension.pybindings import _C

    _C._unsafe_reset_threadpool(threads)
    program = _C._load_program(
        str(path),
        enable_etdump=False,
        debug_buffer_size=0,
        program_verification=_C.Verification.InternalConsistency,
        data_path=None,
    )
    method = program.load_method("forward")
    most = method.method_meta().input_tensor_meta(0).sizes()[0]
    return _InParts(method, most)


def _missing_compiler() -> str:
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        return f"no C++ compiler {compiler!r} on the path: install g++, or set CXX"
    return ""


def _write_library(module: Any, example: Sequence[torch.Tensor], path: Path, most: int) -> None:
    from exporters.tail_code import write_library

    write_library(module, example, path, most=most)


def _load_library(path: Path, _eager: Any, _threads: int) -> Runs:
    import torch

    # what torch._export.aot_load does, less its warning that files travel better as packages
    runner = torch._C._aoti.AOTIModelContainerRunnerCpu(str(path), 1)
    return _InParts(lambda values: runner.run(list(values)), MOST_SAMPLES)


def _missing_cuda() -> str:
    import torch

    return "" if torch.cuda.is_available() else "torch finds no CUDA device"


def _load_cuda(_path: Path, eager: Any, _threads: int) -> Runs:
    import copy

    import torch

    device = torch.device("cuda")
    module = copy.deepcopy(eager).to(device)

    def run(*values: torch.Tensor) -> Tensors:
        with device:  # operators that make tensors make them there
            outputs = module(*(value.to(device) for value in values))
        return tuple(output.cpu() for output in outputs)

    return run


BACKENDS: dict[str, Backend] = {
    "executorch": Backend(_missing_executorch, _write_executorch, _load_executorch),
    "inductor": Backend(_missing_compiler, _write_library, _load_library),
    "cuda": Backend(_missing_cuda, None, _load_cuda),
}
