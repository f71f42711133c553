"""Who may do what: a scope is `verb:model-glob`, for example `infer:efficientnet_*`.

    infer     run models, over REST, gRPC and WebSocket
    read      list, describe and download bundles
    publish   upload, replace and delete bundles
    admin     load and unload, aliases, pairing, the status page's figures
    metrics   the Prometheus page

The glob is `fnmatch`'s (https://docs.python.org/3/library/fnmatch.html), case-sensitive, against
the model's name. What concerns no single model and shows no others, such as the list of bundles,
needs the verb with any glob; what concerns all of them (pairing, figures, metrics) the glob `*`.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from companion_server.security.refusals import Forbidden
from headtail.errors import UnknownName, UsageFault

__all__ = [
    "ANONYMOUS",
    "NOBODY",
    "NO_NAME",
    "PRINCIPAL",
    "VERBS",
    "Principal",
    "Scope",
    "admit",
    "principal_of",
    "require",
    "sees",
]

VERBS = ("infer", "read", "publish", "admin", "metrics")
PRINCIPAL = "headtail.principal"  # the key in an ASGI scope
NO_NAME = ""  # in place of a model's name: none is so short, and only the glob * covers it
_GLOB = re.compile(r"[A-Za-z0-9._*?+@-]{1,128}")


@dataclass(frozen=True, slots=True)
class Scope:
    """One permission."""

    verb: str
    glob: str

    @classmethod
    def parse(cls, text: str) -> Scope:
        """From `verb:model-glob`; `UnknownName` for the verb, `UsageFault` for the rest."""
        verb, colon, glob = text.partition(":")
        if verb not in VERBS:
            raise UnknownName("verb of a scope", verb[:80], VERBS)
        if not colon or not _GLOB.fullmatch(glob):
            raise UsageFault(
                f"Scope {text[:200]!r} names no models.",
                expected="A scope is verb:model-glob, of letters, digits and ._*?+@-.",
                remedy=f"Write {verb}:* for every model.",
            )
        return cls(verb, glob)

    def __str__(self) -> str:
        return f"{self.verb}:{self.glob}"


@dataclass(frozen=True, slots=True)
class Principal:
    """Whose request it is. `key_id` is empty without a key."""

    key_id: str
    name: str
    scopes: tuple[Scope, ...]

    def allows(self, verb: str, model: str | None = None) -> bool:
        """Whether it may do `verb` to `model`; None asks for the verb with any glob."""
        return any(
            scope.verb == verb
            and (model is None or scope.glob == "*" or fnmatch.fnmatchcase(model, scope.glob))
            for scope in self.scopes
        )

    def sees(self, model: str) -> bool:
        """Whether it may know that there is a model of this name: it may do something to it."""
        return any(self.allows(verb, model) for verb in VERBS)


ANONYMOUS = Principal("", "anonymous", tuple(Scope(verb, "*") for verb in VERBS))
"""Everybody, on a server without keys: all of them are processes of this machine."""
NOBODY = Principal("", "nobody", ())
"""A caller of an open route, of whom nothing is known."""
# of the request that this task answers; whoever asks the store without one is the server itself
_caller: ContextVar[Principal] = ContextVar("caller", default=ANONYMOUS)


def admit(principal: Principal) -> None:
    """From here on this task, and threads that it asks, work for `principal`."""
    _caller.set(principal)


def sees(model: str) -> bool:
    """Whether the caller may know of a model: what an error lists is asked here."""
    return _caller.get().sees(model)


def principal_of(scope: MutableMapping[str, Any]) -> Principal:
    """The principal of an ASGI scope that passed `AuthMiddleware`; `NOBODY` if it did not."""
    found = scope.get(PRINCIPAL, NOBODY)
    return found if isinstance(found, Principal) else NOBODY


def require(principal: Principal, verb: str, model: str | None = None) -> None:
    """`Forbidden` unless it may do `verb` to `model` (to anything at all, if None)."""
    if principal.allows(verb, model):
        return
    held = ", ".join(str(scope) for scope in principal.scopes) or "none"
    shown = model[:200] if model else "*"
    raise Forbidden(
        f"Key {principal.name!r} may not {verb} {shown!r}.",
        expected=f"It has the scopes: {held}.",
        remedy=f"Use a key with the scope {verb}:{shown}.",
    )
