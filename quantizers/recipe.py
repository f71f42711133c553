"""What to quantize, as data: presets whose names decode, and ordered rules for parts of a network.

`w8` = 8-bit integer weights, `w4b32` = 4 bits with one scale per 32 input channels, `p6` = indices
of 6 bits into a table (palettized), `a8` = 8-bit activations with static ranges, `a8d` = with
ranges of each input at run time (dynamic). All integers are affine, q = round(x / scale) +
zero_point: weights symmetric (zero point 0) per output channel or block, activations asymmetric per
tensor. Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference",
https://arxiv.org/abs/1806.08342; palettes: https://arxiv.org/abs/1510.00149.

A recipe is JSON too: `{"name": ..., "weights": "i8", "activations": "f32", ...}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from headtail.errors import UnknownName, UsageFault

__all__ = [
    "DEFAULTS", "KINDS", "RECIPES", "WEIGHTS", "Recipe", "Rule", "Storage", "recipe",
]  # fmt: skip

# What a weight belongs to. `stem` is a convolution that reads the network's own input; `small` are
# the smallest weights of a network, together a quarter of it.
KINDS = ("conv", "depthwise", "stem", "linear", "embedding", "small")
# How weights can be stored -> bits of one element.
WEIGHTS = {"f32": 32, "f16": 16, "i8": 8, "i4": 4, "i2": 2, "lut8": 8, "lut6": 6, "lut4": 4}
_ACTIVATIONS = ("f32", "f16", "i8", "i16")
_MODES = ("none", "static", "dynamic")


@dataclass(frozen=True)
class Storage:
    """How one weight is stored: a key of `WEIGHTS`, and input channels per scale.

    `block` 0: one scale per output channel.
    """

    dtype: str
    block: int = 0

    @property
    def bits(self) -> int:
        """Of one element."""
        return WEIGHTS[self.dtype]

    @property
    def integer(self) -> bool:
        """Are the elements integers times a scale?"""
        return self.dtype.startswith("i")

    @property
    def palette(self) -> bool:
        """Are the elements indices into a table?"""
        return self.dtype.startswith("lut")

    @property
    def quantized(self) -> bool:
        """Is it anything but floating point?"""
        return self.integer or self.palette

    def __str__(self) -> str:
        return self.dtype + (f" in blocks of {self.block}" if self.block else "")


@dataclass(frozen=True)
class Rule:
    """Weights of the modules that `match` (a glob over module paths, `*` for all), and of these
    `ops` (of `KINDS`; none named: all), are stored as `weights`. Later rules win."""

    match: str
    ops: tuple[str, ...] = ()
    weights: str = "f32"
    block: int = 0

    def __post_init__(self) -> None:
        for kind in self.ops:
            if kind not in KINDS:
                raise UnknownName("kind of operator", kind, KINDS)
        _check_storage(self.weights, self.block)

    @property
    def storage(self) -> Storage:
        """What it asks for."""
        return Storage(self.weights, self.block)

    def applies(self, module: str, kinds: frozenset[str]) -> bool:
        """Is a weight of these kinds, of an operator of this module, meant?"""
        return fnmatchcase(module, self.match) and (not self.ops or bool(kinds & set(self.ops)))

    def __str__(self) -> str:
        return f"{self.match} [{', '.join(self.ops) or 'all operators'}] -> {self.storage}"


@dataclass(frozen=True)
class Recipe:
    """One way to store weights and to compute activations, independent of the file format.

    `activation_mode` `static`: ranges are fixed by calibration; `dynamic`: taken of each input at
    run time; `none`: activations stay floating point.
    """

    name: str
    weights: str = "f32"
    activations: str = "f32"
    activation_mode: str = "none"
    block: int = 0
    rules: tuple[Rule, ...] = ()

    def __post_init__(self) -> None:
        _check_storage(self.weights, self.block)
        if self.activations not in _ACTIVATIONS:
            raise UnknownName("dtype of activations", self.activations, _ACTIVATIONS)
        if self.activation_mode not in _MODES:
            raise UnknownName("mode of activations", self.activation_mode, _MODES)

    @property
    def storage(self) -> Storage:
        """How weights are stored that no rule is about."""
        return Storage(self.weights, self.block)

    @property
    def storages(self) -> tuple[Storage, ...]:
        """Every way in which weights may be stored, the rules' too."""
        return tuple(dict.fromkeys([self.storage, *(rule.storage for rule in self.rules)]))

    @property
    def quantizes(self) -> bool:
        """Whether weights are moved to a grid, so that there is something to solve for."""
        return any(storage.quantized for storage in self.storages)

    @property
    def needs_calibration(self) -> bool:
        """Whether it cannot be honoured without real inputs: static activation ranges, and weights
        that would not hold up if they were just rounded."""
        rounded = all(s.dtype == "i8" for s in self.storages if s.quantized)
        return self.activation_mode == "static" or not rounded

    def storage_of(self, module: str, kinds: frozenset[str]) -> Storage:
        """How the weight of an operator is stored: as the last rule that applies says."""
        found = [rule.storage for rule in self.rules if rule.applies(module, kinds)]
        return found[-1] if found else self.storage


def _check_storage(weights: str, block: int) -> None:
    if weights not in WEIGHTS:
        raise UnknownName("dtype of weights", weights, WEIGHTS)
    if block < 0 or (block and not weights.startswith("i")):
        raise UsageFault(
            f"Blocks of {block} were asked for weights of {weights}.",
            expected="A block is a positive number of input channels that share a scale.",
            remedy="Use block with i8, i4 or i2, or leave it 0 for a scale per output channel.",
        )


# They hold little of the weights and most of the damage of four bits: they keep eight.
_TENDER = (Rule("*", ("depthwise", "stem", "small"), "i8"),)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("fp32"),
        Recipe("fp16", "f16", "f16"),
        Recipe("w8", "i8"),
        Recipe("w8a8", "i8", "i8", "static"),
        Recipe("w8a8d", "i8", "i8", "dynamic"),
        Recipe("w8a16", "i8", "i16", "static"),
        Recipe("w4", "i4", rules=_TENDER),
        Recipe("w4b32", "i4", block=32, rules=_TENDER),
        Recipe("p6", "lut6"),
        Recipe("p4", "lut4", rules=_TENDER),
    )
}
# What an export writes unasked, where format and calibration allow it.
DEFAULTS = ("fp32", "fp16", "w8", "w8a8")


def recipe(name: str, known: Mapping[str, Recipe] = RECIPES) -> Recipe:
    """The recipe called `name`; raises `UnknownName`, which lists what exists."""
    if name not in known:
        raise UnknownName("precision", name, known)
    return known[name]
