"""ExecuTorch: quantizes exported programs before lowering, PT2E with the XNNPACK quantizer.

https://docs.pytorch.org/executorch/stable/backends/xnnpack/xnnpack-quantization.html. `w8a8` is
static, weights symmetric per channel, min-max ranges by the quantizer's own observers. XNNPACK has
no weight-only convolution, so `w8` is not honoured, and half precision is not written yet.

`forward` is quantized once; every head is then cut out of the quantized graph at the values it
returns, so weights and scales of the shared part are the same by construction and the `.pte`
stores them once.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from headtail.errors import ConversionFailed, UsageFault
from headtail.manifest import FORWARD
from headtail.tensors import Array
from quantizers import support
from quantizers.recipe import Recipe

if TYPE_CHECKING:
    from torch import fx
    from torch.export import ExportedProgram

__all__ = ["HONOURS", "quantize_entries"]

HONOURS = frozenset({"fp32", "w8a8"})


def quantize_entries(
    entries: Mapping[str, ExportedProgram], recipe: Recipe, calibration: Sequence[Sequence[Array]]
) -> Mapping[str, ExportedProgram]:
    """Quantize `entries` by `recipe`: `forward`, and heads that compute a part of it.

    Heads take the inputs of `forward` in the same order; they are matched by what their graphs
    compute (operators, arguments, weights), not by names. Each sample of `calibration` is one array
    per input. Raises `UsageFault` for a recipe this format does not honour, for no `forward` or no
    samples, and `ConversionFailed` for a head that computes what `forward` does not.
    """
    support.require("executorch", recipe)
    _check(entries, recipe, calibration)
    if recipe.name == "fp32":
        return dict(entries)
    import torch

    with torch.no_grad():
        flat = {name: program.module(check_guards=False) for name, program in entries.items()}
        returns = _match(flat)
        quantized = _quantize(flat[FORWARD], calibration)
        made = {}
        for name, program in entries.items():
            part = quantized
            if name != FORWARD:
                wanted = [_counterpart(quantized, names) for names in returns[name]]
                part = _cut(quantized, wanted)
            made[name] = torch.export.export(part, program.example_inputs[0])
    return made


def _check(
    entries: Mapping[str, ExportedProgram], recipe: Recipe, calibration: Sequence[Sequence[Array]]
) -> None:
    if FORWARD not in entries:
        raise UsageFault(
            f"The entry points are {', '.join(sorted(entries)) or '(none)'}.",
            expected=f"One of them is {FORWARD!r}, of which the others are parts.",
            remedy=f"Pass the whole program as {FORWARD!r}.",
        )
    if recipe.needs_calibration and not calibration:
        raise UsageFault(
            f"{recipe.name} was asked for without calibration samples.",
            expected="Static activation ranges are measured on real inputs; none are made up.",
            remedy="Pass samples, or choose fp32.",
        )


def _quantize(module: Any, calibration: Sequence[Sequence[Array]]) -> Any:
    import torch
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    quantizer = XNNPACKQuantizer()
    quantizer.set_global(get_symmetric_quantization_config(is_per_channel=True))
    prepared = prepare_pt2e(module, quantizer)
    for sample in calibration:
        prepared(*(torch.from_numpy(array) for array in sample))
    return convert_pt2e(prepared)


def _match(flat: Mapping[str, fx.GraphModule]) -> dict[str, list[tuple[str, ...]]]:
    """For every entry and value it returns: the names in `forward` under which it may survive."""
    known = {digest: node for node, digest in _meanings(flat[FORWARD]).items()}
    found = {}
    for name, module in flat.items():
        meanings = _meanings(module)
        output = next(node for node in module.graph.nodes if node.op == "output")
        wanted = [meanings[node] for node in output.all_input_nodes]
        lost = [node for node in output.all_input_nodes if meanings[node] not in known]
        if lost:
            raise ConversionFailed(
                f"Entry point {name!r} returns {lost[0].name!r}, which {FORWARD!r} never computes.",
                expected=f"A head is a part of {FORWARD!r}: same operators, weights and inputs.",
                remedy="Cut the head out of the graph that forward was exported from.",
            )
        found[name] = [_names(known[digest]) for digest in wanted]
    return found


def _names(node: fx.Node) -> tuple[str, ...]:
    """Its own name; a batch norm is folded into the convolution before it, which replaces it.

    A batch norm may return three values, of which the first is its output.
    """
    names = [node.name]
    if node.target is operator.getitem and node.args[1] == 0:
        node = node.all_input_nodes[0]
    if "batch_norm" in str(node.target):
        names += [node.name, node.all_input_nodes[0].name]
    return tuple(names)


def _meanings(module: fx.GraphModule) -> dict[fx.Node, bytes]:
    """Node -> digest of everything that determines its value: two equal digests, one value."""
    meanings: dict[fx.Node, bytes] = {}
    inputs = 0
    for node in module.graph.nodes:
        if node.op == "placeholder":
            text, inputs = f"input {inputs}", inputs + 1
        elif node.op == "get_attr":
            text = _weight_digest(module, str(node.target))
        else:
            text = f"{node.target} {_describe((node.args, node.kwargs), meanings)}"
        meanings[node] = hashlib.sha256(text.encode()).digest()
    return meanings


def _weight_digest(module: Any, target: str) -> str:
    value = module
    for part in target.split("."):
        value = getattr(value, part)
    array = value.detach().contiguous().numpy()
    return f"{array.dtype}{array.shape}{hashlib.sha256(array.tobytes()).hexdigest()}"


def _describe(value: Any, meanings: Mapping[fx.Node, bytes]) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{','.join(_describe(item, meanings) for item in value)}]"
    if isinstance(value, dict):
        return _describe([item for pair in sorted(value.items()) for item in pair], meanings)
    known = meanings.get(value) if hasattr(value, "all_input_nodes") else None
    return repr(value) if known is None else known.hex()


def _counterpart(quantized: fx.GraphModule, names: Sequence[str]) -> fx.Node:
    """Where a value of the float graph is found after quantization, read back to float.

    A value that is quantized is returned from behind its dequantization, so that the head gives
    what the rest of `forward` would have seen.
    """
    by_name = {node.name: node for node in quantized.graph.nodes}
    node = next((by_name[name] for name in names if name in by_name), None)
    if node is None:
        raise ConversionFailed(
            f"Value {names[0]!r} has no counterpart in the quantized program.",
            expected="Quantization keeps operators and folds batch norms only.",
            remedy="Cut after another layer.",
        )
    for user in node.users:
        if "quantize_per_tensor" in str(user.target):
            return cast("fx.Node", next(iter(user.users)))
    return cast("fx.Node", node)


def _cut(quantized: fx.GraphModule, wanted: Sequence[fx.Node]) -> fx.GraphModule:
    """Inputs to `wanted`, as a module that returns a tuple."""
    from torch import fx

    # not by eliminating dead code, which spares operators like dropout and all that leads to them
    needed, stack = set[fx.Node](), list(wanted)
    while stack:
        node = stack.pop()
        if node not in needed:
            needed.add(node)
            stack.extend(node.all_input_nodes)
    part, made = fx.Graph(), dict[fx.Node, fx.Node]()
    for node in quantized.graph.nodes:
        if node in needed or node.op == "placeholder":  # an entry point takes every input
            made[node] = part.node_copy(node, lambda source: made[source])
    part.output(tuple(made[node] for node in wanted))
    return fx.GraphModule(quantized, part)  # copies only the weights that `part` uses
