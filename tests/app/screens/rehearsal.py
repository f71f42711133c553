"""Runs the app for `test_pages`: one JSON line on stdout of what was seen.

The presenters' states are shown to the pages directly, so that no camera, model or server is needed
and every number below is the pages' own.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PATIENCE_S = 40
LONG = "a" * 100_000
PARTS = 150  # of the about rows; even a fast machine takes several frames for them
STATES = 20  # shown within one frame


class Rehearsal:
    """A generator's steps, one a frame, as `seen` tells them."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.seen: dict[str, Any] = {}
        self.end = time.monotonic() + PATIENCE_S
        self.steps = self.scenes()

    def step(self, _dt: float) -> None:
        if time.monotonic() > self.end:
            self.seen["gave up"] = sorted(self.seen)
            self.app.stop()
            return
        try:
            next(self.steps)
        except StopIteration:
            self.app.stop()

    def scenes(self) -> Iterator[None]:
        yield from self.ahead()
        self.hidden_page()
        self.hidden_pages_of_the_app()
        yield from self.pace()
        self.held()
        self.long_names()
        yield from self.about()

    def ahead(self) -> Iterator[None]:
        """Pages are made while nothing moves, one at a time."""
        shell, live = self.app.shell, self.app.application.live
        before = len(shell._pages)
        live._show(dataclasses.replace(live.state, source=_demo()))
        moving = shell._build_ahead(0.0), len(shell._pages) - before
        live._show(dataclasses.replace(live.state, busy=True, source=_photos()))
        busy = shell._build_ahead(0.0), len(shell._pages) - before
        live._show(dataclasses.replace(live.state, busy=False))
        yield from until(lambda: len(shell._pages) > before)  # nobody called it but the clock
        built = [len(shell._pages)]
        while shell._build_ahead(0.0):
            built.append(len(shell._pages))
        self.seen["ahead"] = {"moving": moving, "busy": busy, "built": built}
        self.seen["on screen"] = [type(child).__name__ for child in shell.ids.body.children]

    def hidden_page(self) -> None:
        """A page's own states."""
        from app.presenter import Presenter
        from app.screens.page import Page

        drawn: list[int] = []
        page, presenter = Page(), Presenter(0)
        page.watch(presenter, drawn.append)
        presenter._show(1)
        page.hide()
        presenter._show(2)
        presenter._show(3)
        hidden = list(drawn)
        page.reveal()
        page.hide()
        page.reveal()  # it missed nothing
        presenter._show(4)
        page.close()
        presenter._show(5)
        self.seen["page"] = {"hidden": hidden, "revealed": drawn}

    def hidden_pages_of_the_app(self) -> None:
        """Benchmark was never seen, Live was left; then each is looked at."""
        from app.pages import PageName
        from app.problems import Problem

        application, pages = self.app.application, self.app.shell._pages
        problem = Problem("What.", "Remedy.", "What. Remedy.")
        presenters = {PageName.BENCHMARK: application.benchmark, PageName.LIVE: application.live}
        application.navigation.go(PageName.REPORT)
        for name, presenter in presenters.items():
            drawn: list[bool] = []
            pages[name].bind(failed=lambda _page, failed, drawn=drawn: drawn.append(failed))
            presenter._show(dataclasses.replace(presenter.state, problem=problem))
            hidden = list(drawn)
            application.navigation.go(name)
            self.seen[name.value] = {"hidden": hidden, "looked at": drawn[:1]}
            presenter.dismiss()

    def pace(self) -> Iterator[None]:
        """Many answers within a frame, then one more after a while."""
        from kivy.clock import Clock

        from app.live import wording
        from app.live.state import Place

        page, live = self.app.shell.page, self.app.application.live
        changes: list[tuple[str, float]] = []
        for _ in range(5):  # what was asked before is drawn, and frames are short again
            yield
        page.bind(pace=lambda _page, pace: changes.append((pace, Clock.get_time())))
        for number in range(STATES):
            live._show(_moving(live.state, p50_ms=number + 1.0))
        last = wording.pace(live.state)
        yield from until(lambda: page.pace == last)
        self.seen["pace"] = {
            "changes": [pace for pace, _ in changes],
            "expected": [wording.pace(_moving(live.state, p50_ms=1.0)), last],
            "apart_s": changes[-1][1] - changes[0][1],
        }
        live._show(_moving(live.state, p50_ms=99.0, place=Place.SPLIT))
        self.seen["elsewhere"] = page.pace, wording.pace(live.state)

    def held(self) -> None:
        """What moves, while Benchmark measures and after."""
        page, live = self.app.shell.page, self.app.application.live

        def seen() -> list[Any]:
            return [page.ids.latency.text, page.ids.pause.disabled, page.ids.pause.name]

        before = seen()
        live.hold("Benchmark")
        self.seen["held"] = {"before": before, "held": seen()}
        live._show(dataclasses.replace(live.state, held="", source=_photos()))

    def long_names(self) -> None:
        """What is drawn of names that are far too long."""
        from app.models.views import CardView, Chip
        from app.screens.report import Fact
        from app.widgets.cards import ModelCard
        from app.widgets.table import Line, TableRow
        from headtail.postprocess import Boxes, Detection, Ranked, Ranking
        from tests.app.live.results import result

        page = self.app.shell.page
        ranking = Ranking((Ranked(LONG, 1, 0.5),))
        boxes = Boxes((Detection(LONG, 1, 0.5, (0.1, 0.1, 0.9, 0.9)),))
        drawn: dict[str, str] = {}
        for kind, seen in (("bar", ranking), ("legend", boxes)):
            live = self.app.application.live
            live._show(dataclasses.replace(live.state, result=result(seen=seen)))
            drawn[kind] = page.ids.bars.children[-1].label
        drawn["box"] = page.ids.overlay.marks()[0]["label"]
        card = ModelCard(lambda _button: None)
        card.show(CardView(LONG, LONG, LONG, chips=(Chip(LONG),)))
        drawn["card"], drawn["subtitle"] = card.title, card.subtitle
        drawn["chip"] = card.ids.chips.children[0].text
        drawn["name"] = Fact(name=LONG, value="").name
        row = TableRow()
        row.show(Line(LONG, LONG, "", 0.0, (), "", "", "", best=False, failed=False))
        drawn["row"] = row.name
        self.seen["long"] = {kind: [len(text), text[-2:]] for kind, text in drawn.items()}
        self.seen["fact"] = len(Fact(name="", value=LONG).value)

    def about(self) -> Iterator[None]:
        """The about rows, more than there ever are, counted after each frame."""
        from app.pages import PageName
        from app.settings.about import Part

        application = self.app.application
        application.navigation.go(PageName.SETTINGS)
        settings, rows = application.settings, self.app.shell.page.ids.about
        yield from until(lambda: settings.state.about is not None and rows.children)
        names = [f"part {number}" for number in range(PARTS)]
        parts = tuple(Part(name, "1.0", "MIT") for name in names)
        settings._show(dataclasses.replace(settings.state, about=parts))
        counts = [len(rows.children)]
        while len(rows.children) < PARTS:
            yield
            counts.append(len(rows.children))
        drawn = [row.name for row in reversed(rows.children)]
        most = max((b - a for a, b in itertools.pairwise(counts)), default=PARTS)
        self.seen["about"] = {"at once": counts[0], "most": most, "in order": drawn == names}


