"""What quantizing each weight does to a network's outputs, without labels.

Damage is noise power over signal power at the outputs, over all samples: 0.01 is 20 dB. Both
scores take the weights as they would be stored, so it does not matter how they were rounded.

`measured` quantizes one weight at a time and runs what comes after it. `predicted` needs a few
backward passes for all weights and storages at once: to first order a change dw of a weight moves
the outputs by J dw, whose power is the Gauss-Newton form dw' J'J dw, the second-order term of a
loss that is least at the float network (HAWQ-V2, https://arxiv.org/abs/1911.03852). For random
signs r the mean of (r'J dw)^2 is that form (Hutchinson,
https://doi.org/10.1080/03610918908812806), and r'J is one backward pass.

With bias correction (Nagel et al., https://arxiv.org/abs/1906.04721, section 4.2) an operator's
bias takes up the mean of its error; both scores then count what is left.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headtail.errors import UnknownName, UsageFault
from headtail.tensors import Array
from quantizers.recipe import Storage
from quantizers.sites import Site, sites
from quantizers.stepper import Stepper

if TYPE_CHECKING:
    from torch import Tensor, fx

    Stored = Mapping[str, Mapping[Storage, Tensor]]
    Shifts = dict[tuple[str, Storage], dict[str, Tensor]]

__all__ = ["Sensitivity", "measured", "predicted", "together"]

PROJECTIONS = 4


@dataclass(frozen=True)
class Sensitivity:
    """Damage to the outputs by how the weight of `site` is stored, all others in float32."""

    site: Site
    damage: Mapping[Storage, float]


def measured(
    graph: fx.GraphModule,
    samples: Sequence[tuple[Array, ...]],
    stored: Stored,
    *,
    corrected: bool = True,
) -> list[Sensitivity]:
    """Damage of each weight by running the network with it, in order of first use.

    `graph` is a flat graph (see `quantizers.sites`); each of `samples` holds one array per input
    and is run as it is: it may be a batch if the graph takes one. `stored`: weight -> storage ->
    the weight's float32 values when so stored. `corrected`: biases take up mean errors. Raises
    `UnknownName` for a weight that is no site of the graph, and `UsageFault` for no samples and
    for outputs that are not floating point or are zero throughout.
    """
    import torch

    with torch.no_grad():
        run = _Run.of(graph, samples, stored, corrected=corrected)
        noise = {(name, storage): 0.0 for name in stored for storage in stored[name]}
        for sample in samples:
            for key, power in _one_at_a_time(run, sample):
                noise[key] += power
    return run.scores(noise)


def predicted(
    graph: fx.GraphModule,
    samples: Sequence[tuple[Array, ...]],
    stored: Stored,
    *,
    corrected: bool = True,
    seed: int = 0,
) -> list[Sensitivity]:
    """Damage of each weight to second order, by `PROJECTIONS` backward passes per sample.

    The standard error is about sqrt(2 / (PROJECTIONS * samples)) of the value. Arguments and
    errors as for `measured`.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        run = _Run.of(graph, samples, stored, corrected=corrected)
        moves = {
            (name, storage): values - run.stepper.constants[name]
            for name in stored
            for storage, values in stored[name].items()
        }
    noise = dict.fromkeys(moves, 0.0)
    for sample in samples:
        for slopes in _slopes(run, sample, generator):
            for (name, storage), move in moves.items():
                change = (slopes[name] * move).sum().item()
                for node, shift in run.shifts.get((name, storage), {}).items():
                    change += (slopes[node] * shift).sum().item()
                noise[name, storage] += change**2 / PROJECTIONS
    return run.scores(noise)


def together(
    graph: fx.GraphModule,
    samples: Sequence[tuple[Array, ...]],
    stored: Stored,
    *,
    corrected: bool = True,
) -> float:
    """Damage of all weights at once, each in the one storage given: what sums of single damages
    are a prediction of. Arguments and errors as for `measured`."""
    import torch

    with torch.no_grad():
        run = _Run.of(graph, samples, stored, corrected=corrected)
        weights = {name: values for name in stored for values in stored[name].values()}
        shifts = {node: by for moved in run.shifts.values() for node, by in moved.items()}
        noise = 0.0
        for sample in samples:
            clean = run.stepper.finish(run.stepper.start(sample))
            changed = run.stepper.start(sample) | run.stepper.holding(weights)
            noise += run.power(clean, run.stepper.finish(changed, shifts=shifts))
    return noise


