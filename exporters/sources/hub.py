"""Names with options, and whether a hub of weights can be reached at all.

`NAME?key=value&key=value` as in a URL. A hub that cannot be reached is noticed in seconds, not
after the retries of a library, and never passed over in silence: the model then has random weights,
and its source, its remarks and its manifest say so.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import parse_qsl

from headtail.errors import EnvironmentFault, UnknownName, UsageFault

__all__ = ["Options", "Weights", "reachable"]

_PATIENCE_S = 3.0


@dataclass(frozen=True)
class Options:
    """A name and its options."""

    name: str
    values: dict[str, str]

    @classmethod
    def parse(cls, text: str, known: Collection[str]) -> Options:
        """Split `NAME?key=value&...`; raises `UnknownName` for a key that is not `known`."""
        name, _, query = text.partition("?")
        values = dict(parse_qsl(query, keep_blank_values=True))
        for key in values:
            if key not in known:
                raise UnknownName(f"option of {name}", key, known)
        return cls(name, values)

    def switch(self, key: str) -> bool | None:
        """`0` or `1` as a bool, None if the option is not there."""
        if key not in self.values:
            return None
        if self.values[key] not in ("0", "1"):
            raise UsageFault(
                f"The option {key} of {self.name} is {self.values[key]!r}.",
                expected="It is 0 or 1.",
                remedy=f"Write {self.name}?{key}=0 or {self.name}?{key}=1.",
            )
        return self.values[key] == "1"

    def count(self, key: str, default: int) -> int:
        """A positive whole number."""
        text = self.values.get(key, str(default))
        if not text.isascii() or not text.isdigit() or int(text) < 1:
            raise UsageFault(
                f"The option {key} of {self.name} is {text!r}.",
                expected="It is a whole number of at least 1.",
                remedy=f"Write {self.name}?{key}={default}.",
            )
        return int(text)


def reachable(host: str) -> bool:
    """Whether `host` takes an HTTPS connection within seconds; False if told to stay offline."""
    if os.environ.get("HF_HUB_OFFLINE", "0").lower() in ("1", "true", "yes", "on"):
        return False
    try:
        with socket.create_connection((host, 443), timeout=_PATIENCE_S):
            return True
    except OSError:
        return False


@dataclass(frozen=True)
class Weights:
    """Which weights a model gets: real ones or random ones, and the sentence about it."""

    real: bool
    said: str

    @classmethod
    def decide(cls, asked: bool | None, *, cached: bool, host: str, seed: int = 0) -> Weights:
        """Real weights from the cache or the hub, unless `asked` is False.

        Raises `EnvironmentFault` if they were asked for and cannot be had.
        """
        if asked is False:
            return cls(False, f"weights: random as asked, seed {seed}")
        if cached:
            return cls(True, "weights: pretrained, from the local cache")
        if reachable(host):
            return cls(True, f"weights: pretrained, from {host}")
        if asked:
            raise EnvironmentFault(
                f"The weights are not in the local cache, and {host} cannot be reached.",
                expected="Pretrained weights were asked for.",
                remedy="Connect to the network once, or ask for random ones with ?pretrained=0.",
            )
        return cls(False, f"weights: random, seed {seed}, because {host} cannot be reached")
