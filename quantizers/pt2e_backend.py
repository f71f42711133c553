"""ExecuTorch: quantizes exported programs before lowering, in PT2E's representation, for XNNPACK.

https://docs.pytorch.org/executorch/stable/backends/xnnpack/xnnpack-quantization.html. `forward` is
quantized once; every head is then cut out of the quantized graph at the values it returns, so
weights and scales of the shared part are the same by construction and the `.pte` stores them once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from headtail.errors import ConversionFailed, UsageFault
from headtail.manifest import FORWARD
from headtail.tensors import Array
from quantizers.candidates import stored_size
from quantizers.plan import Plan
from quantizers.pt2e_forms import Renamed, to_integer_forms
from quantizers.pt2e_heads import cut, outputs_in_forward
from quantizers.pt2e_static import quantize_static
from quantizers.pt2e_weight_only import quantize_dynamic, quantize_weights
from quantizers.pt2e_xnnpack import partitioner
from quantizers.recipe import RECIPES, Recipe, Storage
from quantizers.sites import Site

if TYPE_CHECKING:
    from torch import fx
    from torch.export import ExportedProgram

__all__ = ["HONOURS", "partitioner", "quantize_entries", "refusal", "remark", "stored"]

# EfficientNet-Lite0: 16.0 MB for 18.6 MB, and 1.8 times the time of float32 on x86-64.
_NO_HALF = "executorch 1.5.1 stores the kernels of half-precision convolutions as float32"


def refusal(recipe: Recipe) -> str | None:
    """Why a `.pte` for XNNPACK cannot hold `recipe`; None if it can."""
    mode, stored = recipe.activation_mode, [s for s in recipe.storages if s.quantized]
    if stored and any(storage.dtype == "f16" for storage in recipe.storages):
        return "its float weights are all of 32 bits"
    if not stored:
        return None if recipe.activations == "f32" else _NO_HALF
    if recipe.activations not in (("f32",) if mode == "none" else ("i8",)):
        return f"XNNPACK has no {mode} kernels for activations of {recipe.activations}"
    for storage in stored:
        kernels = ("i8",) if mode != "none" else ("i8", "i4")
        if storage.dtype not in kernels or storage.block:
            return f"XNNPACK has no kernels for weights of {storage}"
    return None


def stored(site: Site, storage: Storage) -> int:
    """Bytes of a weight whose activations are float: kernels that are not pointwise, which XNNPACK
    cannot multiply so, stay float32."""
    pointwise = "linear" in site.kinds or (site.groups == 1 and set(site.shape[2:]) == {1})
    return stored_size(site, storage if pointwise else Storage("f32"))


def remark(recipe: Recipe) -> str | None:
    """What a file of `recipe` costs at run time (executorch 1.5.1 on x86-64); None: nothing."""
    if recipe.quantizes and recipe.activation_mode == "none":
        return (
            "XNNPACK multiplies floats by integer weights in pointwise and linear layers only, and "
            "not faster than by floats"
        )
    return None


HONOURS = frozenset(name for name, recipe in RECIPES.items() if refusal(recipe) is None)


def quantize_entries(
    entries: Mapping[str, ExportedProgram],
    plan: Plan,
    calibration: Sequence[Sequence[Array]],
    *,
    rewrite: Callable[[fx.GraphModule], fx.GraphModule] = lambda graph: graph,
) -> Mapping[str, ExportedProgram]:
    """Quantize `entries` as `plan` says: `forward`, and heads that compute a part of it.

    Weights take the plan's levels and scales; a plan without grids rounds to nearest. Static ranges
    are the plan's, by name of the value in `forward`; integer values that it does not name are
    measured on `calibration`, one array per input and sample. Heads take the inputs of `forward` in
    the same order and are matched by what they compute. `rewrite` is given each quantized entry, to
    write what stayed float as the runtime likes it. Raises `UsageFault` for a recipe this
    format does not honour, for no `forward` or no samples, and `ConversionFailed` for a head that
    computes what `forward` does not.
    """
    _check(entries, plan.recipe, calibration)
    if not plan.recipe.quantizes:
        return dict(entries)
    import torch
    from torch.ao.quantization.fx import _decomposed  # noqa: F401  # registers the operators

    with torch.no_grad():
        flat = {name: program.module(check_guards=False) for name, program in entries.items()}
        returns = outputs_in_forward(flat)
        whole = flat[FORWARD]
        renamed = to_integer_forms(whole)
        if plan.recipe.activation_mode == "static":
            quantize_static(whole, plan, calibration, renamed=renamed)
        elif plan.recipe.activation_mode == "dynamic":
            quantize_dynamic(whole, plan)
        else:
            quantize_weights(whole, plan, renamed)
        made = {}
        for name, program in entries.items():
            # cutting leaves the float weights behind, so forward is cut at its outputs too
            part = cut(whole, [_counterpart(whole, value, renamed) for value in returns[name]])
            made[name] = torch.export.export(rewrite(part), program.example_inputs[0])
    return made


def _check(
    entries: Mapping[str, ExportedProgram], recipe: Recipe, calibration: Sequence[Sequence[Array]]
) -> None:
    reason = refusal(recipe)
    if reason is not None:
        raise UsageFault(
            f"executorch cannot honour {recipe.name}: {reason}.",
            expected=f"One of {', '.join(name for name in RECIPES if name in HONOURS)}.",
            remedy="Choose one of them, or another format.",
        )
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


def _counterpart(quantized: fx.GraphModule, name: str, renamed: Renamed) -> fx.Node:
    """Where a value of the float graph is found after quantization, read back to float.

    A value that is quantized is returned from behind its dequantization, so that the head gives
    what the rest of `forward` would have seen.
    """
    by_name = {node.name: node for node in quantized.graph.nodes}
    node = renamed[name] if name in renamed else by_name.get(name)
    if node is None:
        raise ConversionFailed(
            f"Value {name!r} has no counterpart in the quantized program.",
            expected="Quantization folds batch norms and keeps every other value.",
            remedy="Cut after another layer.",
        )
    for user in node.users:
        if "quantize_per_tensor" in str(user.target):
            return _read_back(quantized.graph, next(iter(user.users)))
    return node


def _read_back(graph: fx.Graph, read: fx.Node) -> fx.Node:
    """A dequantization for the output alone: others are fused into the operators that use them."""
    with graph.inserting_after(read):
        return graph.node_copy(read)