@dataclass(frozen=True)
class _Run:
    """What both scores need of the float network.

    `signal`: power of each output over all samples; `shifts`: what biases take up, by call.
    """

    stepper: Stepper
    sites: Mapping[str, Site]
    stored: Stored
    signal: tuple[float, ...]
    shifts: Shifts

    @classmethod
    def of(
        cls,
        graph: fx.GraphModule,
        samples: Sequence[tuple[Array, ...]],
        stored: Stored,
        *,
        corrected: bool,
    ) -> _Run:
        known = {site.weight: site for site in sites(graph)}
        for name in stored:
            if name not in known:
                raise UnknownName("weight", name, known)
        used = {name: site for name, site in known.items() if name in stored}
        stepper = Stepper.of(graph)
        at = {node: site for site in used.values() for node in site.nodes} if corrected else {}
        powers: list[list[float]] = []
        shifts: Shifts = {}
        for sample in samples:
            values = stepper.start(sample)
            for node in stepper.calls:
                if node.name in at:
                    site = at[node.name]
                    for storage, error in _errors(stepper, node, values, site, stored):
                        found = shifts.setdefault((site.weight, storage), {})
                        mean = _mean(error, site) / len(samples)
                        found[node.name] = found[node.name] - mean if node.name in found else -mean
                stepper.step(node, values)
            powers.append([out.double().square().sum().item() for out in stepper.outputs(values)])
        signal = tuple(map(sum, zip(*powers, strict=True)))
        _check_signal(signal, len(samples))
        return cls(stepper, used, stored, signal, shifts)

    def power(self, clean: list[Tensor], noisy: list[Tensor]) -> float:
        """Noise over signal, the mean of the outputs'."""
        found = [
            (a - b).double().square().sum().item() / signal
            for a, b, signal in zip(clean, noisy, self.signal, strict=True)
        ]
        return sum(found) / len(found)

    def scores(self, noise: Mapping[tuple[str, Storage], float]) -> list[Sensitivity]:
        """In order of first use; raises `UsageFault` for weights that are not finite."""
        for (name, storage), power in noise.items():
            if not math.isfinite(power):
                raise UsageFault(
                    f"Weight {name!r} as {storage} makes a noise of {power:g}.",
                    expected="What stands for a weight is as finite as the weight.",
                    remedy="Check its scales: a channel of zeros must not have the scale 0.",
                )
        return [
            Sensitivity(site, {storage: noise[name, storage] for storage in self.stored[name]})
            for name, site in self.sites.items()
        ]


def _check_signal(signal: tuple[float, ...], count: int) -> None:
    if not count:
        raise UsageFault(
            "There are no samples.",
            expected="Damage is measured on real inputs.",
            remedy="Pass some of the calibration set: 16 are usual.",
        )
    dead = [number for number, power in enumerate(signal) if not 0.0 < power < math.inf]
    if dead:
        raise UsageFault(
            f"Output {dead[0]} has a power of {signal[dead[0]]:g} over {count} samples.",
            expected="Noise is measured relative to it: it is finite and not zero.",
            remedy="Pass real inputs, or a network that answers to them.",
        )


def _errors(
    stepper: Stepper, node: fx.Node, values: Mapping[fx.Node, Any], site: Site, stored: Stored
) -> Iterator[tuple[Storage, Tensor]]:
    """What is wrong with a call's result when its weight is quantized."""
    clean = stepper.call(node, values)
    for storage, quantized in stored[site.weight].items():
        changed = {**values, **stepper.holding({site.weight: quantized})}
        yield storage, stepper.call(node, changed) - clean


def _mean(error: Tensor, site: Site) -> Tensor:
    """By output channel, in a shape that can be added. A table of embeddings has no bias: zero."""
    import torch

    if "embedding" in site.kinds:
        return torch.zeros(error.shape[-1:])
    channel = error.ndim - 1 if "linear" in site.kinds else error.ndim - len(site.shape) + 1
    return error.mean([axis for axis in range(error.ndim) if axis != channel], keepdim=True)


def _one_at_a_time(
    run: _Run, sample: tuple[Array, ...]
) -> Iterator[tuple[tuple[str, Storage], float]]:
    """(weight, storage) -> its noise in this sample."""
    stepper = run.stepper
    first = {site.nodes[0]: name for name, site in run.sites.items()}
    clean = stepper.finish(stepper.start(sample))
    values = stepper.start(sample)
    for node in stepper.calls:
        name = first.get(node.name, "")
        for storage, quantized in run.stored.get(name, {}).items():
            changed = values | stepper.holding({name: quantized})
            shifts = run.shifts.get((name, storage))
            yield (
                (name, storage),
                run.power(clean, stepper.finish(changed, first=node, shifts=shifts)),
            )
        stepper.step(node, values)


def _slopes(run: _Run, sample: tuple[Array, ...], generator: Any) -> Iterator[dict[str, Tensor]]:
    """Gradients of random projections of the outputs, by name of weight and of node (its bias)."""
    import torch

    stepper = run.stepper
    with torch.enable_grad():
        weights = {name: stepper.constants[name].clone().requires_grad_() for name in run.sites}
        biases = {
            node: torch.zeros_like(by).requires_grad_()
            for moved in run.shifts.values()
            for node, by in moved.items()
        }
        leaves = weights | biases
        values = stepper.start(sample) | stepper.holding(weights)
        outputs = stepper.finish(values, shifts=biases)
        for _ in range(PROJECTIONS):
            total = torch.zeros(())
            for output, power in zip(outputs, run.signal, strict=True):
                signs = torch.randint(0, 2, output.shape, generator=generator) * 2.0 - 1.0
                total = total + (signs * output).sum() / (power * len(outputs)) ** 0.5
            found = torch.autograd.grad(total, list(leaves.values()), retain_graph=True)
            yield dict(zip(leaves, found, strict=True))
