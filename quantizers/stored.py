"""Every weight in every storage, fitted as if it were the only one quantized: what is to be scored.

One pass through the float network; `quantizers.fitting` chooses the levels from the inputs each
layer has in it. Score them on other samples, of other photos: on those they were fitted to they do
less damage than anywhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from headtail.errors import UsageFault
from headtail.tensors import Array
from quantizers.fitting import Methods, fitted
from quantizers.recipe import Storage
from quantizers.sensitivity import Sensitivity, measured, predicted
from quantizers.sites import Site, sites
from quantizers.stepper import Stepper

if TYPE_CHECKING:
    from torch import Tensor, fx

__all__ = ["scored", "stored_weights"]


def scored(
    graph: fx.GraphModule,
    samples: Sequence[tuple[Array, ...]],
    storages: Sequence[Storage],
    *,
    exact: bool = True,
) -> list[Sensitivity]:
    """The damage of every weight in every storage: fitted to half of the samples, scored on others.

    The halves are every second sample, so that with crops of an even number of photos in turn they
    show different photos. `exact`: by `sensitivity.measured`, else by `predicted`, which takes a
    tenth of the time. Raises `UsageFault` for fewer than two samples.
    """
    if len(samples) < 2:
        raise UsageFault(
            f"Weights were to be scored with {len(samples)} samples.",
            expected="At least two: one to fit them to, another to judge them by; 32 are usual.",
            remedy="Pass more of the calibration set.",
        )
    stored = stored_weights(graph, samples[::2], storages)
    return (measured if exact else predicted)(graph, samples[1::2], stored)


def stored_weights(
    graph: fx.GraphModule,
    samples: Sequence[tuple[Array, ...]],
    storages: Sequence[Storage],
    *,
    methods: Methods | None = None,
) -> dict[str, dict[Storage, Tensor]]:
    """Weight -> storage -> the float32 values it stands for; for `sensitivity.measured`.

    `graph` is flat, each of `samples` one array per input. A block that does not fit a weight is
    not offered for it; f16 is the weight rounded to half precision, f32 the weight itself.
    """
    import torch

    found = {site.nodes[0]: site for site in sites(graph)}
    stepper = Stepper.of(graph)
    made: dict[str, dict[Storage, Tensor]] = {}
    with torch.no_grad():
        runs = [stepper.start(sample) for sample in samples]
        for node in stepper.calls:
            site = found.get(node.name)
            if site is not None:
                read = node.args[1 if "embedding" in site.kinds else 0]
                inputs = [values[read] for values in runs]  # type: ignore[index]  # a node
                weight = stepper.constants[site.weight].contiguous()
                made[site.weight] = {
                    storage: _values(node, weight, inputs, site, storage, methods or Methods())
                    for storage in storages
                    if site.holds(storage.block or 1)
                }
            for values in runs:
                stepper.step(node, values)
    return made


def _values(  # what `fitted` takes
    node: fx.Node,
    weight: Tensor,
    inputs: Sequence[Tensor],
    site: Site,
    storage: Storage,
    methods: Methods,
) -> Tensor:
    import torch

    if storage.quantized:
        return torch.from_numpy(fitted(node, weight, inputs, site, storage, methods).values())
    return weight.half().float() if storage.bits == 16 else weight
