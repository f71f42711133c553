"""Converted files kept for the next export of the same program, and used by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from exporters.cache import Cache, copy
from exporters.conversion import Captures, Conversion
from exporters.digests import key
from headtail.manifest import Coverage
from headtail.strictjson import from_json, to_json
from quantizers.recipe import Recipe

__all__ = ["Kept"]


class Kept:
    """Conversions in a cache. `rebuild` finds nothing and keeps all the same."""

    def __init__(self, cache: Cache, *, rebuild: bool) -> None:
        self._cache = cache
        self._rebuild = rebuild

    def take(
        self, captures: Captures, format_name: str, paths: Mapping[Recipe, Path]
    ) -> list[Conversion]:
        """Those of `paths` (file to write by recipe) that are kept, copied into place."""
        found = []
        for recipe, path in paths.items() if not self._rebuild else ():
            entry = self._cache.find(_key(captures, format_name, recipe))
            if entry is not None:
                copy(entry[0], path)
                found.append(_conversion(format_name, recipe, path, entry[1]))
        return found

    def keep(self, captures: Captures, conversions: Sequence[Conversion]) -> None:
        """For the next time."""
        for one in conversions:
            about = {
                "rewrites": dict(one.rewrites),
                "coverage": to_json(one.coverage) if one.coverage else None,
                "seconds": one.seconds,
                "peak_rss_bytes": one.peak_rss_bytes,
            }
            self._cache.keep(_key(captures, one.format, one.recipe), one.path, about)


def _key(captures: Captures, format_name: str, recipe: Recipe) -> str:
    solved = recipe.quantizes and recipe.name in captures.planned  # from the calibration inputs
    needed = recipe.needs_calibration or solved
    calibration = captures.calibration_digest if needed else ""
    heads = {name: list(values) for name, values in captures.heads.items()}
    parts = (captures.digest, heads, format_name, recipe, calibration, captures.metadata)
    return key("conversion", *parts)


def _conversion(
    format_name: str, recipe: Recipe, path: Path, about: Mapping[str, Any]
) -> Conversion:
    coverage = about["coverage"]
    return Conversion(
        format_name,
        recipe,
        path,
        about["rewrites"],
        from_json(Coverage, coverage) if coverage else None,
        about["seconds"],
        about["peak_rss_bytes"],
    )
