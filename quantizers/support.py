"""Which format honours which recipe, generated from the back-ends' own `HONOURS` declarations.

A back-end module is cheap to import: its library is imported inside the function that needs it.
"""

from __future__ import annotations

import importlib

from headtail.errors import UnknownName, UsageFault
from quantizers.recipe import RECIPES, Recipe

__all__ = ["BACKENDS", "matrix", "require", "supported"]

BACKENDS: dict[str, str] = {
    "coreml": "quantizers.coreml_backend",
    "executorch": "quantizers.pt2e_backend",
    "litert": "quantizers.litert_backend",
}


def supported(format: str) -> list[str]:  # noqa: A002  # the field's word
    """Names of the recipes that `format` honours, in the order of `RECIPES`."""
    if format not in BACKENDS:
        raise UnknownName("format", format, BACKENDS)
    honours: frozenset[str] = importlib.import_module(BACKENDS[format]).HONOURS
    return [name for name in RECIPES if name in honours]


def matrix() -> dict[str, list[str]]:
    """Format -> names of the recipes it honours."""
    return {name: supported(name) for name in BACKENDS}


def require(format: str, recipe: Recipe) -> None:  # noqa: A002  # the field's word
    """Raise `UsageFault` unless `format` honours `recipe`; nothing is silently replaced."""
    can = supported(format)
    if recipe.name in can:
        return
    others = [name for name in BACKENDS if recipe.name in supported(name)]
    raise UsageFault(
        f"{format} cannot honour {recipe.name}.",
        expected=f"{recipe.name} is honoured by: {', '.join(others) or 'no format'}.",
        remedy=f"For {format} choose one of {', '.join(can)}.",
    )
