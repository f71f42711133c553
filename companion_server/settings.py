"""How one server runs: from keyword arguments or from the environment, unknown keys refused.

Environment variables are `HEADTAIL_SERVER_<FIELD>`, for example `HEADTAIL_SERVER_PORT=9000`. The
prefix is the server's own, so that a misspelt one can be refused without touching anybody else's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from headtail.errors import UnknownName, UsageFault

__all__ = ["ENV_PREFIX", "Settings"]

ENV_PREFIX = "HEADTAIL_SERVER_"


class Settings(BaseModel):
    """All that can be set. Frozen; see `from_env` and `of` for messages in Headtail's form."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field(default="127.0.0.1", min_length=1)
    """Address to bind. Loopback unless told otherwise: this server has no authentication yet."""
    port: int = Field(default=8707, ge=0, le=65535)
    """TCP port; 0 picks a free one, which `serve` prints."""
    max_body_bytes: int = Field(default=64 << 20, ge=1)
    """Largest request body, both as it comes and after decompression."""
    threads: int = Field(default=1, ge=1)
    """Threads that torch uses inside one operator. More than 1 is often slower (measure first)."""

    @classmethod
    def of(cls, **values: Any) -> Settings:
        """Settings from keyword arguments; `UnknownName` or `UsageFault` if one cannot be."""
        for name in values:
            if name not in cls.model_fields:
                raise UnknownName("server setting", name, cls.model_fields)
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            raise UsageFault(
                f"Server setting {name} is {first['input']!r}.",
                expected=f"{first['msg']}.",
                remedy=f"Correct {name}, or leave it out for {cls.model_fields[name].default!r}.",
            ) from None

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ, **values: Any) -> Settings:
        """Settings from `HEADTAIL_SERVER_*`, then from `values`, which win.

        The rest of the environment is not looked at.
        """
        found = {
            key.removeprefix(ENV_PREFIX).lower(): value
            for key, value in environ.items()
            if key.startswith(ENV_PREFIX)
        }
        return cls.of(**{**found, **values})
