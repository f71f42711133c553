"""What a file on disk really holds: weights, activations and products by dtype, what stayed float.

The counts come from re-reading the artifact, never from what the quantizer said it did.

*Weights* are constant tensors of rank one or more that hold values of the model: floating point, or
integers that the format marks as quantized. Biases count; scales, zero points, shapes, axes and
paddings do not. A weight that several entry points share counts once, a copy of it counts again.
*Activations* and *float operators* are those of the entry point `forward`; quantize and dequantize
operators are not counted, nor is a weight's own dequantization. Where a format writes quantized
operators as float ones between dequantize and quantize, what is quantized at once is an integer.
*Products* are the multiply-accumulates of `forward`, by the dtype of what is multiplied: they are
most of the work, whereas one norm may be written as nine tensors. Core ML's are not counted.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from headtail.errors import GateFailed, HeadtailError, IntegrityFault, UnknownName
from headtail.tensors import DTYPES
from quantizers.recipe import Recipe

__all__ = ["Audit", "audit"]

# Of the weight elements; the rest are biases and what a stack cannot quantize.
LEAST_WEIGHTS = 0.90
# Of the products, or where they are not counted of the activation tensors; float inputs, outputs
# and layout changes beside them are normal.
LEAST_INTEGERS = 0.50
_SHOWN_OPERATORS = 6

_READERS = {
    "coreml": "quantizers.audit_coreml",
    "executorch": "quantizers.audit_executorch",
    "litert": "quantizers.audit_litert",
}


@dataclass(frozen=True)
class Audit:
    """Counts by dtype: of weights by the keys of `quantizers.recipe.WEIGHTS`, of activations and
    products by those of `headtail.tensors.DTYPES`; the format's own name for others.

    `remarks`: sentences of the format's about what it cannot compute in integers.
    """

    weight_elements: dict[str, int]
    activation_tensors: dict[str, int]
    float_ops: dict[str, int]
    products: dict[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def sentence(self, recipe: Recipe) -> str:
        """`asked w8a8, got 99.5 % int8 weights, 96.0 % int8 activations, 99.0 % int8 products;
        float ops: softmax x3`."""
        shares = {word: _share(self.weight_elements, word) for word in _stored(recipe)}
        said = " + ".join(f"{_percent(share)} {_word(word)}" for word, share in shares.items())
        parts = [f"{said} weights"]
        if recipe.activation_mode == "static":
            share = _share(self.activation_tensors, recipe.activations)
            parts.append(f"{_percent(share)} {_word(recipe.activations)} activations")
        if recipe.activation_mode != "none" and self.products:
            share = _share(self.products, recipe.activations)
            parts.append(f"{_percent(share)} {_word(recipe.activations)} products")
        text = f"asked {recipe.name}, got {', '.join(parts)}"
        floats = [self._floats()] if recipe.activation_mode == "static" else []
        remarks = self.remarks if recipe.activation_mode != "none" else ()
        return "; ".join([text, *floats, *remarks])

    def check(self, recipe: Recipe) -> None:
        """Raise `GateFailed` if the file does not hold what `recipe` asked for.

        What any of its rules asks for counts as asked; a recipe that quantizes needs some weight
        quantized.
        """
        if recipe.name == "fp32" and not any(self.weight_elements.values()):
            return  # a program without weights holds none of another dtype
        weights = sum(_share(self.weight_elements, dtype) for dtype in _stored(recipe))
        integers = any(self.weight_elements.get(s.dtype) for s in recipe.storages if s.quantized)
        computed = _share(self.products or self.activation_tensors, recipe.activations)
        static = recipe.activation_mode == "static"
        held = weights >= LEAST_WEIGHTS and (integers or not recipe.quantizes)
        if held and (not static or computed >= LEAST_INTEGERS):
            return
        what = "products" if self.products else "activations"
        also = f" and {LEAST_INTEGERS:.0%} of the {what}" if static else ""
        raise GateFailed(
            f"The file is not {recipe.name}: {self.sentence(recipe)}.",
            expected=f"At least {LEAST_WEIGHTS:.0%} of the weight elements{also} as asked.",
            remedy="Choose a precision this model can have in this format, or another format; "
            "operators that the stack cannot quantize stay float.",
        )

    def _floats(self) -> str:
        if not self.float_ops:
            return "no float ops"
        most = sorted(self.float_ops.items(), key=lambda item: (-item[1], item[0]))
        shown = ", ".join(f"{name} x{count}" for name, count in most[:_SHOWN_OPERATORS])
        more = len(most) - _SHOWN_OPERATORS
        return f"float ops: {shown}" + (f" and {more} more kinds" if more > 0 else "")


def audit(path: Path, format: str) -> Audit:  # noqa: A002  # the field's word
    """Re-read the artifact at `path` and count; `IntegrityFault` if it cannot be parsed."""
    if format not in _READERS:
        raise UnknownName("format", format, _READERS)
    reader = importlib.import_module(_READERS[format])
    try:
        found: Audit = reader.read(path)
    except HeadtailError:
        raise
    except Exception as error:  # parsers of broken files raise anything
        raise IntegrityFault(
            f"{path.name} cannot be read as {format} ({type(error).__name__}: {error}).",
            file=path.name,
            expected=f"A complete {format} file.",
            remedy="Export or fetch it again.",
        ) from error
    return found


def _stored(recipe: Recipe) -> list[str]:
    """Dtypes of weights that it and its rules ask for."""
    return list(dict.fromkeys(storage.dtype for storage in recipe.storages))


def _share(counts: Mapping[str, int], dtype: str) -> float:
    total = sum(counts.values())
    return counts.get(dtype, 0) / total if total else 0.0


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _word(dtype: str) -> str:
    if dtype.startswith("lut"):
        return f"{dtype.removeprefix('lut')}-bit palette"
    return DTYPES[dtype][0] if dtype in DTYPES else dtype.replace("i", "int")
