"""Random weights that prove something: no branch that is zero, no normalisation that is identity.

A freshly initialised network hides conversion errors: layer scales of 1e-6, residual branches
whose last norm is zero and zero class tokens switch whole blocks off, and a converter that folds
them away or computes them wrongly is not noticed. Here every vector that is constant gets values of
its own, and batch norms take their statistics from real inputs, so that activations stay in range.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

__all__ = ["randomise"]

_SMALL = 1e-2  # a layer scale starts at 1e-6 to 1e-2; a trained one is tenths


def randomise(
    module: torch.nn.Module, batches: Iterable[Sequence[torch.Tensor]], *, seed: int = 0
) -> None:
    """Give constant parameters values and batch norms the statistics of `batches`, in place.

    The same seed and batches give the same weights. The module is left in eval mode.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            _vary(parameter, generator)
        _settle_statistics(module, batches)


def _vary(parameter: torch.nn.Parameter, generator: torch.Generator) -> None:
    """Of constant parameters, ones become scales, zeros offsets, tiny ones layer scales."""
    first = parameter.flatten()[0]
    if not parameter.is_floating_point() or not bool((parameter == first).all()):
        return
    uniform = torch.rand(parameter.shape, generator=generator)
    if float(first) == 0.0:
        parameter.copy_(0.2 * (uniform - 0.5))
    elif abs(float(first)) <= _SMALL:
        parameter.copy_(0.1 + 0.4 * uniform)
    else:
        parameter.copy_(float(first) * (0.5 + uniform))


def _settle_statistics(module: torch.nn.Module, batches: Iterable[Sequence[torch.Tensor]]) -> None:
    norms = [m for m in module.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    kept = [(norm, norm.momentum) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average over the batches
        norm.train()
    for batch in batches:
        module(*batch)
    for norm, momentum in kept:
        norm.momentum = momentum
    module.eval()
