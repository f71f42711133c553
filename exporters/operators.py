"""Which operators may stand in a stranger's program: an allow-list in effect, resolved by name.

Public functional ATen operators, a few private ones that capture leaves behind, and arithmetic on
sizes. Out are operators that write to their arguments, that read files, that return memory nobody
wrote (`empty`, `resize`: another client's data), those of gradients, sparse tensors and particular
libraries, which inference needs none of and whose kernels check little, the private rest for the
same reason, and what only TorchScript's interpreter knows (`aten::save`, `aten::set_grad_enabled`).
Keywords must be ones of the operator's schema: torch.fx writes them into the source of the module
it makes.
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable, Collection
from typing import Any

import torch

from headtail.errors import SchemaFault

__all__ = ["SIZE_OPERATORS", "check_keywords", "resolve"]

# Arithmetic on sizes, which torch.export leaves as Python operators.
SIZE_OPERATORS: dict[str, Callable[..., Any]] = {
    "getitem": operator.getitem,
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "floordiv": operator.floordiv,
    "neg": operator.neg,
}
_ATEN = re.compile(r"aten\.([A-Za-z0-9_]+)\.([A-Za-z0-9_]+)")
_FORBIDDEN = re.compile(
    r"from_file|set(_data)?|(new_)?empty\w*|resize\w*|pin_memory|record_stream"
    r"|\w+_backward\w*|(to_)?sparse_\w+|to_sparse|to_mkldnn\w*"
    r"|(cudnn|fbgemm|miopen|mkldnn|quantized)_\w+|_\w+"
)
# Sizes of tensors, the only operators outside torch's dispatcher that capture makes.
_SIZES = frozenset({"sym_numel", "sym_size", "sym_storage_offset", "sym_stride"})
_PRIVATE = frozenset(
    {
        "_adaptive_avg_pool2d",
        "_adaptive_avg_pool3d",
        "_cdist_forward",
        "_log_softmax",
        "_native_batch_norm_legit",
        "_native_batch_norm_legit_no_training",
        "_softmax",
        "_to_copy",
        "_unsafe_view",
        "_upsample_bicubic2d_aa",
        "_upsample_bilinear2d_aa",
        "_upsample_nearest_exact2d",
    }
)
_REMEDY = "Export the bundle again with this version of Headtail."


def resolve(op: str) -> Callable[..., Any]:
    """`aten.conv2d.default` to the operator; raises `SchemaFault` for what may not stand there."""
    if op in SIZE_OPERATORS:
        return SIZE_OPERATORS[op]
    match = _ATEN.fullmatch(op)
    overload = None
    if match and (match[1] in _PRIVATE or not _FORBIDDEN.fullmatch(match[1])):
        overload = getattr(getattr(torch.ops.aten, match[1], None), match[2], None)
    if not isinstance(overload, torch._ops.OpOverload) or not _is_harmless(overload):
        raise SchemaFault(f"Operator {op!r} may not stand in a program", "$.calls", remedy=_REMEDY)
    return overload


def _is_harmless(overload: torch._ops.OpOverload) -> bool:
    schema = overload._schema
    name = f"{schema.name}.{schema.overload_name}".removesuffix(".")
    known = schema.name.removeprefix("aten::") in _SIZES or name in _dispatched()
    return known and not schema.is_mutable


@functools.cache
def _dispatched() -> frozenset[str]:
    return frozenset(torch._C._dispatch_get_all_op_names())


def check_keywords(op: str, keywords: Collection[str]) -> None:
    """Raise `SchemaFault` unless the operator has arguments of these names."""
    found = resolve(op)
    known: set[str] = set()
    if isinstance(found, torch._ops.OpOverload):
        known = {argument.name for argument in found._schema.arguments}
    unknown = sorted(set(keywords) - known)
    if unknown:
        raise SchemaFault(
            f"Operator {op!r} has no argument {unknown[0][:80]!r}", "$.calls", remedy=_REMEDY
        )
