"""Which format honours which recipe, generated from the back-ends' own `refusal(recipe)`.

A back-end module is cheap to import: its library is imported inside the function that needs it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from headtail.errors import UnknownName, UsageFault
from quantizers.candidates import stored_size
from quantizers.recipe import RECIPES, Recipe, Storage

if TYPE_CHECKING:
    from quantizers.sites import Site

__all__ = [
    "BACKENDS", "matrix", "needs_plan", "refusal", "remark", "require", "stored", "supported",
]  # fmt: skip

BACKENDS: dict[str, str] = {
    "coreml": "quantizers.coreml_backend",
    "executorch": "quantizers.pt2e_backend",
    "litert": "quantizers.litert_backend",
}


def supported(format: str) -> list[str]:  # noqa: A002  # the field's word
    """Names of the recipes that `format` honours, in the order of `RECIPES`."""
    return [name for name, recipe in RECIPES.items() if refusal(format, recipe) is None]


def refusal(format: str, recipe: Recipe) -> str | None:  # noqa: A002  # the field's word
    """Why `format` cannot honour `recipe`, one clause; None if it can."""
    if format not in BACKENDS:
        raise UnknownName("format", format, BACKENDS)
    found: str | None = importlib.import_module(BACKENDS[format]).refusal(recipe)
    return found


def remark(format: str, recipe: Recipe) -> str | None:  # noqa: A002  # the field's word
    """What a user should know of `recipe` in `format` before waiting for it; None: nothing."""
    if refusal(format, recipe) is not None:
        return None
    said = getattr(importlib.import_module(BACKENDS[format]), "remark", None)
    return said(recipe) if said else None


def stored(format: str, site: Site, storage: Storage) -> int:  # noqa: A002  # the field's word
    """Bytes of a weight in a file of `format` whose recipe stores it so, with float activations."""
    said = getattr(importlib.import_module(BACKENDS[format]), "stored", stored_size)
    found: int = said(site, storage)
    return found


def needs_plan(format: str, recipe: Recipe) -> bool:  # noqa: A002  # the field's word
    """Is there no tool of the format's own that could honour `recipe`?"""
    rounded = all(s.dtype == "i8" for s in recipe.storages if s.quantized)
    own = RECIPES.get(recipe.name) == recipe and (format != "coreml" or recipe.name == "w8")
    return recipe.quantizes and not (rounded and own)


def matrix() -> dict[str, list[str]]:
    """Format -> names of the recipes it honours."""
    return {name: supported(name) for name in BACKENDS}


def require(format: str, recipe: Recipe) -> None:  # noqa: A002  # the field's word
    """Raise `UsageFault` unless `format` honours `recipe`; nothing is silently replaced."""
    reason = refusal(format, recipe)
    if reason is None:
        return
    can = supported(format)
    others = [name for name in BACKENDS if refusal(name, recipe) is None]
    raise UsageFault(
        f"{format} cannot honour {recipe.name}: {reason}.",
        expected=f"{recipe.name} is honoured by: {', '.join(others) or 'no format'}.",
        remedy=f"For {format} choose one of {', '.join(can)}.",
    )
