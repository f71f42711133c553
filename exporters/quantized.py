"""Quantized precisions: the network made quantizable, solved for, saved as programs of their own.

    captured graph --rewrites, proven--> quantizable graph --solve, per precision--> program + plan

The rewrites put everything that is constant per channel into the weights before or after it, so
that what is rounded is what runs. Each precision's float program goes to every format; run by
PyTorch, with activations rounded as its plan says, it is what the files should equal.
"""

from __future__ import annotations

import copy
import importlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import fx

from exporters.capture import flat_graph
from exporters.captured import Captured
from exporters.conversion import PlannedProgram
from exporters.entries import RANGES, EntryPoints
from exporters.parity import reference, snrs_db
from exporters.prepare.preparation import Prepared, apply_rewrites
from exporters.progress import Progress
from exporters.source import SourceModel
from exporters.target import Target
from headtail.manifest import FORWARD
from headtail.tensors import Array
from quantizers.activation_ranges import Observed, observed
from quantizers.mixture import NAME as MIXED
from quantizers.mixture import Mixture, choose_recipe
from quantizers.plan import Plan
from quantizers.recipe import Recipe
from quantizers.solve import solve
from quantizers.static_graph import reference_graph
from quantizers.tuning import DEFAULTS, Tuning, tuned

__all__ = ["USUAL", "Fit", "Quantized", "quantize_all", "unfaithful"]

# What folds constants per channel into weights, whatever the format.
_REWRITES = (
    "drop_no_ops",
    "fold_normalisation",
    "fold_constants",
    "fold_batch_norm",
    "fuse_branches",
    "fold_channel_scale",
)


UNLIKE_DB = 6.0  # an error of half the signal's size


@dataclass(frozen=True)
class Fit:
    """What is done for quantized precisions that is not done unasked: the budget of a recipe called
    `mixed`, and in how many `trials` the methods are tuned for each recipe (0: not)."""

    mixture: Mixture | None = None
    trials: int = 0


USUAL = Fit()


@dataclass(frozen=True)
class Quantized:
    """One precision's program and plan on disk; `heads` as `Captured.heads`, by its own names.

    `outputs[sample][output]`: what PyTorch says the file should give on the evaluation inputs.
    """

    program: Path
    plan_path: Path
    heads: Mapping[str, tuple[str, ...]]
    plan: Plan
    outputs: list[list[Array]]

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
    fit: Fit = USUAL,
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
        graph, heads, steps = _quantizable(captured)
        work = _Solving(graph, source.calibration.samples, progress)
        static = [one for one in asked if one.activation_mode == "static"]
        seen = work.seen() if static else None
        made = {}
        for one in asked:
            recipe, said = one, list(steps)
            if fit.mixture and one.name == MIXED:
                recipe, choice = work.chosen(one, fit.mixture)
                said.append(choice)
            tuning = work.tuned(recipe, fit.trials) if fit.trials else DEFAULTS
            program, plan = work.solved(recipe, tuning, seen if one in static else None)
            plan = replace(plan, steps=tuple(filter(None, [*said, tuning.said])))
            made[one.name] = _saved(program, plan, heads, captured, source, folder)
    return made


@dataclass(frozen=True)
class _Solving:
    """A quantizable graph, the calibration samples, and who is told."""

    graph: fx.GraphModule
    samples: Sequence[tuple[Array, ...]]
    progress: Progress

    def seen(self) -> Observed:
        """What the activations are."""
        self.progress.note("measuring the ranges of activations")
        return observed(self.graph, self.samples)

    def tuned(self, recipe: Recipe, trials: int) -> Tuning:
        """The best methods for a recipe."""
        told = self.progress.note
        found = tuned(self.graph, self.samples, recipe, trials=trials, told=told)
        told(f"{recipe.name}: {found.said}")
        return found

    def chosen(self, offer: Recipe, mixture: Mixture) -> tuple[Recipe, str]:
        """The best recipe of the storages that `offer` has, and what it is in a sentence."""
        told = self.progress.note
        choice = choose_recipe(self.graph, self.samples, mixture, offer.storages, told=told)
        told(f"{offer.name}: {choice.said}")
        return choice.recipe, choice.said

    def solved(
        self, recipe: Recipe, tuning: Tuning, seen: Observed | None
    ) -> tuple[fx.GraphModule, Plan]:
        """The program and plan of a recipe; `seen` is for static ranges."""

        def told(module: str, done: int, count: int) -> None:
            self.progress.note(f"{recipe.name}: weight {done + 1} of {count}, {module}")

        ranges = seen.ranges(method=tuning.estimator) if seen else None
        return solve(
            self.graph, self.samples, recipe, ranges=ranges, methods=tuning.methods, told=told
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


def _quantizable(
    captured: Captured,
) -> tuple[fx.GraphModule, dict[str, tuple[str, ...]], tuple[str, ...]]:
    """The rewritten graph of `forward`, the heads in its names, and what was done, in sentences."""
    example = EntryPoints.read(captured.program, {}).example
    values = [name for names in captured.heads.values() for name in names]
    marked = _returning(captured.graph, values)
    rewrites = [(n, importlib.import_module(f"exporters.prepare.{n}").rewrite) for n in _REWRITES]
    prepared = apply_rewrites(marked, example, rewrites)
    # traced again before anything is solved for: names must be those that converters will see
    graph = flat_graph(_traced(prepared.graph, example))
    output = next(node for node in graph.graph.nodes if node.op == "output")
    returned = list(output.args[0])
    count = len(returned) - len(values)
    names = iter(node.name for node in returned[count:])
    heads = {entry: tuple(next(names) for _ in kept) for entry, kept in captured.heads.items()}
    output.args = (tuple(returned[:count]),)
    graph.recompile()
    return graph, heads, _sentences(prepared)


def _returning(graph: fx.GraphModule, values: Sequence[str]) -> fx.GraphModule:
    """A copy of the graph that returns these values of its own behind its outputs."""
    nodes = copy.deepcopy(graph.graph)
    named = {node.name: node for node in nodes.nodes}
    output = next(node for node in nodes.nodes if node.op == "output")
    output.args = ((*output.args[0], *(named[name] for name in values)),)
    return fx.GraphModule(graph, nodes)


def _traced(
    graph: fx.GraphModule, example: tuple[torch.Tensor, ...]
) -> torch.export.ExportedProgram:
    with torch.no_grad():
        return torch.export.export(graph, example)


def _sentences(prepared: Prepared) -> tuple[str, ...]:
    return tuple(
        f"{done.name}: {done.sites} places, outputs equal to {done.snr_db:.0f} dB"
        for done in prepared.applied
    )


def _saved(  # a program, and all that is saved with it
    program: fx.GraphModule,
    plan: Plan,
    heads: Mapping[str, tuple[str, ...]],
    captured: Captured,
    source: SourceModel,
    folder: Path,
) -> Quantized:
    name = plan.recipe.name
    path, plan_path = folder / f"{FORWARD}.{name}.pt2", folder / f"{name}.plan"
    example = EntryPoints.read(captured.program, {}).example
    exported = _traced(program, example)
    torch.export.save(exported, path, extra_files={RANGES: json.dumps([])})
    plan.write(plan_path)
    read = EntryPoints.read(path, heads)  # as converters will: names and weights are checked here
    meant = reference_graph(read.graphs[FORWARD], plan)
    outputs = reference(meant, source.evaluation.samples, ()).outputs
    return Quantized(path, plan_path, dict(heads), plan, outputs)
