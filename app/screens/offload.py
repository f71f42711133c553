"""The Offload screen: what is allowed, what was decided and why, and how link and times go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kivy.clock import Clock
from kivy.core.clipboard import Clipboard
from kivy.lang import Builder
from kivy.properties import BooleanProperty, StringProperty
from kivy.uix.boxlayout import BoxLayout

from app.application import Application
from app.figures import byte_size, milliseconds, percent
from app.offloading.choices import CutChoice
from app.offloading.state import Decided, OffloadingState
from app.offloading.wording import MODES, codec_note, mode_note, reach, server_line
from app.pages import PageName
from app.screens.page import Page
from app.widgets import forms, plot  # noqa: F401  # their names are used in the .kv
from app.widgets.controls import Banner
from app.widgets.forms import Pick
from headtail.plan import Candidate

__all__ = ["OffloadScreen"]

TICK_S = 0.25
SHOWN_CANDIDATES = 6


class CandidateRow(BoxLayout):  # type: ignore[misc]  # kivy has no types
    """A way to run and what it is predicted to take; `chosen` is the way that is gone."""

    name = StringProperty("")
    value = StringProperty("")
    detail = StringProperty("")
    chosen = BooleanProperty(False)


class OffloadScreen(Page):
    """Draws `OffloadingState`, sends gestures to `application.offloading`."""

    modes = tuple(MODES.items())

    def __init__(self, application: Application, **properties: Any) -> None:
        self.application = application
        self.presenter = application.offloading
        self._drawn: dict[str, Any] = {}
        self._clock = Clock.create_trigger(lambda _dt: self.presenter.tick(), TICK_S, interval=True)
        super().__init__(**properties)
        self.watch(self.presenter, self.show)

    def enter(self) -> None:
        """The page is shown; what the Live page plays goes on, for there to be frames to see."""
        self.presenter.enter()
        self.application.live.enter()
        self._clock()

    def leave(self) -> None:
        """Another page takes its place."""
        self.presenter.leave()
        self.application.live.leave()
        self._clock.cancel()

    def show(self, state: OffloadingState) -> None:
        """Draw `state`."""
        chosen = state.preferences
        self.ids.mode.value = chosen.mode
        self.ids.mode_note.text = mode_note(chosen.mode, state.device)
        self.ids.server.text = server_line(chosen.server)
        self.ids.settings.text = "Another server" if chosen.server else "Choose a server"
        self._show_choices(state)
        self._show_last(state)
        self._show_plots(state)
        self._reuse("candidates", state.candidates[:SHOWN_CANDIDATES], self._candidate)
        self._reuse("decided", state.decided, _decided)
        self.ids.saved.text = state.saved
        if self._drawn.get("problem") != state.problem:
            self._drawn["problem"] = state.problem
            self._show_problem(state)

    def go_to_settings(self) -> None:
        """Where a server is chosen."""
        self.application.navigation.go(PageName.SETTINGS)

    def export(self) -> None:
        """The trace is wanted as a file."""
        self.presenter.export(Clipboard.copy)

    def copy_problem(self) -> None:
        """The error's full text to the clipboard."""
        if self.presenter.state.problem is not None:
            Clipboard.copy(self.presenter.state.problem.full_text)

    def _show_last(self, state: OffloadingState) -> None:
        last = state.decided[0] if state.decided else None
        self.ids.last.text = last.badge if last else "No frame yet"
        waiting = "Open a bundle and point it at something." if not state.bundle else ""
        self.ids.reason.text = last.reason if last else waiting
        self.ids.reach.text = reach(state.breaker, state.wait_s)

    def _show_plots(self, state: OffloadingState) -> None:
        moments = state.moments
        seconds = [moment.time_s for moment in moments]
        for name, columns in PLOTTED.items():
            curves = [[getattr(moment, column) for moment in moments] for column in columns]
            self.ids[name].show(seconds, curves)

    def _show_choices(self, state: OffloadingState) -> None:
        drawn = (state.bundle, state.cuts, state.codecs, state.preferences)
        if self._drawn.get("choices") == drawn:
            return
        self._drawn["choices"] = drawn
        cuts = [("", "The planner chooses", "by the link and both ends' times")]
        cuts += [(cut.id, cut.id, _cut_detail(cut, state.device)) for cut in state.cuts]
        self._picks("cuts", cuts, state.preferences.cut, self.presenter.choose_cut)
        codecs = [("", "The planner chooses", "the fastest of those with eight bits or more")]
        codecs += [(codec, codec, codec_note(codec)) for codec in state.codecs]
        self._picks("codecs", codecs, state.preferences.codec, self.presenter.choose_codec)
        self.ids.no_cuts.text = "" if state.cuts else "The open bundle has no cut for this device."
        if not state.bundle:
            self.ids.no_cuts.text = "Its cuts are listed here once a bundle is open."

    def _picks(
        self, place: str, rows: list[tuple[str, str, str]], chosen: str, choose: Any
    ) -> None:
        self.ids[place].clear_widgets()
        for value, text, detail in rows:
            pick = Pick(text=text, detail=detail, chosen=value == chosen)
            pick.bind(on_release=lambda _pick, value=value: choose(value))
            self.ids[place].add_widget(pick)

    def _reuse(self, place: str, rows: Any, describe: Any) -> None:
        """Write the rows into the widgets that are there; make or drop as many as differ."""
        held = self.ids[place]
        while len(held.children) > len(rows):
            held.remove_widget(held.children[0])
        while len(held.children) < len(rows):
            held.add_widget(CandidateRow())
        for widget, row in zip(reversed(held.children), rows, strict=True):
            widget.name, widget.value, widget.detail, widget.chosen = describe(row)

    def _candidate(self, candidate: Candidate) -> tuple[str, str, str, bool]:
        decision = self.presenter.state.decision
        way = (candidate.cut or "", candidate.codec or "")
        chosen = decision is not None and (decision.cut, decision.codec) == way
        parts = [f"here {milliseconds(candidate.device_ms)}"]
        if candidate.cut:
            server, out = milliseconds(candidate.server_ms), byte_size(candidate.bytes_up)
            parts += [f"server {server}", f"{out} out"]
            if candidate.fidelity is not None:
                parts.append(f"{candidate.fidelity:.1%} same answers")
        detail = candidate.refused or ", ".join(parts)
        return candidate.name, milliseconds(candidate.total_ms), detail, chosen

    def _show_problem(self, state: OffloadingState) -> None:
        if state.problem is None:
            self.announce()
            return
        banner = Banner(what=state.problem.what, remedy=state.problem.remedy)
        banner.bind(on_copy=lambda _banner: self.copy_problem())
        banner.bind(on_dismiss=lambda _banner: self.presenter.dismiss())
        self.announce(banner)


PLOTTED = {  # plot -> the fields of a Moment that it draws, in the order of its names
    "times": ("local_ms", "remote_ms", "total_ms"),
    "round_trip": ("rtt_ms",),
    "rate": ("up_mbit_s", "down_mbit_s"),
    "bytes": ("kilobytes_up",),
}


def _cut_detail(cut: CutChoice, device: str) -> str:
    return f"{percent(cut.share)} of the work on {device}, {byte_size(cut.bytes_up)} a frame"


def _decided(decided: Decided) -> tuple[str, str, str, bool]:
    frames = f"{decided.frames} frame{'' if decided.frames == 1 else 's'}"
    return decided.badge, frames, decided.reason, False


Builder.load_file(str(Path(__file__).with_suffix(".kv")))
