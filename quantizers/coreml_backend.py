"""Core ML: compresses the weights of a converted model with coremltools' linear quantization.

https://apple.github.io/coremltools/docs-guides/source/opt-quantization-api.html. `w8` is symmetric,
int8, one scale per output channel; every weight of rank two or more is compressed, small ones too
(coremltools by default skips those of up to 2,048 elements), biases are not. `fp32` and `fp16` are
chosen when the model is converted (`compute_precision`), so the model passes through unchanged.
`w8a8` needs `predict`, which exists on macOS only, to measure activation ranges: not honoured here.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any

from quantizers import support
from quantizers.recipe import Recipe

__all__ = ["HONOURS", "quantize_model"]

HONOURS = frozenset({"fp32", "fp16", "w8"})


def quantize_model(mlmodel: Any, recipe: Recipe) -> Any:
    """The model with weights stored by `recipe`, for one function of an ML program.

    Deterministic in the weights, so functions that share float weights share the compressed ones
    after `coremltools.utils.save_multifunction`. Raises `UsageFault` for other recipes.
    """
    support.require("coreml", recipe)
    if recipe.weights != "i8":
        return mlmodel
    from coremltools.optimize.coreml import (
        OpLinearQuantizerConfig,
        OptimizationConfig,
        linear_quantize_weights,
    )

    config = OptimizationConfig(
        global_config=OpLinearQuantizerConfig(
            mode="linear_symmetric", dtype="int8", granularity="per_channel", weight_threshold=0
        )
    )
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bars
        return linear_quantize_weights(mlmodel, config)
