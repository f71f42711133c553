"""Quantized precisions: the network made quantizable, solved for, saved as programs of their own.

    captured graph --rewrites, proven--> quantizable graph (exporters.quantizable)
        for each precision: --channels evened out, where that helps--> graph
            --solve, and what else was asked for--> program + plan

Each precision's float program goes to every format; run by PyTorch, with activations rounded as its
plan says, it is what the files should equal.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import fx

from exporters.captured import Captured
from exporters.conversion import PlannedProgram
from exporters.entries import RANGES, EntryPoints
from exporters.parity import reference, snrs_db
from exporters.prepare.equalized import equalized
from exporters.progress import Progress
from exporters.quantizable import Quantizable, quantizable, traced
from exporters.source import SourceModel
from exporters.target import Target
from headtail.manifest import FORWARD
from headtail.quality import Equalization, Halves
from headtail.tensors import Array
from quantizers.activation_ranges import Observed, observed
from quantizers.augmentation import widened
from quantizers.finetuning import Schedule, finetune
from quantizers.halves import compared
from quantizers.mixture import NAME as MIXED
from quantizers.mixture import Mixture, choose_recipe
from quantizers.plan import Plan
from quantizers.recipe import Recipe
from quantizers.solve import solve
from quantizers.static_graph import reference_graph
from quantizers.tuning import Tuning, tuned, usual

__all__ = ["USUAL", "FitOptions", "Quantized", "quantize_all", "unfaithful"]

UNLIKE_DB = 6.0  # an error of half the signal's size


@dataclass(frozen=True)
class FitOptions:
    """What is done for quantized precisions that is not done unasked: the budget of a recipe called
    `mixed`, in how many `trials` the methods are tuned for each recipe, and for how many `steps`
    the weights are trained after that (0: not). `profiles`: noise by layer and damage by weight are
    measured for the report."""

    mixture: Mixture | None = None
    trials: int = 0
    steps: int = 0
    profiles: bool = False


USUAL = FitOptions()


@dataclass(frozen=True)
class Quantized:
    """One precision's program and plan on disk; `heads` as `Captured.heads`, by its own names.

    `outputs[sample][output]`: what PyTorch says the file should give on the evaluation inputs.
    `network` is the float graph that was solved for; `evened` what became of the values whose
    channels were the most unlike, empty if they were left; `halves` is about the calibration set.
    """

    program: Path
    plan_path: Path
    heads: Mapping[str, tuple[str, ...]]
    plan: Plan
    outputs: list[list[Array]]
    network: fx.GraphModule
    halves: Halves
    evened: tuple[Equalization, ...] = ()

    def files(self) -> PlannedProgram:
        """What converters read."""
        return PlannedProgram(str(self.program), str(self.plan_path), dict(self.heads))


def quantize_all(
    source: SourceModel,
    captured: Captured,
    recipes: Sequence[Recipe],
    *,
    folder: Path,
    progress: Progress,
    fit: FitOptions = USUAL,
) -> dict[str, Quantized]:
    """Solve for those of `recipes` that move weights to a grid, by their names.

    One called `mixed` is chosen within the budget of `fit` among the storages it has. Empty
    without calibration inputs, from which errors are told, and for dynamic sizes, whose program
    cannot be traced again.
    """
    asked = [one for one in recipes if one.quantizes]
    if not asked or source.calibration is None or captured.ranges:
        return {}
    with _one_thread():
        base, samples = quantizable(captured), source.calibration.samples
        progress.note("looking at the activations")
        static = any(one.activation_mode == "static" for one in asked)
        seen = observed(base.graph, samples, static=static)
        work = _Work(source, captured, base, seen, compared(seen), folder, progress)
        return {one.name: work.quantized(one, fit) for one in asked}


@dataclass(frozen=True)
class _Work:
    """One network, made quantizable, and what its precisions are made with."""

    source: SourceModel
    captured: Captured
    base: Quantizable
    seen: Observed
    halves: Halves
    folder: Path
    progress: Progress

    @property
    def samples(self) -> Sequence[tuple[Array, ...]]:
        """The calibration inputs."""
        assert self.source.calibration is not None  # else there is no work
        return self.source.calibration.samples

    def quantized(self, asked: Recipe, fit: FitOptions) -> Quantized:
        """Everything about one precision."""
        told, steps = self.progress.note, list(self.base.steps)
        recipe = asked
        if fit.mixture and asked.name == MIXED:
            storages = asked.storages
            choice = choose_recipe(self.base.graph, self.samples, fit.mixture, storages, told=told)
            recipe = choice.recipe
            steps.append(choice.said)
        told(f"{recipe.name}: evening out channels")
        even = equalized(self.base.graph, self.samples, recipe, kept=self.base.kept)
        steps += even.steps
        tuning = usual(recipe)
        if fit.trials:
            tuning = tuned(even.graph, self.samples, recipe, trials=fit.trials, told=told)
            steps.append(tuning.said)
        program, plan = self._solved(even.graph, recipe, tuning)
        if fit.steps and plan.grids:  # a budget may have left every weight float
            schedule = Schedule(fit.steps)
            trained = finetune(
                even.graph, (program, plan), self.samples, schedule, told=self._trained(recipe.name)
            )
            program, plan = trained.program, trained.plan
            steps.append(str(trained))
        for said in steps[len(self.base.steps) :]:
            told(f"{recipe.name}: {said}")
        plan = replace(plan, steps=tuple(steps))
        return replace(self._saved(program, plan, even.graph), evened=even.distributions)

    def _solved(
        self, graph: fx.GraphModule, recipe: Recipe, tuning: Tuning
    ) -> tuple[fx.GraphModule, Plan]:
        ranges = None
        if recipe.activation_mode == "static":
            seen = self.seen
            if graph is not self.base.graph:
                self.progress.note(f"{recipe.name}: measuring the ranges of activations again")
                seen = observed(graph, self.samples)
            ranges = seen.ranges_for(recipe, tuning.estimator)

        def told(module: str, done: int, count: int) -> None:
            self.progress.note(f"{recipe.name}: weight {done + 1} of {count}, {module}")

        samples = widened(self.samples, seed=0) if tuning.widen else self.samples
        return solve(graph, samples, recipe, ranges=ranges, methods=tuning.methods, told=told)

    def _trained(self, name: str) -> Callable[[int, int, float], None]:
        """Hears of every step, and tells of some."""

        def told(done: int, count: int, loss: float) -> None:
            if done % max(1, count // 10) == 0:
                self.progress.note(f"{name}: step {done} of {count}, loss {loss:.4g}")

        return told

    def _saved(self, program: fx.GraphModule, plan: Plan, network: fx.GraphModule) -> Quantized:
        name = plan.recipe.name
        path, plan_path = self.folder / f"{FORWARD}.{name}.pt2", self.folder / f"{name}.plan"
        example = EntryPoints.read(self.captured.program, {}).example
        exported = traced(program, example)
        torch.export.save(exported, path, extra_files={RANGES: json.dumps([])})
        plan.write(plan_path)
        # as converters will: names and weights are checked here
        read = EntryPoints.read(path, self.base.heads)
        meant = reference_graph(read.graphs[FORWARD], plan)
        outputs = reference(meant, self.source.evaluation.samples, ()).outputs
        return Quantized(
            path, plan_path, dict(self.base.heads), plan, outputs, network, self.halves
        )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Several threads add in another order, so that bytes would depend on the machine; and for
    layers of this size they are slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def unfaithful(aim: Target, own: Quantized, given: list[list[Array]]) -> str:
    """Why a file is not what its plan says, "" if it is; `given[sample][output]` are its outputs.

    With float activations it computes the plan's program, and is held to the gate of float32. With
    integers, sums are the same but for halves that fall to the other side, which no gate tells
    from a fault: the figure is reported, and only a file nothing like its program is refused.
    """
    snrs = snrs_db(own.outputs, given)
    exact = own.plan.recipe.activation_mode == "none"
    gate = aim.fp32_gate_db if exact else UNLIKE_DB
    if min(snrs) >= gate:
        return ""
    return f"SNR {min(snrs):.1f} dB against its own program, the gate is {gate:.0f}"
