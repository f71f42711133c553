"""The operators that the installed converters and runtimes say they take, read from themselves.

The tables under `support/` are what this printed for the pinned versions: `python -m
exporters.diagnosis.inventory TARGET` writes one again after a version changes, and a test holds the
tables against the installed packages. LiteRT: litert-torch's lowering registry. Core ML:
coremltools' PyTorch frontend registry. ExecuTorch: the kernels in the runtime of the wheel
(portable and optimized), which is what a phone's runtime is built from; what XNNPACK takes is
asked of its partitioner each time, since it depends on shapes and dtypes.
"""

from __future__ import annotations

import importlib.metadata
import json
import operator
import sys
from collections.abc import Callable, Iterable
from typing import Any

import torch

from exporters.diagnosis.support import TABLES, table_path
from headtail.errors import UnknownName

__all__ = ["inventory"]


def inventory(target: str) -> dict[str, Any]:
    """The table of `target` as the installed packages give it; imports the converter."""
    if target not in _LISTS:
        raise UnknownName("format", target, _LISTS)
    package = TABLES[target]
    return {
        "target": target,
        "package": package,
        "version": importlib.metadata.version(package),
        "operators": sorted(set(_LISTS[target]())),
    }


def _litert() -> Iterable[str]:
    from litert_torch.backend import lowerings

    known = lowerings.registry.global_registry.registered_ops
    yield from (str(op) for op in known if isinstance(op, torch._ops.OpOverload))
    functions = (value for value in vars(operator).values() if callable(value))
    yield from (f.__name__ for f in functions if f in known)
    yield "getitem"  # its lowering interpreter evaluates it itself


def _coreml() -> Iterable[str]:
    from coremltools.converters.mil.frontend.torch import ops as _registers  # noqa: F401
    from coremltools.converters.mil.frontend.torch.torch_op_registry import _TORCH_OPS_REGISTRY

    return list(_TORCH_OPS_REGISTRY.name_to_func_mapping)


def _executorch() -> Iterable[str]:
    from executorch.runtime import Runtime

    yield from Runtime.get().operator_registry.operator_names
    yield "getitem"  # the emitter resolves it


_LISTS: dict[str, Callable[[], Iterable[str]]] = {
    "coreml": _coreml,
    "executorch": _executorch,
    "litert": _litert,
}


def main(argv: list[str]) -> int:
    """Write the tables of the targets named."""
    for target in argv:
        body = json.dumps(inventory(target), indent=1) + "\n"
        table_path(target).write_text(body)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
