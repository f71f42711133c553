"""A recipe still to be chosen, weight by weight, for one network: mixed precision within a budget.

    every weight fitted in every storage (half of the samples)
      -> what each does to the outputs (the other half, no labels)
      -> the exact choice (`quantizers.allocate`)

The choice becomes an ordinary recipe with a rule for each module that is not stored as the base
says, so that everything after it is as for a preset.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from headtail.errors import UsageFault
from headtail.tensors import Array
from quantizers.allocate import allocate, mixed, reach
from quantizers.candidates import Allocation, Budget, candidates_of
from quantizers.recipe import RECIPES, Recipe, Rule, Storage
from quantizers.sensitivity import Sensitivity, predicted
from quantizers.sites import Site, sites, weight_of
from quantizers.stepper import Stepper
from quantizers.stored import divided, stored_weights
from quantizers.support import refusal, stored

if TYPE_CHECKING:
    from torch import Tensor, fx

__all__ = ["NAME", "Chosen", "Mixture", "choose_recipe"]

NAME = "mixed"
# From the best to the smallest. Half precision where every format can have it beside integers,
# else single. Two bits are not offered: rounded without training they are noise.
_OFFERED = ("i8", "lut6", "i4", "lut4")
_FLOATS = ("f16", "f32")
_BIAS_BYTES = 4
# Names, shapes and the like, for each operator: 0.3 to 1.1 kB in files of EfficientNet-Lite0, most
# in quantized LiteRT and Core ML. That a file keeps to its budget is checked once it is written.
_OPERATOR_BYTES = 1200


@dataclass(frozen=True)
class Mixture:
    """The least damage within `max_bytes` of a file, or the fewest bytes with `min_agreement` (a
    share of equal first answers); with both, that agreement within those bytes.

    Activations are those of `base`. The recipe is for all of `formats`: bytes are those of the one
    that needs most.
    """

    max_bytes: int | None = None
    min_agreement: float | None = None
    base: Recipe = RECIPES["w8"]
    formats: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.max_bytes is None and self.min_agreement is None:
            raise UsageFault(
                "A mixed recipe was asked for without a budget.",
                expected="A size, an agreement, or both.",
                remedy="Add --max-mb or --min-agreement, or choose a recipe of headtail list.",
            )
        if self.min_agreement is not None and not 0 < self.min_agreement <= 1:
            raise UsageFault(
                f"An agreement of {self.min_agreement:g} was asked for.",
                expected="A share of the answers above 0 and up to 1; .98 is 98 %.",
                remedy="Correct --min-agreement.",
            )

    def offer(self) -> Recipe:
        """A recipe with all the storages that may be chosen, which stands for the choice until it
        is made: those that each format can have beside one another."""
        found: tuple[Storage, ...] = ()
        for name in (*_OFFERED, *_FLOATS):
            more = (*found, Storage(name))
            if not any(refusal(format_name, self._with(more)) for format_name in self.formats):
                found = more
                if name in _FLOATS:
                    break
        return self._with(found)

    def size(self, site: Site, storage: Storage) -> int:
        """Bytes of a weight that is asked to be stored so."""
        return max(stored(name, site, storage) for name in self.formats)

    def _with(self, storages: Sequence[Storage]) -> Recipe:
        rules = tuple(Rule("*", (), storage.dtype, storage.block) for storage in storages)
        return replace(self.base, name=NAME, rules=(*self.base.rules, *rules))


@dataclass(frozen=True)
class Chosen:
    """The recipe, what was known about each weight, and in a sentence what was chosen."""

    recipe: Recipe
    scores: tuple[Sensitivity, ...]
    said: str


def choose_recipe(
    graph: fx.GraphModule,
    samples: Sequence[tuple[Array, ...]],
    mixture: Mixture,
    storages: Sequence[Storage],
    *,
    told: Callable[[str], None] = lambda text: None,
) -> Chosen:
    """The best recipe of these storages for a flat `graph` within the budget.

    Each sample is one array per input. Raises `UsageFault` for a budget that cannot be met, and
    says which can.
    """
    fit, judge = divided(samples, what=f"{NAME} was to be chosen")
    told(f"{NAME}: fitting every weight in {len(storages)} ways")
    stored = stored_weights(graph, fit, storages)
    told(f"{NAME}: measuring what each does to the outputs")
    scores = predicted(graph, judge, stored)
    candidates = candidates_of(scores, size=mixture.size)
    size = None if mixture.max_bytes is None else mixture.max_bytes - _others(graph)
    budget = Budget(size=size)
    if mixture.min_agreement is None:
        allocation = allocate(candidates, budget)
        reached = ""
    else:
        measure = _Agreement(graph, judge, stored)
        goal = mixture.min_agreement
        allocation, found = reach(candidates, measure, agreement=goal, budget=budget)
        reached = f", agreement {found:.3f} on {len(judge)} calibration inputs held out"
    recipe = mixed(allocation, mixture.base, name=NAME)
    return Chosen(recipe, tuple(scores), f"{_counts(allocation)}{reached}")


def _others(graph: fx.GraphModule) -> int:
    """Bytes of all that is not a weight: other constants and a bias for every layer in float32, and
    what a file says about its operators."""
    found = sites(graph)
    named = {site.weight for site in found}
    held = {str(n.target) for n in graph.graph.nodes if n.op == "get_attr"} - named
    biased = {n for n in graph.graph.nodes if n.op == "call_function" and _lacks_bias(n)}
    calls = {node for site in found for node in site.nodes}
    channels = [n.meta["val"].shape for n in biased if n.name in calls]
    grown = sum(int(shape[-1] if len(shape) < 4 else shape[1]) for shape in channels)
    operators = sum(node.op == "call_function" for node in graph.graph.nodes)
    constants = sum(int(weight_of(graph, name).nbytes) for name in held)
    total: int = constants + _BIAS_BYTES * grown + _OPERATOR_BYTES * operators
    return total


def _lacks_bias(node: fx.Node) -> bool:
    return len(node.args) < 3 or node.args[2] is None


def _counts(allocation: Allocation) -> str:
    counts = Counter(str(option.storage) for option in allocation.chosen)
    shown = ", ".join(f"{count} as {storage}" for storage, count in sorted(counts.items()))
    return f"of {len(allocation.chosen)} weights {shown}: {allocation.size} bytes"


class _Agreement:
    """Share of samples whose largest output is where the float network has it.

    The mean over the outputs, each over its last axis.
    """

    def __init__(
        self,
        graph: fx.GraphModule,
        samples: Sequence[tuple[Array, ...]],
        stored: Mapping[str, Mapping[Storage, Tensor]],
    ) -> None:
        self._stepper = Stepper.of(graph)
        self._samples = samples
        self._stored = stored
        self._answers = [self._answer(sample, {}) for sample in samples]

    def __call__(self, allocation: Allocation) -> float:
        """Of the network whose weights are stored like this."""
        weights = {
            candidate.weight: self._stored[candidate.weight][option.storage]
            for candidate, option in zip(allocation.candidates, allocation.chosen, strict=True)
        }
        shares = []
        for sample, answer in zip(self._samples, self._answers, strict=True):
            given = self._answer(sample, weights)
            shares += [(a == b).double().mean().item() for a, b in zip(answer, given, strict=True)]
        return sum(shares) / len(shares)

    def _answer(self, sample: tuple[Array, ...], weights: Mapping[str, Tensor]) -> list[Tensor]:
        import torch

        with torch.no_grad():
            values = self._stepper.start(sample) | self._stepper.holding(weights)
            return [output.argmax(-1) for output in self._stepper.finish(values)]
