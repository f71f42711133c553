"""How tails are spread over a cluster. What may wait and be batched stands in `Settings`."""

from __future__ import annotations

from dataclasses import dataclass, fields

from headtail.errors import UsageFault

__all__ = ["ClusterOptions"]


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """The replicas of a deployment; `UsageFault` for what cannot be.

    `address` is that of a running cluster (`auto`, or `HOST:PORT` of its head); empty starts one on
    this machine alone, with `object_store_bytes` of shared memory.
    """

    address: str = ""
    replicas: int = 1
    """How many replicas there are, or the fewest if `max_replicas` is more."""
    max_replicas: int = 0
    """Ray adds replicas up to so many while requests wait; 0 means `replicas`, always."""
    cpus: float = 1.0
    """CPUs that one replica reserves."""
    object_store_bytes: int = 128 << 20

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in ("address", "max_replicas") and not value > 0:
                raise UsageFault(
                    f"{field.name} is {value}.",
                    expected="Every number of a cluster's options is more than 0.",
                    remedy=f"Correct {field.name}, or leave it out for {field.default!r}.",
                )
        if self.max_replicas and self.max_replicas < self.replicas:
            raise UsageFault(
                f"max_replicas is {self.max_replicas} and replicas is {self.replicas}.",
                expected="The most replicas are not fewer than the fewest.",
                remedy="Raise max_replicas, or leave it out for a fixed number.",
            )
