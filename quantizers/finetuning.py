"""Quantized weights trained to answer as the float graph does: learned rounding, label-free.

    float graph ------------------> outputs, inner values ---+
                                                             +-> loss -> codes, scales, biases
    program, weights rounded -----> outputs, inner values ---+

Starts from what `quantizers.solve` found and trains the whole network at once: rounding (the
straight-through estimator), scales and tables (LSQ, https://arxiv.org/abs/1902.08153) and biases,
with the activations rounded as the plan's ranges say. Some of the samples are held out: what is no
better on them is thrown away.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from headtail.errors import ConversionFailed, UsageFault
from headtail.tensors import Array
from quantizers.augmentation import Draws
from quantizers.distillation import Answer, Pupil, loss
from quantizers.learned_grid import LearnedGrid
from quantizers.placement import result_of
from quantizers.plan import Plan
from quantizers.sites import replace_weight, weight_of

if TYPE_CHECKING:
    import torch
    from torch import fx

__all__ = ["Finetuned", "Fit", "Schedule", "finetune"]

Samples = Sequence[Sequence[Array]]

BATCH = 8  # samples whose gradients are added before a step
HELD_OUT = 1 / 8
LEAST_SAMPLES = 4


@dataclass(frozen=True)
class Schedule:
    """How long is trained, and what: rates are Adam's, 0 leaves that part as it was solved.

    `code_rate` in steps of a weight's grid, of weights with at most `code_bits` bits: with more,
    some hundreds of steps undo more of what path-following rounding won than they win. `scale_rate`
    of the logarithm of a scale and of a table's entries; `bias_rate` in units of the bias. `inner`:
    weight of values inside beside the outputs. `augment`: images are varied.
    """

    steps: int
    seed: int = 0
    code_rate: float = 3e-3
    code_bits: int = 2
    scale_rate: float = 1e-3
    bias_rate: float = 1e-3
    inner: float = 1.0
    augment: bool = True


@dataclass(frozen=True)
class Fit:
    """How near a program comes to the float graph on the samples held out."""

    loss: float
    snr_db: float


@dataclass(frozen=True)
class Finetuned:
    """`program` and `plan` are those given if training did not lower the loss (`improved`)."""

    program: fx.GraphModule
    plan: Plan
    before: Fit
    after: Fit

    @property
    def improved(self) -> bool:
        """Is it better on the samples held out?"""
        return self.after.loss < self.before.loss

    def __str__(self) -> str:
        said = f"{self.before.snr_db:.1f} to {self.after.snr_db:.1f} dB on samples held out"
        return f"finetuned: {said}" if self.improved else f"finetuned and taken back: {said}"


def finetune(
    graph: fx.GraphModule,
    solved: tuple[fx.GraphModule, Plan],
    samples: Samples,
    schedule: Schedule,
    *,
    told: Callable[[int, int, float], None] = lambda done, count, loss: None,
) -> Finetuned:
    """Train what `solve` gave, 8 samples a step, and give it back on its grids.

    `graph` is the float graph that was solved for, `solved` the program and plan of `solve`; all
    three stay as they are. Each of `samples` is one array per input, without labels; an eighth is
    held out to judge. `told(done, count, loss)` hears of every step. Same arguments and one thread,
    same result. Raises `UsageFault` for fewer than 4 samples or no steps, and `ConversionFailed`
    when something is not finite.
    """
    _check(samples, schedule.steps)
    program, plan = solved
    generator = np.random.default_rng(schedule.seed)
    held, used = _divided(samples, generator)
    training = _Training(graph, program, plan, schedule)
    before = training.fit(held)
    training.run(used, generator, told)
    tuned = training.result(program)
    after = _Training(graph, *tuned, schedule).fit(held)
    if after.loss < before.loss:
        return Finetuned(*tuned, before, after)
    return Finetuned(program, plan, before, after)


def _check(samples: Samples, steps: int) -> None:
    if len(samples) < LEAST_SAMPLES:
        raise UsageFault(
            f"There are {len(samples)} samples to finetune with.",
            expected=f"At least {LEAST_SAMPLES}, some of which are held out to judge.",
            remedy="Bring more real inputs, 64 or more are usual; they need no labels.",
        )
    if steps < 1:
        raise UsageFault(
            f"{steps} steps of training were asked for.",
            expected="At least one.",
            remedy="Leave finetuning out, or ask for some hundreds of steps.",
        )


def _divided(samples: Samples, generator: np.random.Generator) -> tuple[Samples, Samples]:
    order = generator.permutation(len(samples)).tolist()
    count = max(1, round(len(samples) * HELD_OUT))
    return [samples[i] for i in order[:count]], [samples[i] for i in order[count:]]


class _Training:
    """The float graph and the program side by side, and the tensors that are learned."""

    def __init__(
        self, graph: fx.GraphModule, program: fx.GraphModule, plan: Plan, schedule: Schedule
    ) -> None:
        points = _points(program, plan) if schedule.inner else []
        self._schedule = schedule
        recipe = plan.recipe
        ranges = plan.ranges if recipe.activation_mode == "static" else {}
        self._plan = plan
        self._teacher = Pupil(graph, points)
        self._pupil = Pupil(program, points, ranges=ranges, integers=recipe.activations)
        self._grids = {
            name: LearnedGrid.of(
                grid,
                weight_of(graph, name),
                codes=bool(schedule.code_rate) and grid.storage.bits <= schedule.code_bits,
            )
            for name, grid in plan.grids.items()
        }
        self._biases = {
            name: weight_of(program, name).clone().requires_grad_()
            for name in _biases(program, plan)
        }

    def fit(self, samples: Samples) -> Fit:
        """On samples as they are, by the outputs alone: they are what counts."""
        import torch

        with torch.no_grad():
            weights = {name: grid.value() for name, grid in self._grids.items()} | self._biases
            both = [(self._right(s), self._pupil.answer(s, weights)) for s in samples]
            found = [float(loss(*pair, inner=0)) for pair in both]
        _require_finite(found)
        noise = [_snr_db(*pair) for pair in both]
        return Fit(float(np.mean(found)), float(np.mean(noise)))

    def run(
        self,
        samples: Samples,
        generator: np.random.Generator,
        told: Callable[[int, int, float], None],
    ) -> None:
        """Adam (https://arxiv.org/abs/1412.6980), its rate falling to nothing along a cosine."""
        steps, optimizer = self._schedule.steps, self._optimizer()
        rates = [group["lr"] for group in optimizer.param_groups]
        draws = Draws(samples, generator, augment=self._schedule.augment)
        for step in range(steps):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * (1 + math.cos(math.pi * step / steps)) / 2
            found = self._gradients(draws)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            told(step + 1, steps, found)

    def _gradients(self, draws: Draws) -> float:
        """Of the mean loss of a batch, which is returned, to all that is learned.

        Weights are rounded once for all of its samples, which go one by one: a graph may be for
        one at a time.
        """
        import torch

        values = {name: grid.value() for name, grid in self._grids.items()}
        leaves = {n: value.detach().requires_grad_() for n, value in values.items()}
        total = 0.0
        for _ in range(BATCH):
            sample = draws.next()
            seen = self._pupil.answer(sample, leaves | self._biases)
            found = loss(self._right(sample), seen, inner=self._schedule.inner) / BATCH
            found.backward()  # type: ignore[no-untyped-call]
            total += float(found.detach())
        _require_finite([total])
        moved = [name for name, value in values.items() if value.requires_grad]
        torch.autograd.backward([values[n] for n in moved], [leaves[n].grad for n in moved])
        return total

    def result(self, program: fx.GraphModule) -> tuple[fx.GraphModule, Plan]:
        """The program with what was learned, its weights exactly the values of the plan's grids."""
        import torch

        grids = {name: learned.grid() for name, learned in self._grids.items()}
        made = copy.deepcopy(program)
        for name, grid in grids.items():
            values = grid.values()
            _require_finite(values)
            replace_weight(made, name, torch.from_numpy(values))
        for name, bias in self._biases.items():
            _require_finite(bias.detach().numpy())
            replace_weight(made, name, bias.detach().clone())
        return made, replace(self._plan, grids=grids)

    def _right(self, sample: Sequence[Array]) -> Answer:
        import torch

        with torch.no_grad():
            return self._teacher.answer(sample, {})

    def _optimizer(self) -> torch.optim.Adam:
        import torch

        grids = self._grids.values()
        latents = [grid.latent for grid in grids if grid.latent.requires_grad]
        scales = [grid.gain for grid in grids if grid.gain.numel()]
        scales += [grid.table for grid in grids if grid.table.numel()]
        asked = self._schedule
        rates = (asked.code_rate, asked.scale_rate, asked.bias_rate)
        groups = zip((latents, scales, list(self._biases.values())), rates, strict=True)
        chosen = [{"params": group, "lr": rate} for group, rate in groups if group and rate]
        if not chosen:
            raise UsageFault(
                f"{self._plan.recipe.name} was to be finetuned with nothing to learn.",
                expected="Quantized weights, and a rate above 0 for their scales or biases.",
                remedy="Choose a recipe that quantizes weights, or leave finetuning out.",
            )
        return torch.optim.Adam(chosen)


def _layers(program: fx.GraphModule, plan: Plan) -> list[fx.Node]:
    """Calls whose weight is on a grid."""
    constants = {n: str(n.target) for n in program.graph.nodes if n.op == "get_attr"}
    return [
        node
        for node in program.graph.nodes
        if any(constants.get(source) in plan.grids for source in node.all_input_nodes)
    ]


def _points(program: fx.GraphModule, plan: Plan) -> list[str]:
    """What quantized layers leave, behind the activation that is fused."""
    return list(dict.fromkeys(result_of(node).name for node in _layers(program, plan)))


def _biases(program: fx.GraphModule, plan: Plan) -> list[str]:
    """Constants that quantized layers add."""
    held: list[Any] = [node.args[2] for node in _layers(program, plan) if len(node.args) > 2]
    found = [str(bias.target) for bias in held if getattr(bias, "op", "") == "get_attr"]
    return list(dict.fromkeys(found))


def _snr_db(true: Answer, seen: Answer) -> float:
    """Mean over the outputs."""
    from headtail.metrics import finite_db, snr_db

    pairs = zip(true.outputs, seen.outputs, strict=True)
    found = [snr_db(reference=t.numpy(), candidate=s.numpy()) for t, s in pairs]
    return float(np.mean([finite_db(one) for one in found]))


def _require_finite(values: Array | Sequence[float]) -> None:
    if not np.isfinite(values).all():
        raise ConversionFailed(
            "Finetuning met a value that is not finite.",
            expected="The float graph and the quantized program answer every sample with numbers.",
            remedy="Check the samples and the model's outputs, or leave finetuning out.",
        )
