"""What a model file says about itself, written the way each ecosystem reads it."""

from __future__ import annotations

from dataclasses import dataclass, field

from headtail.preprocess import Preprocess

__all__ = ["USER_PREFIX", "Metadata"]

USER_PREFIX = "dev.headtail."


@dataclass(frozen=True)
class Metadata:
    """Documentation of a model. `inputs` and `outputs` map tensor names to one sentence each.

    `labels` are the classes in the order of the scores along the last axis of the output `classes`;
    `preprocess` makes the first input from camera bytes; `user` maps reverse-DNS keys to values.
    """

    name: str
    description: str = ""
    author: str = ""
    licence: str = ""
    version: str = ""
    labels: tuple[str, ...] = ()
    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    user: dict[str, str] = field(default_factory=dict)
    preprocess: Preprocess | None = None
    classes: str = ""
