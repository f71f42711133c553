"""Core ML: stores a plan's own integers, palettes and scales in a converted program.

The float program is converted as it is, so its constants are the values of the plan's grids. Each
is replaced by the operation that unpacks it: `constexpr_blockwise_shift_scale` (integers of 8 or 4
bits, a scale per channel or block) or `constexpr_lut_to_dense` (indices of 4, 6 or 8 bits, a table
per group of output channels), or by the first behind the second (a palette with a scale for each
channel); nothing is rounded again. MIL has no integers of 2 bits, so these are indices into a table
of -1, 0 and 1.
https://apple.github.io/coremltools/docs-guides/source/opt-overview.html

Static activation ranges are in the program before it is converted: `quantizers.static_graph` puts
quantize and dequantize behind the fused activations, and coremltools 9 converts them. Its own
`linear_quantize_activations` needs a Mac and quantizes before a ReLU6. `fp32` and `fp16` are chosen
when the model is converted (`compute_precision`).
"""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Any

import numpy as np

from headtail.errors import ConversionFailed, UsageFault
from quantizers.coreml_layout import Laid, Layouts
from quantizers.recipe import Recipe

if TYPE_CHECKING:
    from quantizers.plan import Plan

__all__ = ["pass_pipeline", "quantize_model", "refusal"]

_REWRITING = (
    # multiply weights by what follows, and a weight that was on a grid no longer is
    "common::fuse_conv_scale",
    "common::fuse_conv_batchnorm",
    # gives one of the operands of a sum the scale 1: other sums in the last bit, other roundings
    "common::distributive_quantized_binary_op_scale_normalization",
)


def refusal(recipe: Recipe) -> str | None:
    """Why no Core ML file can be what `recipe` asks for; None if one can."""
    floats = {s.dtype for s in recipe.storages if not s.quantized}
    if len(floats) > 1 or (floats == {"f16"} and recipe.quantizes):
        return "its float weights have the precision the program computes in"
    if recipe.activation_mode == "dynamic":
        return "Core ML has no operator that takes ranges at run time"
    if recipe.activation_mode == "static" and recipe.activations != "i8":
        return f"Core ML quantizes activations to i8, not to {recipe.activations}"
    return None


def pass_pipeline() -> Any:
    """The passes to convert a plan's program with: coremltools' own without those that rewrite it,
    so that the file computes what the program does, to the last bit."""
    import coremltools as ct

    pipeline = ct.PassPipeline.DEFAULT
    pipeline.remove_passes(_REWRITING)
    return pipeline


def quantize_model(mlmodel: Any, plan: Plan) -> Any:
    """The ML program (iOS 18 or later) with the weights of `plan` stored as its grids say.

    `mlmodel` was converted from the plan's float program, or a part of it with the grids of that
    part (`static_graph.part_of`). Without grids it is returned as it is, but for `w8`, which
    coremltools then rounds itself. Deterministic, so functions that share float weights share the
    compressed ones after `coremltools.utils.save_multifunction`. Raises `UsageFault` for a recipe
    that Core ML does not honour, `ConversionFailed` for a grid whose values the program lacks.
    """
    why = refusal(plan.recipe)
    if why:
        raise UsageFault(
            f"Core ML cannot be {plan.recipe.name}.",
            expected=f"{why[0].upper()}{why[1:]}.",
            remedy="Choose another recipe, or another format.",
        )
    if not plan.grids:
        return _rounded(mlmodel) if plan.recipe.name == "w8" else mlmodel
    import coremltools as ct
    from coremltools.converters.mil.frontend.milproto.load import load

    spec = mlmodel.get_spec()
    program = load(spec, spec.specificationVersion, mlmodel.weights_dir)
    layouts = Layouts(dict(plan.grids))
    for function in program.functions.values():
        _compress(function, layouts)
    if layouts.missing:
        raise ConversionFailed(
            f"{len(layouts.missing)} of {len(plan.grids)} quantized weights are not in the Core ML "
            f"program, the first is {layouts.missing[0]!r}.",
            expected="coremltools writes weights with the values that the plan gave them.",
            remedy="Convert with coreml_backend.pass_pipeline(), or store that weight as f32 by a "
            "rule.",
        )
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bars
        return ct.convert(
            program,
            minimum_deployment_target=ct.target.iOS18,
            compute_precision=ct.precision.FLOAT32,  # that is: the types stay what they are
            pass_pipeline=ct.PassPipeline.EMPTY,
            skip_model_load=True,
        )


def _rounded(mlmodel: Any) -> Any:
    """Symmetric int8, one scale per output channel, small weights too; biases stay."""
    from coremltools.optimize import coreml

    options = coreml.OpLinearQuantizerConfig(
        mode="linear_symmetric", dtype="int8", granularity="per_channel", weight_threshold=0
    )
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bars
        return coreml.linear_quantize_weights(mlmodel, coreml.OptimizationConfig(options))


def _compress(block: Any, layouts: Layouts) -> None:
    for operation in list(block.operations):
        for inner in operation.blocks:
            _compress(inner, layouts)
        if operation.op_type != "const" or operation.outputs[0].rank < 2:
            continue  # a bias is no weight, whatever it holds
        found = layouts.find(operation.outputs[0].val)
        if found is None:
            continue
        with block:
            packed = _packed(found, operation)
        block.try_replace_uses_of_var_after_op(
            anchor_op=operation, old_var=operation.outputs[0], new_var=packed
        )
        block.remove_ops([operation])


def _packed(laid: Laid, constant: Any) -> Any:
    """The operation that unpacks `laid`, in the place of `constant`."""
    from coremltools.converters.mil.mil import Builder as mb  # noqa: N813  # its usual name
    from coremltools.converters.mil.mil import types

    def typed(values: Any, name: str) -> Any:
        return values.astype(types.nptype_from_builtin(types.string_to_builtin(name)))

    floating = constant.outputs[0].val.dtype
    place = {"before_op": constant, "name": f"{constant.name}_quantized"}
    bits, levels, table = laid.storage.bits, laid.levels, laid.table.astype(floating)
    if laid.storage.integer and bits == 2:  # MIL has no such integers
        whole = np.array([-1, 0, 1, 0], np.int8)
        levels, table = laid.levels + 1, whole.reshape(*[1] * laid.levels.ndim, 4, 1)
    if not table.size:
        data = typed(levels, f"int{bits}")
    else:
        own = place if not laid.scale.size else {"before_op": constant}
        data = mb.constexpr_lut_to_dense(indices=typed(levels, f"uint{bits}"), lut=table, **own)
    if not laid.scale.size:
        return data
    scale = laid.scale.astype(floating)
    return mb.constexpr_blockwise_shift_scale(data=data, scale=scale, **place)
