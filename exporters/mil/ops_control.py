"""MIL control flow: iOS15.control_flow (cond, while_loop), iOS15.classify.

https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
Nested blocks read values of the blocks around them; what a block computes stays inside it.
"""

from __future__ import annotations

import torch

from exporters.mil.optable import Arguments, operation
from exporters.mil.values import Value


def _truth(values: tuple[Value, ...], what: str) -> bool:
    if len(values) != 1 or not isinstance(values[0], torch.Tensor):
        raise TypeError(f"{what} is not one bool")
    tensor = values[0]
    if tensor.dtype != torch.bool or tensor.numel() != 1:
        raise TypeError(f"{what} is {tensor.dtype}{list(tensor.shape)} and not one bool")
    return bool(tensor.item())


@operation("cond", required="pred", blocks=2)
def cond(a: Arguments) -> tuple[Value, ...]:
    """iOS15.control_flow.cond: the first block where pred is true, else the second."""
    return a.blocks[0 if _truth(a.values("pred"), "pred") else 1]()


@operation("while_loop", required="loop_vars", blocks=2)
def while_loop(a: Arguments) -> tuple[Value, ...]:
    """iOS15.control_flow.while_loop: the second block while the first, given the same, is true."""
    holds, body = a.blocks
    carried = a.values("loop_vars")
    while _truth(holds(*carried), "the condition"):
        carried = body(*carried)
    return carried


@operation("classify", required="probabilities classes")
def classify(a: Arguments) -> tuple[Value, ...]:
    """iOS15.classify.classify: the label with the largest probability, and all probabilities.

    Labels are strings or 64-bit integers; of equal probabilities the first one wins.
    """
    probabilities = a.tensor("probabilities").flatten()
    classes = a.values("classes")
    if len(classes) != probabilities.numel() or not classes:
        raise ValueError(f"{len(classes)} classes for {probabilities.numel()} probabilities")
    best = classes[int(probabilities.argmax())]
    keys = [_label(value) for value in classes]
    return best, dict(zip(keys, probabilities.tolist(), strict=True))


def _label(value: Value) -> str | int:
    if isinstance(value, str):
        return value
    if not isinstance(value, torch.Tensor) or value.is_floating_point() or value.numel() != 1:
        raise TypeError("a class is neither a string nor an integer")
    return int(value.item())
