"""The page at `/`: one HTML document with its style and script inside, put together at import.

It holds no figures: its script reads `/v2/status` with a key that is typed into it. Names that
clients and bundles chose become text nodes, never markup. Colours are the report page's.
"""

from __future__ import annotations

from pathlib import Path

from headtail.report_page.style import DARK, LIGHT

__all__ = ["status_page"]

FOLDER = Path(__file__).parent / "page"
STYLE, SCRIPT = "/*style*/", "/*script*/"


def status_page() -> bytes:
    """The document, UTF-8."""
    html = (FOLDER / "page.html").read_text(encoding="utf-8")
    style = (FOLDER / "page.css").read_text(encoding="utf-8")
    script = (FOLDER / "page.js").read_text(encoding="utf-8")
    return html.replace(STYLE, _colours() + style).replace(SCRIPT, script).encode()


def _colours() -> str:
    light, dark = (
        "".join(f"--{name}:{value};" for name, value in colours.items())
        for colours in (
            {**LIGHT, "accent": LIGHT["one"], "on-accent": "#ffffff"},
            {**DARK, "accent": DARK["one"], "on-accent": DARK["paper"]},
        )
    )
    return (
        f":root{{color-scheme:light dark;{light}}}\n"
        f"@media(prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
    )
