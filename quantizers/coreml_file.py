"""Compact writing of an `.mlpackage` with several functions.

Weights are shared between functions already; what a further function costs is its program text, and
half of that is constants, because coremltools writes the strides, paddings and groups of every
operator anew. In every function but `forward` equal ones are written once here; `forward` stays as
it was converted. Messages: https://github.com/apple/coremltools/blob/main/mlmodel/format/MIL.proto.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headtail.manifest import FORWARD
from quantizers.coreml_proto import proto

__all__ = ["MODEL", "compact", "read_spec"]

MODEL = Path("Data/com.apple.CoreML/model.mlmodel")  # inside the package


def read_spec(package: Path) -> Any:
    """The `Model` message of a package."""
    spec = proto("Model_pb2").Model()
    spec.ParseFromString((package / MODEL).read_bytes())
    return spec


def compact(package: Path) -> None:
    """Rewrite the package in place: same results, smaller program, the same bytes every time."""
    spec = read_spec(package)
    for name, function in spec.mlProgram.functions.items():
        if name != FORWARD:
            for block in function.block_specializations.values():
                _share_constants(block)
    (package / MODEL).write_bytes(spec.SerializeToString(deterministic=True))


def _share_constants(block: Any) -> None:
    first: dict[bytes, str] = {}
    replaced: dict[str, str] = {}
    kept = []
    returned = set(block.outputs)
    for operation in block.operations:
        content = _immediate(operation)
        name = operation.outputs[0].name if operation.outputs else ""
        if content is None or first.setdefault(content, name) == name or name in returned:
            kept.append(operation)
        else:
            replaced[name] = first[content]
    for operation in kept:
        _rename_inputs(operation, replaced)
    copies = [type(operation).FromString(operation.SerializeToString()) for operation in kept]
    del block.operations[:]
    block.operations.extend(copies)


def _immediate(operation: Any) -> bytes | None:
    """Type and value of a constant that stands in the program text; None for all else."""
    if operation.type != "const" or operation.attributes["val"].blobFileValue.fileName:
        return None
    return bytes(operation.attributes["val"].SerializeToString(deterministic=True))


def _rename_inputs(operation: Any, replaced: dict[str, str]) -> None:
    for binding in operation.inputs.values():
        for argument in binding.arguments:
            if argument.name in replaced:
                argument.name = replaced[argument.name]
    for block in operation.blocks:
        for inner in block.operations:
            _rename_inputs(inner, replaced)
