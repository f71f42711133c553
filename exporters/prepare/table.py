"""Which rewrites a target gets, in the order in which they are applied.

Naming a rewrite imports nothing. `targets` says for each target why the rewrite is there: what it
makes possible, or what it was measured to gain (benchmarks/zoo.py measures them again).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import fx

__all__ = ["REWRITES", "Rewrite", "rewrites_for"]


@dataclass(frozen=True)
class Rewrite:
    """One rewrite: its name is the module `exporters.prepare.<name>`, its reasons are by target."""

    name: str
    targets: Mapping[str, str]

    def function(self) -> Callable[[fx.GraphModule], int]:
        """`rewrite(graph)`: changes the graph in place, returns the number of places changed."""
        module = importlib.import_module(f"exporters.prepare.{self.name}")
        found: Callable[[fx.GraphModule], int] = module.rewrite
        return found


REWRITES: tuple[Rewrite, ...] = (
    Rewrite(
        "drop_no_ops",
        {
            "litert": "fewer reshapes to optimise away",
            "executorch": "a clone or alias between two operators splits a delegate",
            "coreml": "coremltools does not know alias (swin, ghostnetv2)",
        },
    ),
    Rewrite(
        "fold_normalisation",
        {
            "litert": "three passes over the picture; the scale is free in the first weights",
            "executorch": "three passes over the picture; the scale is free in the first weights",
            "coreml": "three passes over the picture; the scale is free in the first weights",
        },
    ),
    Rewrite(
        "implicit_broadcast",
        {"litert": "its converter turns an expand with the wrong axes and fails (mobilevitv2)"},
    ),
    Rewrite(
        "litert_exact",
        {"litert": "litert-torch writes 3 operators wrong in silence, refuses 5 with forms"},
    ),
    Rewrite(
        "executorch_exact",
        {"executorch": "a bilinear scale factor is lost in silence; bicubic has no kernel"},
    ),
    Rewrite(
        "exact_forms",
        {"coreml": "coremltools writes 12 operators wrong in silence, refuses 20 with forms"},
    ),
    Rewrite(
        "exact_resize",
        {"coreml": "coremltools ignores antialias and scale factors; bicubic it does not know"},
    ),
    Rewrite(
        "fold_constants",
        {
            "litert": "by measurement neutral; what depends on no input is not for the phone",
            "executorch": "position tables are portable operators; a constant is none",
        },
    ),
    Rewrite(
        "fold_batch_norm",
        {
            "litert": "by measurement: with the two below FastViT takes 0.95 of its time",
            "executorch": "a norm the backend does not fuse is a pass over the image",
        },
    ),
    Rewrite(
        "padded_average_pool",
        {"executorch": "XNNPACK's pool neither counts padding nor takes ceil_mode"},
    ),
    Rewrite(
        "delegated_upsample",
        {"executorch": "XNNPACK has no nearest resize: each one ends a partition"},
    ),
    Rewrite(
        "linear_hard_sigmoid",
        {
            "litert": "by measurement: MobileNetV3 0.94 of its time",
            "executorch": "decomposed it has whole numbers, converted each time, undelegated",
        },
    ),
    Rewrite(
        "fuse_branches",
        {
            "litert": "by measurement: FastViT 0.95, RepViT 0.96, MobileOne 0.98 of their time",
            "executorch": "one convolution instead of several and their sum",
        },
    ),
    Rewrite(
        "fold_channel_scale",
        {
            "litert": "by measurement: part of merging branches whose sum is scaled (FastViT)",
            "executorch": "a scale or shift per channel is free in the weights before it",
        },
    ),
    Rewrite(
        "tanh_gelu",
        {"executorch": "XNNPACK computes the exact GELU instead, silently: 60 dB"},
    ),
    Rewrite(
        "float_scalars",
        {"executorch": "a whole number in float arithmetic is converted each time, undelegated"},
    ),
    Rewrite(
        "plain_shapes",
        {"executorch": "XNNPACK delegates reshape, permute, slice and cat, not their cousins"},
    ),
    Rewrite(
        "expand_attention",
        {"executorch": "the default decomposition leaves five portable operators over all scores"},
    ),
    Rewrite(
        "split_projection",
        {"executorch": "slices of query, key and value are copies; rows of a weight are free"},
    ),
    Rewrite(
        "fold_scale",
        {"executorch": "a scale of the queries costs a pass over them"},
    ),
    Rewrite(
        "expand_layer_norm",
        {"executorch": "layer norm is not delegated; as linears it takes half the time"},
    ),
    Rewrite(
        "expand_group_norm",
        {
            "litert": "by measurement: PoolFormer 0.97 of its time",
            "executorch": "group norm is not delegated",
            "coreml": "coremltools' form loses 17 dB of float32 (MobileViTv2: 83 for 99)",
        },
    ),
    Rewrite(
        "layer_norm_means",
        {"litert": "by measurement: ConvNeXt 0.98, ViT and MambaOut 0.99 of their time"},
    ),
    Rewrite(
        "channels_first",
        {"executorch": "a permute between convolutions is two transposes of the image"},
    ),
    Rewrite(
        "expand_reductions",
        {"executorch": "the only reduction delegated is a mean over space"},
    ),
    Rewrite(
        "batched_matmul",
        {"executorch": "only bmm is delegated; a 4-D softmax channels-last is silently wrong"},
    ),
)


def rewrites_for(target: str) -> tuple[Rewrite, ...]:
    """The rewrites that `target` takes, in order."""
    return tuple(rewrite for rewrite in REWRITES if target in rewrite.targets)
