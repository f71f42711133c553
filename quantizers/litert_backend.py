"""LiteRT: makes a quantized `.tflite` of a float one, after conversion.

Weights are stored as the plan has them, or, for a plan without grids, rounded to nearest per output
channel. Without integer activations every operator stays float and reads its weight through
DEQUANTIZE, which the runtime evaluates once, when it loads the file; that is exact for integers of
8, 4 and 2 bits, and true of any operator. With integer activations see `quantizers.litert_static`.
Inputs and outputs stay float32 in every recipe, so that one manifest describes all files.
Operators without an integer kernel stay float; `quantizers.audit` says which.
"""

from __future__ import annotations

import contextlib
import io
import logging
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headtail.errors import UnknownName, UsageFault
from headtail.tensors import Array
from quantizers import (
    litert_file,
    litert_match,
    litert_planned,
    litert_ranges,
    litert_static,
    litert_weights,
    support,
)
from quantizers.litert_weights import Key, Stored
from quantizers.plan import Plan
from quantizers.ranges import ESTIMATORS
from quantizers.recipe import Recipe, Storage

if TYPE_CHECKING:
    from torch import fx

__all__ = ["MEASURED_RANGES", "Written", "quantize_file", "refusal", "remark"]

# Note in a file: how many tensors have ranges that the plan does not have.
MEASURED_RANGES = "HEADTAIL_MEASURED_RANGES"

# Operators whose constants are weights -> what rules call them.
_KINDS = {
    "CONV_2D": ("conv",), "DEPTHWISE_CONV_2D": ("conv", "depthwise"),
    "FULLY_CONNECTED": ("linear",), "TRANSPOSE_CONV": ("conv",),
}  # fmt: skip
_ACTIVATIONS = {"static": ("i8", "i16"), "dynamic": ("i8",)}
_EIGHT = 8
_LAYOUT_ONLY = ("PAD", "PADV2", "RESHAPE", "TRANSPOSE")


@dataclass(frozen=True)
class Written:
    """What became of a plan: its grids found in the file (all of them), channels whose weights got
    a larger scale than the plan's because their bias would not have fitted, and tensors whose
    static range was measured on the file."""

    grids: int
    widened_channels: int
    measured_tensors: int = 0


def refusal(recipe: Recipe) -> str | None:
    """Why LiteRT cannot honour `recipe`; None if it can."""
    if recipe.name == "fp32":
        return None
    if any(storage.palette for storage in recipe.storages):
        return "its files have no weights as indices into a table"
    if any(storage.block for storage in recipe.storages):
        return (
            "its runtime takes scales per block only in a matrix product whose inputs are "
            "quantized at run time"
        )
    return None if recipe.activation_mode == "none" else _refusal_of_integers(recipe)


def remark(recipe: Recipe) -> str | None:
    """What a file of `recipe` costs at run time (ai-edge-litert 2.3.0 on x86-64); None: nothing."""
    if recipe.activations == "i16":
        return "its kernels for int16 are plain C: EfficientNet-Lite0 takes 26 times its float time"
    few = [s for s in recipe.storages if s.integer and s.bits < _EIGHT]
    if few and recipe.activation_mode == "none":
        return (
            f"XNNPACK does not take float activations times {few[0]}: 2.4 times the float time of "
            "a ViT, 2.6 of EfficientNet-Lite0; 8-bit activations are not slower than float"
        )
    if recipe.activation_mode == "dynamic":
        return "half the float time for linear layers, twice for convolutions"
    return None


def _refusal_of_integers(recipe: Recipe) -> str | None:
    if recipe.activations not in _ACTIVATIONS[recipe.activation_mode]:
        return f"it has no {recipe.activation_mode} activations of {recipe.activations}"
    for storage in recipe.storages:
        if storage.dtype in ("f16", "i2"):
            return f"weights of {storage} need float activations"
        if storage.dtype == "i4" and recipe.activations == "i16":
            return "its kernels for activations of i16 read weights of i4 wrongly"
    return None


def quantize_file(
    source: Path,
    destination: Path,
    plan: Plan,
    calibration: Mapping[str, Sequence[Sequence[Array]]],
    *,
    program: fx.GraphModule | None = None,
    ranges: str = "mse",
) -> Written:
    """Write `source`, a float file with one or more signatures, to `destination` by `plan`.

    `source` was converted from the program that the plan belongs to. `calibration` maps each
    signature to its samples, each one array per input in order; it is read only for static ranges.
    These are the plan's where the file computes a value of `program`, the flat graph whose names
    the plan uses; others that a layer needs are measured, and what else has none stays float.
    Without a program all are measured, and estimated by `ranges`, a name of `quantizers.ranges`.
    Entry points calibrated on the same samples share every constant. Raises `UsageFault` for a
    recipe this format does not honour, for a signature without samples, and for a grid that is no
    constant of the file.
    """
    recipe = plan.recipe
    _check(recipe, ranges)
    if recipe.name == "fp32":
        shutil.copyfile(source, destination)
        return Written(0, 0)
    data, wanted = _wanted(source.read_bytes(), plan)
    model = litert_file.open_model(data)
    widened = 0
    measured, used = None, program if plan.ranges else None
    if recipe.activation_mode == "static":
        measured = _measured(data, plan, calibration, (used, wanted, ranges))
    if recipe.activation_mode != "none":
        made = _with_integers(data, recipe, wanted, measured)
        before, kept, model, data = model, data, litert_file.open_model(made), made
        widened = litert_static.adjust((before, kept), model, wanted)
    litert_weights.dequantized(model, data, wanted)
    if measured is not None and used is not None and measured.tensors:
        litert_file.add_note(model, MEASURED_RANGES, str(measured.tensors))
    destination.write_bytes(litert_file.written(model, data))
    return Written(len(plan.grids), widened, measured.tensors if measured else 0)