def until(reached: Callable[[], Any]) -> Iterator[None]:
    """Frames until then; the rehearsal's patience ends it otherwise."""
    while not reached():
        yield


def _demo() -> Any:
    from app.live.state import SourceKind

    return SourceKind.DEMO


def _photos() -> Any:
    from app.live.state import SourceKind

    return SourceKind.PHOTOS


def _moving(state: Any, *, p50_ms: float, **changes: Any) -> Any:
    """An answer of what moves, with this median."""
    from app.live.readings import Readings
    from tests.app.live.results import result

    readings = Readings(n=30, p50_ms=p50_ms, p95_ms=100.0, fps=9.0)
    answered = {"result": result(**changes), "readings": readings, "source": _demo()}
    return dataclasses.replace(state, **answered)


def main() -> None:
    """Run it once."""
    from kivy.config import Config

    Config.set("graphics", "width", "412")
    Config.set("graphics", "height", "892")
    Config.set("graphics", "maxfps", "60")
    from kivy.clock import Clock

    from app.kivy_app import HeadtailApp

    app = HeadtailApp(bundle=None, server="", photos=None, folder=Path(os.environ["KIVY_HOME"]))
    app.application.preferences.change(guide_done=True, theme="light")
    rehearsal = Rehearsal(app)
    Clock.schedule_interval(rehearsal.step, 0)
    app.run()
    print(json.dumps(rehearsal.seen))


if __name__ == "__main__":
    main()
