"""How one server runs: from keyword arguments or from the environment, unknown keys refused.

Environment variables are `HEADTAIL_SERVER_<FIELD>`, for example `HEADTAIL_SERVER_PORT=9000`. The
prefix is the server's own, so that a misspelt one can be refused without touching anybody else's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from headtail.errors import UnknownName, UsageFault

__all__ = ["ENV_PREFIX", "Settings", "default_state_dir"]

ENV_PREFIX = "HEADTAIL_SERVER_"


def default_state_dir() -> Path:
    """`$XDG_STATE_HOME/headtail/server`, by default below `~/.local/state`.

    https://specifications.freedesktop.org/basedir-spec/latest/
    """
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "headtail" / "server"


class Settings(BaseModel):
    """All that can be set. Frozen; see `from_env` and `of` for messages in Headtail's form."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    host: str = Field(default="127.0.0.1", min_length=1, pattern=r"^[^\x00-\x20/]+$")
    """Address to bind. Anything but loopback needs `auth`."""
    port: int = Field(default=8707, ge=0, le=65535)
    """TCP port of HTTP and WebSocket; 0 picks a free one, which `serve` prints."""
    grpc_port: int | None = Field(default=None, ge=0, le=65535)
    """TCP port of gRPC; without one gRPC is not served."""
    public_url: str | None = None
    """Where phones reach the server, behind a proxy or a container's network; for pairing."""
    tls: bool = True
    """Serve HTTPS, with a certificate of its own unless `certificate` names one."""
    certificate: Path | None = None
    """PEM file of the certificate chain, with `private_key`; for those who have an authority."""
    private_key: Path | None = None
    """PEM file of the certificate's key."""
    auth: bool = True
    """Ask for API keys."""
    state_dir: Path = Field(default_factory=default_state_dir)
    """Where keys, certificate, published bundles, tuned tails and the audit log are kept."""
    max_body_bytes: int = Field(default=64 << 20, ge=1)
    """Largest request body, both as it comes and after decompression."""
    max_body_memory: int = Field(default=256 << 20, ge=1)
    """Bytes of request bodies in memory at once, of one key half of what others leave; a request
    over that is shed."""
    min_body_bytes_per_s: int = Field(default=8192, ge=1)
    """Slowest pace of a body once `body_grace_s` is over; below it the request is a 408."""
    body_grace_s: float = Field(default=10.0, gt=0)
    """Seconds that a body may take beside those that it has at its slowest pace."""
    max_connections: int = Field(default=2048, ge=1, le=1_000_000)
    """Open connections; one more is refused."""
    threads: int = Field(default=1, ge=1)
    """Threads that torch uses inside one operator. More than 1 is often slower (measure first)."""
    executors: int = Field(default=1, ge=1, le=64)
    """Executor processes; each holds every tail, and they share the queue."""
    tune: bool = True
    """Build faster forms of each tail in the background and use the fastest that is proven."""
    max_batch: int = Field(default=16, ge=1, le=1024)
    """Samples computed together at most; 1 switches batching off."""
    max_queue: int = Field(default=512, ge=1)
    """Requests that may wait; one more is shed."""
    max_queue_bytes: int = Field(default=512 << 20, ge=1)
    """Memory of the tensors that wait; what would exceed it is shed."""
    max_wait_s: float = Field(default=10.0, gt=0)
    """How long a request without a deadline may have to wait."""
    requests_per_s: float | None = Field(default=None, gt=0)
    """Requests per second and key; without it there is no such limit."""
    burst: int = Field(default=50, ge=1)
    """Requests that a key may send at once before `requests_per_s` holds."""
    drain_s: float = Field(default=20.0, ge=0)
    """How long running requests may take after SIGTERM."""
    max_store_bytes: int | None = Field(default=None, ge=1)
    """Room for published bundles, uploads included; without it the disk is the limit."""
    trusted_keys: tuple[str, ...] = ()
    """Ed25519 public keys (hex, commas between them in the environment); with one, only bundles
    signed by one of them are served."""
    otlp_endpoint: str | None = None
    """Where OpenTelemetry traces go, such as http://127.0.0.1:4318; without it there are none."""
    log_format: Literal["auto", "text", "json"] = "auto"
    """Lines for people, or one JSON object a line; `auto` is text on a terminal."""

    @field_validator("trusted_keys", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """One text, as the environment has it."""
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @field_validator("state_dir", "certificate", "private_key", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if value == "":  # which as a path would be wherever the server was started
            raise ValueError("A path is not empty")
        return value

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
            name = str(first["loc"][0])
            default = cls.model_fields[name].get_default(call_default_factory=True)
            raise UsageFault(
                f"Server setting {name} is {first['input']!r}.",
                expected=f"{first['msg'].removeprefix('Value error, ')}.",
                remedy=f"Correct {name}, or leave it out for {str(default)!r}.",
            ) from None

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ, **values: Any) -> Settings:
        """Settings from `HEADTAIL_SERVER_*`, then from `values`, which win.

        Nothing else of the environment sets anything.
        """
        found = {
            key.removeprefix(ENV_PREFIX).lower(): value
            for key, value in environ.items()
            if key.startswith(ENV_PREFIX)
        }
        return cls.of(**{**found, **values})
