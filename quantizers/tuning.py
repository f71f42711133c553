"""The discrete choices of the solver: the usual ones, or tuned on calibration inputs held out.

    half of the samples -> solve with a configuration -> dB against float on the other half
        -> `quantizers.tuner` names the next configuration to try

What is found best is then used on all samples. Where nothing is better, the defaults stay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headtail.metrics import finite_db, snr_db
from headtail.tensors import Array
from quantizers.activation_ranges import Observed, observed
from quantizers.augmentation import widened
from quantizers.fitting import Methods
from quantizers.ranges import ESTIMATORS
from quantizers.recipe import Recipe
from quantizers.solve import solve
from quantizers.static_graph import reference_graph
from quantizers.stored import divided
from quantizers.tuner import tune

if TYPE_CHECKING:
    from torch import fx

__all__ = ["Tuning", "tuned", "usual"]

_RANGES = ("mse", *sorted(set(ESTIMATORS) - {"mse"}))
_METHODS = {
    "scales": ("searched", "largest"),
    "rounding": ("path following", "nearest"),
    "biases": ("corrected", "kept"),
}
_FEW = 4  # bits


@dataclass(frozen=True)
class Tuning:
    """Methods for `quantizers.solve`, an estimator of `quantizers.ranges`, whether to solve for
    variations of the images too (`quantizers.augmentation.widened`), and in a sentence what was
    tried."""

    methods: Methods
    estimator: str
    widen: bool
    said: str = ""


def usual(recipe: Recipe) -> Tuning:
    """What is done unasked.

    Weights of few bits are fitted closely to what the calibration inputs show, and their errors'
    means are those of these inputs. `w4` of EfficientNet-Lite0, solved for on 64 crops of 8 photos,
    on 112 crops of 7 others: 10.1 dB, and 11.0 dB with biases kept and a variation of each crop
    (and 0.3 in place of 0.05 in `quantizers.fitting`); `w8` there: 30.7 dB, 29.0 with biases kept.
    """
    few = any(s.quantized and s.bits <= _FEW for s in recipe.storages)
    return Tuning(Methods(correct_bias=not few), _RANGES[0], widen=few)


def tuned(
    graph: fx.GraphModule,
    samples: Sequence[tuple[Array, ...]],
    recipe: Recipe,
    *,
    trials: int,
    told: Callable[[str], None] = lambda text: None,
) -> Tuning:
    """The best of at most `trials` configurations for `recipe` on a flat `graph`.

    Each sample is one array per input; every second of the first 32 is held out. Raises
    `UsageFault` for fewer than two samples, and for no trials.
    """
    fit, judge = divided(samples, what=f"{recipe.name} was to be tuned")
    static = recipe.activation_mode == "static"
    first = usual(recipe)
    options = {"ranges": _RANGES} if static else {}
    options |= _METHODS
    if not first.methods.correct_bias:
        options["biases"] = options["biases"][::-1]
    fit = widened(fit, seed=0) if first.widen else fit
    judged = _Judged(graph, fit, judge, recipe, observed(graph, fit) if static else None)
    truth = judged.outputs(graph)

    def score(config: Mapping[str, str]) -> float:
        found = judged.db(config, truth)
        told(f"{recipe.name}: {', '.join(map(' '.join, config.items()))}: {found:.2f} dB")
        return found

    result = tune(options, score, trials=trials)
    best, start = result.best, result.trials[0]
    chosen = ", ".join(f"{choice} {option}" for choice, option in best.config.items())
    said = (
        f"tuned in {len(result.trials)} trials of {result.exhaustive} ({result.saved} saved): "
        f"{chosen}; {best.score:.2f} dB on {len(judge)} calibration inputs held out, "
        f"{start.score:.2f} by default"
    )
    estimator = best.config.get("ranges", first.estimator)
    return Tuning(_methods(best.config), estimator, first.widen, said)


def _methods(config: Mapping[str, str]) -> Methods:
    better = {choice: options[0] for choice, options in _METHODS.items()}
    scales, rounding, biases = (config[name] == better[name] for name in _METHODS)
    return Methods(search_scales=scales, follow_path=rounding, correct_bias=biases)


@dataclass(frozen=True)
class _Judged:
    """Configurations solved for on `fit` and run on `judge`; `seen` for static ranges."""

    graph: fx.GraphModule
    fit: Sequence[tuple[Array, ...]]
    judge: Sequence[tuple[Array, ...]]
    recipe: Recipe
    seen: Observed | None

    def db(self, config: Mapping[str, str], truth: Sequence[Array]) -> float:
        """Mean over the samples."""
        ranges = self.seen.ranges_for(self.recipe, config["ranges"]) if self.seen else None
        methods = _methods(config)
        program, plan = solve(self.graph, self.fit, self.recipe, ranges=ranges, methods=methods)
        pairs = zip(truth, self.outputs(reference_graph(program, plan)), strict=True)
        return float(np.mean([finite_db(snr_db(reference=a, candidate=b)) for a, b in pairs]))

    def outputs(self, graph: fx.GraphModule) -> list[Array]:
        """All outputs of each sample in one vector."""
        import torch

        with torch.inference_mode():
            runs = [graph(*(torch.tensor(array) for array in sample)) for sample in self.judge]
        return [np.concatenate([value.numpy().ravel() for value in outputs]) for outputs in runs]
