"""What a diagnosis says about one call of one operator."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["STATUSES", "Finding"]

# From good to bad. Only the last two fail a check: what is not delegated runs, slower.
STATUSES = ("supported", "rewritten", "not delegated", "unsupported", "unknown")


@dataclass(frozen=True)
class Finding:
    """One call that a target does not simply take.

    `target` is the format, or '' for what concerns every format (capturing); `op` torch's name of
    the operator as the model calls it; `module` its module path; `place` `file.py:12`; `detail`
    says what the converter has to say of it; `macs` is its share of the model's multiply-
    accumulates, 0 to 1.
    """

    target: str
    op: str
    status: str
    module: str
    place: str
    detail: str
    remedy: str
    macs: float = 0.0

    @property
    def blocking(self) -> bool:
        """Does it stand in the way of an artifact?"""
        return self.status in ("unsupported", "unknown")
