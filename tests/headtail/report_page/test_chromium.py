"""The page in a real browser: nothing sticks out at any width, and nothing is asked of a network.

A wrapper shows the page in frames of several widths and writes what it measures into its own
document, which `--dump-dom` prints; what a frame asked for is in its own list of resources. The
browser resolves no name: its own calls home end there too.
"""

import json
import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest

from headtail.report_page import contents, to_html
from tests.support.capabilities import require
from tests.support.reports import full_manifest, full_report

WIDTHS = (320, 400, 768, 1280)
FLAGS = (
    "--headless",
    "--hide-scrollbars",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)
MEASURE = """
onload = () => {
  const found = [...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument, wide = page.documentElement.clientWidth;
    const inside = element => element.closest(".scroll");
    const out = [...page.body.querySelectorAll("*")].filter(element =>
      !inside(element) && element.getBoundingClientRect().right > wide + 1);
    return {
      width: wide,
      scroll: page.documentElement.scrollWidth,
      out: out.map(element => element.outerHTML.slice(0, 90)),
      paper: getComputedStyle(page.body).backgroundColor,
      pictures: [...page.images].filter(image => image.naturalWidth > 0).length,
      marks: page.querySelectorAll("svg .mark").length,
      asked: frame.contentWindow.performance.getEntriesByType("resource").map(one => one.name),
      tables: page.querySelectorAll("table").length,
    };
  });
  document.body.innerHTML = "";
  document.body.dataset.found = JSON.stringify(found);
};
"""


def browser() -> str:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    require(found is not None, "Chromium is not installed: bash .ci/packages.sh")
    return found or ""


def drawn(page: str, folder: Path, *, scheme: str) -> list[dict[str, Any]]:
    """What the wrapper measured at each width."""
    program = browser()
    frames = "".join(
        f'<iframe style="width:{width}px;height:900px;border:0" srcdoc="{escape(page)}"></iframe>'
        for width in WIDTHS
    )
    wrapper = folder / "wrapper.html"
    wrapper.write_text(f"<!doctype html><script>{MEASURE}</script><body>{frames}</body>")
    done = subprocess.run(
        [
            program,
            *FLAGS,
            f"--user-data-dir={folder / 'profile'}",
            f"--blink-settings=preferredColorScheme={scheme}",
            "--window-size=1400,1000",
            "--dump-dom",
            wrapper.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found = re.search(r'data-found="([^"]*)"', done.stdout)
    assert found, done.stderr[-2000:]
    measured: list[dict[str, Any]] = json.loads(unescape(found[1]))
    return measured


LIGHT, DARK = "1", "0"  # blink's mojom::PreferredColorScheme


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "paper"), [(LIGHT, "252, 252, 250"), (DARK, "19, 21, 23")])
def test_nothing_sticks_out_and_nothing_is_asked_for(tmp_path, scheme, paper):
    page = to_html(contents(full_manifest(), full_report()))
    measured = drawn(page, tmp_path, scheme=scheme)
    assert [one["width"] for one in measured] == list(WIDTHS)
    for one in measured:
        assert one["out"] == []
        assert one["scroll"] == one["width"]
        assert one["paper"] == f"rgb({paper})"
        assert (one["pictures"], one["tables"]) == (3, 5)
        assert one["marks"] > 5
        assert [address for address in one["asked"] if not address.startswith("data:")] == []


@pytest.mark.slow
def test_the_measurements_can_fail(tmp_path):
    """A page that is too wide, and asks for something, is found out."""
    page = '<body><p style="width:5000px">x</p><img src="http://127.0.0.1:9/x.png"></body>'
    measured = drawn(page, tmp_path, scheme=LIGHT)
    assert all(one["out"] and one["scroll"] != one["width"] for one in measured)
    assert all(one["asked"] == ["http://127.0.0.1:9/x.png"] for one in measured)
