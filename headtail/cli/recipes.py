"""What `--recipe` and its budgets ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headtail.errors import UnknownName, UsageFault
from headtail.quality import QualityReport, failures, parse_gates
from headtail.report import ArtifactRow
from quantizers.mixture import NAME as MIXED
from quantizers.mixture import Mixture
from quantizers.recipe import RECIPES, Recipe
from quantizers.recipe_file import read_recipe

__all__ = ["Asked", "asked_for"]


@dataclass(frozen=True)
class Asked:
    """Names of precisions, the recipes of one's own among them, and the budget of `mixed`.

    `budget` are gates, as `--fail-on` takes them, that what is written as `mixed` must pass too.
    """

    precisions: tuple[str, ...]
    recipes: tuple[Recipe, ...]
    mixture: Mixture | None
    budget: tuple[str, ...]

    def failures(
        self, rows: Sequence[ArtifactRow], reports: Sequence[QualityReport], fail_on: Sequence[str]
    ) -> list[str]:
        """A sentence for each gate, the user's or the budget's, that one of `rows` fails."""
        sizes = {(row.format, row.precision): row.bytes for row in rows}
        made = [
            (r, sizes[r.format, r.precision]) for r in reports if (r.format, r.precision) in sizes
        ]
        mixed = [one for one in made if one[0].precision == MIXED]
        return failures(parse_gates(fail_on), made) + failures(parse_gates(self.budget), mixed)


def asked_for(names: Sequence[str], *, max_mb: float | None, min_agreement: float | None) -> Asked:
    """Look every name up before any work is done; raises `UsageFault` for what cannot be."""
    limits = {"size_mb>": max_mb, "agreement<": min_agreement}
    budget = tuple(f"{gate}{limit!r}" for gate, limit in limits.items() if limit is not None)
    if budget and MIXED not in names:
        raise UsageFault(
            f"A budget was given for {', '.join(names)}.",
            expected=f"--max-mb and --min-agreement are what {MIXED} is chosen by.",
            remedy=f"Add --recipe {MIXED}, or use --fail-on to judge other recipes.",
        )
    own = {name: read_recipe(Path(name)) for name in names if name.endswith(".json")}
    twice = [one.name for one in own.values() if [o.name for o in own.values()].count(one.name) > 1]
    if twice:
        raise UsageFault(
            f"Two files hold a recipe called {twice[0]!r}.",
            expected="Artifacts are called by their recipes' names.",
            remedy="Give one of them another name.",
        )
    known = (*RECIPES, MIXED)
    for name in names:
        if name not in (*own, *known):
            raise UnknownName("recipe", name, (*known, "FILE.json"))
    size = None if max_mb is None else round(max_mb * 1e6)
    mixture = Mixture(max_bytes=size, min_agreement=min_agreement) if MIXED in names else None
    precisions = tuple(own[name].name if name in own else name for name in names)
    return Asked(precisions, tuple(own.values()), mixture, budget)
