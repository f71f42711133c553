"""Every error Headtail raises on purpose, with its remedy and its exit code.

    HeadtailError                       exit  HTTP
    ├── UsageFault                       2    400   the caller asked for something that cannot be
    │   ├── UnknownName                  2    404   a name that is in no table (did you mean ...)
    │   ├── SourceFault                  2     -    the model or its script cannot be exported as is
    │   ├── ImageFault                   2    400   bytes that are not an image we can read
    │   └── SchemaFault                  2    400   JSON off its schema, as `message @ $.path`
    ├── GateFailed                       1     -    a measured figure missed its gate
    │   ├── ConversionFailed             1     -    one format's converter could not write the file
    │   └── IntegrityFault               1    409   bytes are not what was promised
    ├── WireFault                        1    400   a peer sent a malformed message
    │   ├── TooLarge                     1    413   a declared or real length exceeds its limit
    │   ├── TensorMismatch               1    422   well formed, but not the tensors the model takes
    │   └── BundleMismatch               1    409   the peer holds another bundle or lacks the cut
    └── EnvironmentFault                 3    503   this machine lacks something
        ├── MissingDependency            3     -    a Python package or Debian package is absent
        ├── RuntimeUnavailable           3     -    a phone runtime cannot be loaded here
        └── ServerUnreachable            3    503   nothing answers at the server's address

An error is three sentences: what, with the actual values; what was expected; what to do next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "BundleMismatch",
    "ConversionFailed",
    "EnvironmentFault",
    "GateFailed",
    "HeadtailError",
    "ImageFault",
    "IntegrityFault",
    "MissingDependency",
    "RuntimeUnavailable",
    "SchemaFault",
    "ServerUnreachable",
    "SourceFault",
    "TensorMismatch",
    "TooLarge",
    "UnknownName",
    "UsageFault",
    "WireFault",
]

MAX_SHOWN = 200  # characters of a name that is none


class HeadtailError(Exception):
    """Base of the tree. `what`, `expected` and `remedy` are full sentences."""

    exit_code = 1
    http_status = 500

    def __init__(self, what: str, *, expected: str, remedy: str) -> None:
        super().__init__(f"{what} {expected} {remedy}")
        self.what = what
        self.expected = expected
        self.remedy = remedy

    def to_json(self) -> dict[str, str | int]:
        """The same error for machines: `{error, what, expected, remedy, exit_code}`."""
        return {
            "error": type(self).__name__,
            "what": self.what,
            "expected": self.expected,
            "remedy": self.remedy,
            "exit_code": self.exit_code,
        }


class UsageFault(HeadtailError):
    """The caller asked for something that cannot be; trying again unchanged will not help."""

    exit_code = 2
    http_status = 400


class UnknownName(UsageFault):
    """A name that is in no table; lists what exists and the nearest match."""

    http_status = 404

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        choices = sorted(known)
        shown = name[:MAX_SHOWN]  # a peer's name may have megabytes, and takes time to compare
        near = difflib.get_close_matches(shown, choices, n=1, cutoff=0.5)
        super().__init__(
            f"Unknown {kind} {shown!r}.",
            expected=f"Known: {', '.join(choices) or '(none)'}.",
            remedy=f"Did you mean {near[0]!r}?" if near else f"Use one of the known {kind} names.",
        )
        self.name = name
        self.known = tuple(choices)


class SourceFault(UsageFault):
    """The model, its example inputs or its script cannot be exported as given."""


class ImageFault(UsageFault):
    """Bytes that are not an image Headtail can read."""


class SchemaFault(UsageFault):
    """JSON that does not fit its schema; `path` is where, in the form `$.models[0].input`."""

    def __init__(self, message: str, path: str, *, remedy: str) -> None:
        super().__init__(
            f"{message} @ {path}.",
            expected="The file must fit its published schema exactly.",
            remedy=remedy,
        )
        self.path = path


class GateFailed(HeadtailError):
    """A measured figure missed its gate."""


class ConversionFailed(GateFailed):
    """A converter or runtime could not do its part; the other formats are unaffected.

    `log` holds the last lines of what the library printed.
    """

    def __init__(self, what: str, *, expected: str, remedy: str, log: str = "") -> None:
        super().__init__(what, expected=expected, remedy=remedy)
        self.log = log


class IntegrityFault(GateFailed):
    """Bytes are not what the manifest promised; `file` names which."""

    http_status = 409

    def __init__(self, what: str, *, file: str, expected: str, remedy: str) -> None:
        super().__init__(what, expected=expected, remedy=remedy)
        self.file = file


class WireFault(HeadtailError):
    """A peer sent a malformed message."""

    http_status = 400


class TooLarge(WireFault):
    """A declared or real length exceeds its limit; nothing was allocated."""

    http_status = 413


class TensorMismatch(WireFault):
    """Well formed, but not the tensors this model or cut takes."""

    http_status = 422


class BundleMismatch(WireFault):
    """The peer holds another bundle, or the bundle lacks the cut; `held` says what it has."""

    http_status = 409

    def __init__(
        self, what: str, *, held: dict[str, list[str]], expected: str, remedy: str
    ) -> None:
        super().__init__(what, expected=expected, remedy=remedy)
        self.held = held


class EnvironmentFault(HeadtailError):
    """This machine lacks something the request needs."""

    exit_code = 3
    http_status = 503


class MissingDependency(EnvironmentFault):
    """A Python or system package is absent."""

    def __init__(self, package: str, *, needed_for: str, install: str) -> None:
        super().__init__(
            f"{package} is not installed.",
            expected=f"It is needed for {needed_for}.",
            remedy=f"Install it with: {install}",
        )
        self.package = package


class RuntimeUnavailable(EnvironmentFault):
    """A phone runtime cannot be loaded on this machine."""


class ServerUnreachable(EnvironmentFault):
    """Nothing answers at the companion server's address."""
