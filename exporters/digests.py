"""What a result depends on, as SHA-256: the program, the inputs, the options, the tools, this code.

Two exports with equal digests write equal artifacts, so the second may use what the first wrote.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import torch
from torch import fx

from exporters.versions import tool_versions
from headtail.strictjson import canonical_bytes, to_json

__all__ = ["code_digest", "graph_digest", "key"]

_CODE = ("exporters", "headtail", "quantizers")


def graph_digest(graph: fx.GraphModule) -> str:
    """Of every call with its arguments, every input's type, and the bytes of every weight."""
    digest = hashlib.sha256()
    for node in graph.graph.nodes:
        value = node.meta.get("val")
        typed = (value.dtype, tuple(value.shape)) if isinstance(value, torch.Tensor) else None
        line = (node.op, node.name, str(node.target), str(node.args), str(node.kwargs), str(typed))
        digest.update("\0".join(line).encode() + b"\n")
    tensors = {**dict(graph.named_parameters()), **dict(graph.named_buffers())}
    for name, tensor in sorted(tensors.items()):
        held = tensor.detach().contiguous()
        digest.update(f"{name} {held.dtype} {tuple(held.shape)}\n".encode())
        digest.update(held.numpy().tobytes())
    return digest.hexdigest()


def key(*parts: object) -> str:
    """Of the parts as canonical JSON, the versions of all tools and this code."""
    value = [to_json(part) for part in parts]
    whole = {"parts": value, "tools": tool_versions(), "code": code_digest()}
    return hashlib.sha256(canonical_bytes(whole)).hexdigest()


@cache
def code_digest() -> str:
    """Of Headtail's own source files: what older code wrote is not used."""
    digest = hashlib.sha256()
    for path in _sources():
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _sources() -> Iterable[Path]:
    root = Path(__file__).resolve().parents[1]
    return (path for package in _CODE for path in sorted((root / package).rglob("*.py")))
