"""The steps that even out channels, each kept only if inputs held out say that it helps.

    channels equalized -> biases absorbed        (exporters.prepare.equalize, .absorb_bias)

Neither changes what a network computes, and both change what integers make of it: a value whose
channels all reach the end of its range leaves inputs beyond those that were calibrated with no
room. Which of the two weighs more cannot be known from the weights. So each step is fitted to one
half of the inputs and rehearsed on the other, the half that is least like it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from statistics import mean

import numpy as np
import torch
from torch import fx

from exporters.prepare.absorb_bias import absorbed
from exporters.prepare.channel_calls import CONVOLUTIONS
from exporters.prepare.channel_distributions import distributions
from exporters.prepare.channel_statistics import Channel, measured_channels
from exporters.prepare.channel_ties import Channels, tied_channels
from exporters.prepare.editing import is_call
from exporters.prepare.equalize import Noise, equalized_channels, equalized_weights, factors
from exporters.prepare.preparation import EQUAL_DB
from exporters.prepare.rehearsal import rehearsed
from headtail.metrics import snr_db
from headtail.quality.schema import Equalization
from headtail.tensors import Array
from quantizers.placement import integer_values
from quantizers.recipe import Recipe

__all__ = ["Equalized", "equalized"]

aten = torch.ops.aten
Samples = Sequence[Sequence[Array]]
_Found = tuple[fx.GraphModule, dict[str, Channel], int]
_MOST = 32  # inputs looked at
_LEAST = 4
_RUNS = 8
# Less is within what other inputs would make of it; fixed ranges are at home with these.
_GAIN_DB = {"static": 1.0, "dynamic": 0.5, "none": 0.5}
_STEPS = {"f32": 0, "f16": 0, "i8": 255, "i16": 65534}


@dataclass(frozen=True)
class Equalized:
    """The graph for one recipe, names as before, and what was done or left, in sentences.

    `distributions`: what became of the values whose channels were the most unlike, empty if nothing
    was done.
    """

    graph: fx.GraphModule
    steps: tuple[str, ...] = ()
    distributions: tuple[Equalization, ...] = ()


def equalized(
    graph: fx.GraphModule,
    samples: Samples,
    recipe: Recipe,
    *,
    kept: Collection[str] = (),
) -> Equalized:
    """`graph`, flat, batch norms folded, with those of the steps that `recipe` gains from.

    Each of `samples` is one array per input; fewer than four tell nothing, and nothing is done.
    `kept` names values that must stay as they are: those that a cut hands on. What fails is left
    out, and said: the graph can be quantized without.
    """
    if len(samples) < _LEAST or not recipe.quantizes:
        return Equalized(graph)
    try:
        trial = _Trial(graph, samples, recipe, kept)
        trial.rehearse("equalize", trial.equalize)
        if recipe.activation_mode != "none":
            trial.rehearse("absorb_bias", trial.absorb)
        return Equalized(trial.whole[0], tuple(trial.steps), trial.distributions())
    except Exception as error:  # an operator met in a form that nobody thought of
        reason = f"{type(error).__name__}: {str(error)[:200]}"
        return Equalized(graph, (f"equalize left out: {reason}",))


class _Trial:
    """A graph as fitted to half of the inputs and, step by step with it, to all of them."""

    def __init__(
        self, graph: fx.GraphModule, samples: Samples, recipe: Recipe, kept: Collection[str]
    ) -> None:
        self.steps: list[str] = []
        self._recipe = recipe
        self._kept = kept
        channels = tied_channels(graph, kept)
        self._fitted, self._judged = _halves(samples)
        self._values = set(integer_values(graph))
        axes = _axes(channels, self._values)
        seen = measured_channels(graph, self._fitted, axes)
        others = measured_channels(graph, self._judged, axes)
        joined = {name: one.joined(others[name]) for name, one in seen.items()}
        self._first = (graph, joined)
        self._half = (graph, seen, 0)
        self.whole: _Found = (graph, joined, 0)
        self._best = self._rehearsed(graph)

    def rehearse(self, name: str, step: Callable[[_Found], _Found]) -> None:
        """Try a step, and keep it if it helps."""
        half = step(self._half)
        if not half[2]:
            return
        gained = self._rehearsed(half[0])
        if gained < self._best + _GAIN_DB[self._recipe.activation_mode]:
            figures = f"{self._best:.1f} dB on inputs held out would be {gained:.1f}"
            self.steps.append(f"{name} left out: {figures}")
            return
        whole = step(self.whole)
        equal = _agreement(self.whole[0], whole[0], [*self._fitted, *self._judged])
        if equal < EQUAL_DB:
            self.steps.append(f"{name} left out: outputs would agree to {equal:.0f} dB only")
            return
        figures = f"{self._best:.1f} to {gained:.1f} dB on inputs held out"
        self.steps.append(
            f"{name}: {whole[2]} channels, outputs equal to {equal:.0f} dB, {figures}"
        )
        self._half, self.whole, self._best = half, whole, gained

    def absorb(self, found: _Found) -> _Found:
        """Centre channels."""
        return absorbed(found[0], found[1], self._kept)

    def equalize(self, found: _Found) -> _Found:
        """Scale channels."""
        graph, seen, _ = found
        channels = tied_channels(graph, self._kept)
        bits = min(storage.bits for storage in self._recipe.storages if storage.quantized)
        noise = Noise(_STEPS[self._recipe.activations], (1 << (bits - 1)) - 1)
        logs = factors(graph, channels, seen, self._values if noise.steps else (), noise)
        then = equalized_channels(channels, seen, logs)
        return equalized_weights(graph, channels, logs), then, int((logs != 0).sum())

    def distributions(self) -> tuple[Equalization, ...]:
        """Before and after all that was kept."""
        graph, seen = self._first
        if self.whole[0] is graph:
            return ()
        now = self.whole[1]
        changed = {n for n, one in seen.items() if not torch.equal(one.low, now[n].low)}
        chosen = {name: seen[name] for name in changed & self._values}
        return distributions(graph, self.whole[0], chosen, self._fitted)

    def _rehearsed(self, graph: fx.GraphModule) -> float:
        return mean(rehearsed(graph, self._recipe, self._fitted, self._judged))


def _halves(samples: Samples) -> tuple[Samples, Samples]:
    """Two halves that are both of all kinds, with what is alike on one side.

    Inputs in the order of the direction in which they differ most, a run of neighbours to one half,
    the next to the other: crops of one photo are no new photo to each other.
    """
    step = max(1, len(samples) // _MOST)
    chosen = list(samples)[::step][:_MOST]
    rows = np.stack([np.concatenate([a.reshape(-1).astype(np.float64) for a in s]) for s in chosen])
    centred = rows - rows.mean(0)
    _, directions = np.linalg.eigh(centred @ centred.T)
    order = np.argsort(directions[:, -1], kind="stable")
    runs = np.array_split(order, _RUNS)
    halves = [[chosen[index] for run in runs[start::2] for index in run] for start in (0, 1)]
    return halves[0], halves[1]


def _axes(channels: Channels, values: Collection[str]) -> dict[str, tuple[int, ...]]:
    """Along which axes channels are told apart, for every value that figures are wanted of."""
    wanted = {node: _varying(channels.of[node]) for node in channels.of if node.name in values}
    wanted |= {n: _varying(channels.of[n]) for pair in channels.contracted for n in pair}
    for node in (*channels.read, *channels.made):
        along = 1 if is_call(node, *CONVOLUTIONS, aten.group_norm.default) else -1
        wanted[node] = (along % node.meta["val"].ndim,)
        if node in channels.read:
            source: fx.Node = node.args[0]  # type: ignore[assignment]  # a layer reads a node
            wanted[source] = (along % source.meta["val"].ndim,)
    return {node.name: axes for node, axes in wanted.items() if axes}


def _varying(numbers: torch.Tensor) -> tuple[int, ...]:
    return tuple(
        axis
        for axis, (size, stride) in enumerate(zip(numbers.shape, numbers.stride(), strict=True))
        if size > 1 and stride and bool((numbers != numbers.narrow(axis, 0, 1)).any())
    )


def _agreement(before: fx.GraphModule, after: fx.GraphModule, samples: Samples) -> float:
    """Lowest SNR in dB of any output."""
    found = []
    with torch.inference_mode():
        for sample in samples:
            inputs = [torch.tensor(array) for array in sample]
            found += [
                snr_db(reference=one.numpy(), candidate=other.numpy())
                for one, other in zip(before(*inputs), after(*inputs), strict=True)
            ]
    return min(found)
