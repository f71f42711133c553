"""LiteRT: quantizes a float `.tflite` after conversion, with ai-edge-quantizer's own defaults.

https://github.com/google-ai-edge/ai-edge-quantizer. Min-max ranges; `w8` dequantizes weights before
float arithmetic, `w8a8` computes in integers, `fp16` stores weights of convolutions and matrix
products in half precision and computes in what the runtime chooses. Inputs and outputs stay float32
in every recipe: `w8a8` files begin with QUANTIZE and end with DEQUANTIZE, so that one manifest
describes them all. Operators that the quantizer does not know stay float; `quantizers.audit` says
which. A bias that overflows int32 is counted and logged, not repaired.
"""

from __future__ import annotations

import contextlib
import io
import logging
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headtail.errors import UsageFault
from headtail.tensors import Array
from quantizers import litert_file, support
from quantizers.recipe import Recipe

__all__ = ["HONOURS", "quantize_file"]

_log = logging.getLogger(__name__)

HONOURS = frozenset({"fp32", "fp16", "w8", "w8a8"})

# The operators that ai-edge-quantizer can give half-precision weights.
_HALF = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D_TRANSPOSE", "EMBEDDING_LOOKUP")


def quantize_file(
    source: Path,
    destination: Path,
    recipe: Recipe,
    calibration: Mapping[str, Sequence[Sequence[Array]]],
) -> None:
    """Write `source`, a float file with one or more signatures, to `destination` by `recipe`.

    `calibration` maps each signature to its samples, each one array per input in order; it is read
    only if the recipe needs it. Entry points calibrated on the same samples share every constant;
    on other samples, a head gets biases of its own. Raises `UsageFault` for a recipe this format
    does not honour and for a signature without samples.
    """
    support.require("litert", recipe)
    if recipe.name == "fp32":
        shutil.copyfile(source, destination)
        return
    with _quiet():
        from ai_edge_quantizer import quantizer

        tool = quantizer.Quantizer(str(source))
        _rules(tool, recipe)
        ranges = _calibrate(tool, source, calibration) if recipe.needs_calibration else None
        result = tool.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    data = litert_file.compact(bytes(result.quantized_model))
    lost = _saturated_biases(data)
    if lost:
        _log.warning("%s: %d biases do not fit 32 bits and are lost", destination.name, lost)
    destination.write_bytes(data)


def _rules(tool: Any, recipe: Recipe) -> None:
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.qtyping import TFLOperationName as Operation

    everything = Operation.ALL_SUPPORTED
    if recipe.weights == "f16":
        for name in _HALF:
            tool.add_weight_only_config(
                ".*", Operation(name), 16, algorithm_key=AlgorithmName.FLOAT_CASTING
            )
    elif recipe.activations == "i8":
        tool.add_static_config(".*", everything, activation_num_bits=8, weight_num_bits=8)
        for end in (Operation.INPUT, Operation.OUTPUT):
            tool.update_quantization_recipe(".*", end, algorithm_key=AlgorithmName.NO_QUANTIZE)
    else:
        tool.add_weight_only_config(".*", everything, 8)


def _calibrate(
    tool: Any, source: Path, calibration: Mapping[str, Sequence[Sequence[Array]]]
) -> Any:
    names = _input_names(source)
    for signature in names:
        if not calibration.get(signature):
            raise UsageFault(
                f"Signature {signature!r} of {source.name} has no calibration samples.",
                expected="Every entry point is calibrated on the same real inputs.",
                remedy="Pass samples for it; a head takes the same ones as forward.",
            )
    data = {
        signature: [dict(zip(inputs, sample, strict=True)) for sample in calibration[signature]]
        for signature, inputs in names.items()
    }
    return tool.calibrate(data, num_threads=1)


def _input_names(source: Path) -> dict[str, list[str]]:
    """Signature -> names of its inputs in the order of the model's arguments."""
    model, _ = litert_file.read(source)
    found = {}
    for signature in model.signatureDefs or []:
        names = [item.name.decode() for item in signature.inputs]
        # litert-torch names positional arguments args_0, args_1, ... and lists them in any order
        numbered = {f"args_{i}" for i in range(len(names))} == set(names)
        order = [f"args_{i}" for i in range(len(names))] if numbered else names
        found[signature.signatureKey.decode()] = order
    return found


def _saturated_biases(data: bytes) -> int:
    """Biases at the end of the int32 range.

    A bias has the scale input scale x weight scale. Where a channel's weights are nearly zero (a
    channel that training switched off), so is its scale, and the bias, which is all that the
    channel gives, does not fit.
    """
    model = litert_file.open_model(data)
    ends = np.iinfo(np.int32)
    stored = {
        tensor.buffer: np.frombuffer(
            litert_file.constant_bytes(data, model.buffers[tensor.buffer]), "<i4"
        )
        for _, tensor in litert_file.tensors(model)
        if litert_file.dtype_name(tensor) == "INT32" and litert_file.quantization(tensor)[0]
    }
    return sum(int(((b == ends.min) | (b == ends.max)).sum()) for b in stored.values())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide the tool's progress bars and its note that a shared weight is written once more.

    The note is harmless: the tool gives entry points that disagree on a constant a copy each.
    """
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            # calibration reads every inner tensor, for which LiteRT warns that it takes memory
            warnings.filterwarnings("ignore", ".*experimental_preserve_all_tensors", UserWarning)
            # a bias that does not fit; `_saturated_biases` counts them
            warnings.filterwarnings("ignore", "invalid value encountered in cast", RuntimeWarning)
            yield
    finally:
        logger.setLevel(level)
