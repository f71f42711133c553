"""Where a node comes from: its module's path and the line of the model's own code."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import fx

__all__ = ["module_of", "own_place", "place_of"]

_FRAME = re.compile(r'File "([^"]+)", line (\d+), in [^\n]*(?:\n\s+([^\n]*))?')
_TORCH = str(Path(torch.__file__).parent)


def module_of(node: fx.Node) -> str:
    """Path of the innermost module, as in `named_modules()`; '' for the model itself."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return re.sub(r"^L\['self'\]\.?", "", str(stack[-1][0])) if stack else ""


def place_of(node: fx.Node) -> str:
    """`file.py:12` of the innermost frame that is not torch's own, or '' if none was kept."""
    frames = _FRAME.findall(node.meta.get("stack_trace") or "")
    return own_place([(path, int(line), code) for path, line, code in frames])[0]


def own_place(frames: Sequence[tuple[str, int, str]]) -> tuple[str, str]:
    """(`file.py:12`, the code there) of the innermost (file, line, code) outside of torch."""
    own = [frame for frame in frames if not frame[0].startswith((_TORCH, "<"))]
    if not own:
        return "", ""
    path, line, code = own[-1]
    return f"{_short(path)}:{line}", code.strip()


def _short(path: str) -> str:
    """From the package on for an installed library, the file's name for the user's own."""
    parts = Path(path).parts
    if "site-packages" in parts:
        return "/".join(parts[parts.index("site-packages") + 1 :])
    return parts[-1]
