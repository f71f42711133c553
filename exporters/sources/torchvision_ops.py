"""torchvision without its compiled operators, which timm and most of its own models never call.

The registry's torchvision is built for CUDA; beside a CPU torch its library does not load, and then
the import fails on two operators that nothing has declared. Declaring them is enough for the import
and for every network that does not run non-maximum suppression itself; calling one still fails.
https://github.com/pytorch/vision/blob/main/torchvision/_meta_registrations.py
"""

from __future__ import annotations

import importlib
from types import ModuleType

import torch

__all__ = ["import_with_torchvision"]

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[torch.library.Library] = []  # the declarations live as long as their library object


def import_with_torchvision(name: str) -> ModuleType:
    """Import `name` (torchvision, or what imports it); ImportError if it is not installed."""
    try:
        return importlib.import_module(name)
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    if not _declared:
        library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        for schema in _SCHEMAS:
            library.define(schema)  # type: ignore[no-untyped-call]  # likewise
        _declared.append(library)
    return importlib.import_module(name)
