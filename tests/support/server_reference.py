"""The tables of docs/server.md that are made from the code.

`python -m tests.support.server_reference` writes them anew; a test holds the page against them.
"""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

from companion_server.operations.metrics import Metrics
from companion_server.operations.reasons import CONNECTION_REASONS, SHED_REASONS
from companion_server.security.access import ROUTES
from companion_server.settings import Settings

GUIDE = Path(__file__).parents[2] / "docs" / "server.md"
STATE_DIR = "`$XDG_STATE_HOME/headtail/server`"


def tables() -> dict[str, str]:
    """Name of a table -> its Markdown."""
    return {
        "settings": _table(("setting", "default", "what it is"), _settings()),
        "metrics": _table(("metric", "kind", "labels", "what it counts"), _metrics()),
        "shed": _table(("reason", "when"), SHED_REASONS.items()),
        "connections": _table(("reason", "when"), CONNECTION_REASONS.items()),
        "routes": _table(("route", "scope"), ((f"`{k}`", v) for k, v in ROUTES.items())),
    }


def with_tables(page: str) -> str:
    """`page` with what stands between `<!-- NAME -->` and `<!-- /NAME -->` made anew."""
    for name, table in tables().items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        found = pattern.findall(page)
        assert len(found) == 1, f"docs/server.md has the table {name!r} {len(found)} times"
        page = pattern.sub("".join((found[0][0], table, found[0][1])).replace("\\", r"\\"), page)
    return page


def _table(head: tuple[str, ...], rows: Any) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def _settings() -> list[tuple[str, str, str]]:
    (tree,) = ast.parse(inspect.getsource(Settings)).body
    assert isinstance(tree, ast.ClassDef)
    said = {}
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            assert isinstance(field.target, ast.Name)
            assert isinstance(text.value, ast.Constant)
            said[field.target.id] = " ".join(str(text.value.value).split())
    return [(f"`{name}`", _default(name), said[name]) for name in Settings.model_fields]


def _default(name: str) -> str:
    field = Settings.model_fields[name]
    if name == "state_dir":
        return STATE_DIR
    value = field.default
    if value is None or value == ():
        return "none"
    if name.endswith(("_bytes", "_memory")) and value % (1 << 20) == 0:
        return f"{value} ({value >> 20} MiB)"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _metrics() -> list[tuple[str, str, str, str]]:
    rows = []
    for family in Metrics().collect():
        suffix = "_total" if family.type == "counter" else ""
        labels = ", ".join(getattr(family, "_labelnames", ()))
        if family.name == "headtail_build_info":
            labels = "version, python, torch"
        rows.append((f"`{family.name}{suffix}`", family.type, labels, family.documentation))
    return rows


if __name__ == "__main__":
    GUIDE.write_text(with_tables(GUIDE.read_text("utf-8")), "utf-8")