def _check(recipe: Recipe, ranges: str) -> None:
    support.require("litert", recipe)
    if ranges not in ESTIMATORS:
        raise UnknownName("range estimator", ranges, ESTIMATORS)


def _measured(
    data: bytes,
    plan: Plan,
    calibration: Mapping[str, Sequence[Sequence[Array]]],
    how: tuple[fx.GraphModule | None, Mapping[Key, Stored], str],
) -> litert_ranges.Measured:
    program, wanted, method = how
    samples, bits = _samples(data, calibration), {"i8": 8, "i16": 16}[plan.recipe.activations]
    with _quiet():
        if program is None:
            return litert_ranges.measure(data, samples, method=method, bits=bits)
        given = litert_planned.planned_ranges(program, plan, data, samples, calibration)
        layers = litert_planned.of_layers(data, wanted)
        return litert_ranges.measure(
            data, samples, method=method, bits=bits, given=given, layers=layers
        )


def _with_integers(
    data: bytes,
    recipe: Recipe,
    wanted: Mapping[Key, Stored],
    measured: litert_ranges.Measured | None,
) -> bytes:
    with _quiet():
        return litert_static.structure(data, recipe, wanted, measured)


def _wanted(data: bytes, plan: Plan) -> tuple[bytes, dict[Key, Stored]]:
    """The float file, and what each constant is to be stored as; others stay float32."""
    model = litert_file.open_model(data)
    found = litert_match.Found()
    if plan.grids:
        held = [values for _, _, values in litert_weights.constants(model, data)]
        found = litert_match.match(plan.grids, held)
        if found.factors:
            data = litert_match.unfolded(model, data, found)
            model = litert_file.open_model(data)
    for which, (values, kinds, axis) in dict(_weights(model, data)).items():
        storage = _storage(plan, kinds)
        if which not in found.stored and storage.dtype != "f32":
            found.stored[which] = litert_weights.nearest(values, storage, axis)
    return data, found.stored


def _storage(plan: Plan, kinds: frozenset[str]) -> Storage:
    """How a weight that the plan has no grid for is stored."""
    recipe = plan.recipe
    if plan.grids:  # everything else was decided to stay floating point
        floats = [storage for storage in recipe.storages if not storage.quantized]
        if len(floats) > 1:
            raise UsageFault(
                f"{recipe.name} stores some weights as f16 and some as f32.",
                expected="A .tflite file does not say which module a weight without a grid is of.",
                remedy="Use one of the two for all weights that are not quantized.",
            )
        return floats[0] if floats else Storage("f32")
    named = [rule for rule in recipe.rules if rule.match != "*"]
    if named:
        raise UsageFault(
            f"{recipe.name} has a rule for modules, {named[0]}, and there is no plan.",
            expected="Without a plan a file's weights are known by their operator only.",
            remedy="Quantize from the model, or use rules that match *.",
        )
    return recipe.storage_of("", kinds)


def _weights(model: Any, data: bytes) -> Iterator[tuple[Key, tuple[Array, frozenset[str], int]]]:
    """(what a weight is known by, (values, kinds, axis of the output channels))."""
    for graph in model.subgraphs:
        ends = {int(i) for i in graph.inputs}
        for op in graph.operators:  # in order, so what only rearranges an input is one too
            name = litert_file.operator_name(model, op)
            if name in _LAYOUT_ONLY and int(op.inputs[0]) in ends:
                ends.add(int(op.outputs[0]))
            values = litert_weights.weight_of(model, data, graph, op)
            if values is None:
                continue
            slot = litert_weights.SLOTS[name]
            kinds = set(_KINDS[name])
            if int(op.inputs[slot.input]) in ends and "conv" in kinds:
                kinds.add("stem")
            yield litert_weights.key(values), (values, frozenset(kinds), slot.axis)


def _samples(
    data: bytes, calibration: Mapping[str, Sequence[Sequence[Array]]]
) -> dict[str, list[dict[str, Array]]]:
    """Signature -> its samples by name of the input."""
    found = {}
    model = litert_file.open_model(data)
    for signature in model.signatureDefs or []:
        entry = signature.signatureKey.decode()
        if not calibration.get(entry):
            raise UsageFault(
                f"Signature {entry!r} has no calibration samples.",
                expected="Every entry point is calibrated on the same real inputs.",
                remedy="Pass samples for it; a head takes the same ones as forward.",
            )
        names = [item.name.decode() for item in signature.inputs]
        # litert-torch names positional arguments args_0, args_1, ... and lists them in any order
        numbered = [f"args_{i}" for i in range(len(names))]
        order = numbered if set(numbered) == set(names) else names
        found[entry] = [dict(zip(order, sample, strict=True)) for sample in calibration[entry]]
    return found


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide the tool's progress bars and its note that a shared weight is written once more.

    The note is harmless: equal constants become one again when the file is written.
    """
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            # the tool opens the file once more, for which LiteRT warns that it takes memory
            warnings.filterwarnings("ignore", ".*experimental_preserve_all_tensors", UserWarning)
            # a bias that does not fit, which `litert_static.adjust` then replaces
            warnings.filterwarnings("ignore", "invalid value encountered in cast", RuntimeWarning)
            yield
    finally:
        logger.setLevel(level)
