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
from quantizers.sites import Site, sites
from quantizers.stepper import Stepper

if TYPE_CHECKING:
    from torch import Tensor, fx

__all__ = ["divided", "stored_weights"]

_SAMPLES = 32


def divided(
    samples: Sequence[tuple[Array, ...]], *, what: str
) -> tuple[Sequence[tuple[Array, ...]], Sequence[tuple[Array, ...]]]:
    """Samples to fit weights to, and others to judge them by: of the first 32 every second.

    With crops of an even number of photos in turn the halves show different photos. `what` is done
    with them, for the `UsageFault` that fewer than two are.
    """
    if len(samples) < 2:
        raise UsageFault(
            f"{what} with {len(samples)} calibration samples.",
            expected="At least two: one to fit weights to, another to judge them by; 32 are usual.",
            remedy="Pass more calibration inputs, or ask for a preset as it is.",
        )
    return samples[:_SAMPLES:2], samples[1:_SAMPLES:2]


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
