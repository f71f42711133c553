"""What a quantized program is trained to repeat: the float graph's outputs and inner values.

No labels: the float graph is the teacher. Its outputs are compared as distributions over the last
axis at a temperature (Hinton et al., https://arxiv.org/abs/1503.02531) and as numbers; values
inside, behind each quantized layer, keep few images from being learned by heart (BRECQ,
https://arxiv.org/abs/2102.05426, compares the ends of blocks).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headtail.tensors import Array
from quantizers.static_graph import LIMITS, affine
from quantizers.stepper import Stepper

if TYPE_CHECKING:
    from torch import Tensor, fx

    from quantizers.plan import Range

__all__ = ["Answer", "Pupil", "loss"]

TEMPERATURE = 2.0
DIVERGENCE = 1.0  # weight of the distributions' divergence


@dataclass(frozen=True)
class Answer:
    """Floating outputs of a graph on one sample, and values inside it."""

    outputs: list[Tensor]
    inner: list[Tensor]


class Pupil:
    """A graph to run with other weights, activations rounded as `ranges` say."""

    def __init__(
        self,
        graph: fx.GraphModule,
        points: Sequence[str],
        *,
        ranges: Mapping[str, Range] | None = None,
        integers: str = "i8",
    ) -> None:
        self._stepper = Stepper.of(graph)
        self._points = frozenset(points)
        self._steps = {
            name: (*affine(r, integers), *LIMITS[integers]) for name, r in (ranges or {}).items()
        }

    def answer(self, sample: Sequence[Array], weights: Mapping[str, Tensor]) -> Answer:
        """On one sample, with `weights` in place of the constants of these names."""
        stepper, inner = self._stepper, []
        values = stepper.start(tuple(sample)) | stepper.holding(weights)
        for node in [n for n in values if n.op == "placeholder"]:
            self._round(node, values)
        for node in stepper.calls:
            stepper.step(node, values)
            if node.name in self._points:
                inner.append(values[node])
            self._round(node, values)
        return Answer(stepper.outputs(values), inner)

    def _round(self, node: fx.Node, values: dict[fx.Node, Any]) -> None:
        import torch

        if node.name in self._steps and node in values:
            steps = self._steps[node.name]
            values[node] = torch.fake_quantize_per_tensor_affine(values[node], *steps)


def loss(true: Answer, seen: Answer, *, inner: float) -> Tensor:
    """A scalar, 0 for equal answers; `inner` is the weight of the values inside."""
    import torch

    outputs = [_distance(t, s) for t, s in zip(true.outputs, seen.outputs, strict=True)]
    total = torch.stack(outputs).mean()
    if inner and true.inner:
        parts = zip(true.inner, seen.inner, strict=True)
        total = total + inner * torch.stack([_noise(t, s) for t, s in parts]).mean()
    return total


def _distance(true: Tensor, seen: Tensor) -> Tensor:
    found = _noise(true, seen)
    if true.ndim == 2 and true.shape[-1] > 1:  # scores of classes
        found = found + DIVERGENCE * _divergence(true, seen)
    return found


def _noise(true: Tensor, seen: Tensor) -> Tensor:
    """Power of the difference over the power of what is right."""
    return (true - seen).square().mean() / true.square().mean().clamp_min(1e-12)


def _divergence(true: Tensor, seen: Tensor) -> Tensor:
    """Kullback-Leibler divergence at the temperature, in nats, times its square."""
    from torch.nn import functional

    right, found = ((scores / TEMPERATURE).log_softmax(-1) for scores in (true, seen))
    kept = functional.kl_div(found, right, reduction="batchmean", log_target=True)
    return kept * TEMPERATURE**2
