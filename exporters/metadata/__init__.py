"""What a model file says about itself, written the way each ecosystem reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Metadata"]


@dataclass(frozen=True)
class Metadata:
    """Documentation of a model. `inputs` and `outputs` map tensor names to one sentence each.

    `labels` are the classes in the order of the scores; `user` maps reverse-DNS keys to values.
    """

    name: str
    description: str = ""
    author: str = ""
    licence: str = ""
    version: str = ""
    labels: tuple[str, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    user: Mapping[str, str] = field(default_factory=dict)
