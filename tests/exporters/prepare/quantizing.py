"""Small networks quantized as for a file, and judged on photos that calibration did not show."""

from __future__ import annotations

import numpy as np
import torch

from exporters.sources.photos import photos
from headtail.metrics import snr_db
from headtail.preprocess import Preprocess
from quantizers.activation_ranges import observed
from quantizers.calibration import crops
from quantizers.plan import Range
from quantizers.recipe import recipe
from quantizers.solve import solve
from quantizers.static_graph import reference_graph

__all__ = ["IMAGE", "inputs", "quantized_db", "settled", "solved"]

IMAGE = torch.zeros(1, 3, 24, 24)
PREPROCESS = Preprocess(
    24, 24, "RGB", "crop", 1.0, "bilinear", 1 / 255, (0.5,) * 3, (0.25,) * 3, "NCHW"
)


def inputs(names, count):
    frames = crops(photos(names), count=count, seed=3, preprocess=PREPROCESS)
    return [(PREPROCESS(frame),) for frame in frames]


def settled(module, seed=0):
    """Weights of the size that trained ones have."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter, generator=generator)
        elif name.endswith("bias"):
            torch.nn.init.uniform_(parameter, -0.3, 0.3, generator=generator)
    return module


def solved(graph, calibration, *, asked="w8a8", methods=None, pinned=False):
    """The solved program with rounded activations.

    `pinned`: softmax has steps of 1/256, as kernels want it that know no other.
    """
    ranges = observed(graph, calibration).ranges() if asked == "w8a8" else None
    if ranges and pinned:
        names = [node.name for node in graph.graph.nodes if "softmax" in str(node.target)]
        ranges |= dict.fromkeys(names, Range(0.0, 255 / 256))
    return reference_graph(
        *solve(graph, calibration, recipe(asked), ranges=ranges, methods=methods)
    )


def quantized_db(graph, calibration, judged, *, asked="w8a8", methods=None, pinned=False):
    """Mean SNR of that on inputs it has not seen."""
    meant = solved(graph, calibration, asked=asked, methods=methods, pinned=pinned)
    with torch.inference_mode():
        pairs = [
            [found(torch.tensor(sample[0]))[0].numpy() for found in (graph, meant)]
            for sample in judged
        ]
    return float(np.mean([snr_db(reference=one, candidate=other) for one, other in pairs]))
