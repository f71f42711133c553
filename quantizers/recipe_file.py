"""A recipe of one's own, as a JSON file.

    {
      "name": "mine",
      "weights": "i8",
      "activations": "i8", "activation_mode": "static",
      "rules": [{"match": "head.*", "weights": "f32"}, {"match": "*", "ops": ["stem"], "weights": "f32"}]
    }

What is left out has the defaults of `quantizers.recipe`.
"""  # noqa: E501  # the last rule on one line, as people write them

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from headtail.errors import HeadtailError, SchemaFault, UsageFault
from headtail.strictjson import from_json, parse, to_json
from quantizers.mixture import NAME as MIXED
from quantizers.recipe import RECIPES, Recipe, Rule

__all__ = ["read_recipe"]

_NAME = re.compile(r"[a-z0-9][a-z0-9_]{0,31}")
_MAX_BYTES = 1 << 20


def read_recipe(path: Path) -> Recipe:
    """The recipe in `path`; raises `UsageFault` if there is none, or none that can be used."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise _refused(path, f"It has more than {_MAX_BYTES} bytes.")
        said = parse(path.read_bytes())
    except OSError as error:
        raise _refused(path, f"It cannot be read: {error.strerror}.") from None
    except SchemaFault as error:
        raise _refused(path, f"{error.what}") from None
    try:
        found = from_json(Recipe, _filled(said))
    except HeadtailError as error:
        raise _refused(path, error.what) from None
    if not _NAME.fullmatch(found.name):
        raise _refused(
            path, f"The name {found.name!r} is not 1 to 32 of a-z, 0-9 and _, as in file names."
        )
    if found.name in (*RECIPES, MIXED):
        raise _refused(path, f"The name {found.name!r} is taken: headtail list has all of them.")
    if not found.quantizes:
        raise _refused(path, "It quantizes no weight; fp32 and fp16 are there already.")
    return found


def _filled(said: Any) -> Any:
    """With the defaults that the strict reader wants to be told."""
    if not isinstance(said, dict):
        return said
    rules = said.get("rules", [])
    if isinstance(rules, list):
        rules = [_defaults(Rule) | rule if isinstance(rule, dict) else rule for rule in rules]
    return _defaults(Recipe) | said | {"rules": rules}


def _defaults(kind: type[Recipe] | type[Rule]) -> dict[str, Any]:
    return {f.name: to_json(f.default) for f in fields(kind) if f.default is not MISSING}


def _refused(path: Path, why: str) -> UsageFault:
    return UsageFault(
        f"{path} is no recipe. {why}",
        expected='JSON like {"name": "mine", "weights": "i8", "rules": [{"match": "head.*", '
        '"weights": "f32"}]}; docs/quantization.md has all keys.',
        remedy="Correct the file, or choose a recipe of headtail list.",
    )
