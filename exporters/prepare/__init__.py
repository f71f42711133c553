"""Rewriting a captured graph so that a target runs it fast, or runs it at all.

    prepared = prepare(graph, example, "executorch")
    prepared.graph, prepared.applied      # the rewritten graph; which rewrites did something

A rewrite is one file with one function `rewrite(graph) -> number of places changed`; `table.py`
lists which target takes which rewrite, in which order and why. Every rewrite that changed something
is proven on the spot: the graph must still give the same answer to a real input.
"""

from exporters.prepare.preparation import EQUAL_DB, Applied, Prepared, Undone, prepare
from exporters.prepare.table import REWRITES, Rewrite, rewrites_for

__all__ = [
    "EQUAL_DB",
    "REWRITES",
    "Applied",
    "Prepared",
    "Rewrite",
    "Undone",
    "prepare",
    "rewrites_for",
]
