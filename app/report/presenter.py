"""Behind the Report screen: gathers, saves, shares. What blocks is done on a thread of its own."""

from __future__ import annotations

import dataclasses
import enum
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from app.benchmark.records import Run, now_utc
from app.ending import ENDS_S, ended
from app.live.state import LiveState
from app.machine.facts import Machine
from app.offloading.state import OffloadingState
from app.presenter import HandOver, Presenter
from app.problems import Problem, problem_of
from app.report.contents import (
    SCHEMA_VERSION,
    BundleFacts,
    Report,
    Section,
    as_markdown,
    sections_of,
    software,
)
from app.report.saving import save, shown
from app.report.sharing import Sharing
from app.report.sources import bundle_facts, live_facts, offload_facts, runtime_facts
from headtail.errors import HeadtailError
from headtail.runtimes.base import Runtime

__all__ = ["Phase", "ReportPresenter", "ReportState", "Seen"]

log = logging.getLogger(__name__)


class Phase(enum.Enum):
    """`GATHERING`: not there yet. `SAVING`: files are being written."""

    GATHERING = "gathering"
    READY = "ready"
    SAVING = "saving"


@dataclass(frozen=True)
class ReportState:
    """`sections` as they are shown; `told` is the newest thing to say, such as where it was saved;
    `saved` is that file, None before."""

    phase: Phase = Phase.GATHERING
    sections: tuple[Section, ...] = ()
    saved: Path | None = None
    told: str = ""
    problem: Problem | None = None


@dataclass(frozen=True)
class Seen:
    """What the other pages show now; `trace()` is every decision as JSON lines, "" if none, and may
    be asked on any thread."""

    live: LiveState
    offload: OffloadingState
    run: Run | None
    trace: Callable[[], str]


class ReportPresenter(Presenter[ReportState]):
    """`seen()` is asked on the UI thread, `secrets()` (what must never be in a report) off it."""

    def __init__(
        self,
        folder: Path,
        device: tuple[Machine, Callable[[], Sequence[Runtime]]],
        *,
        seen: Callable[[], Seen],
        secrets: Callable[[], Sequence[str]],
        sharing: Sharing,
        hand_over: HandOver,
    ) -> None:
        super().__init__(ReportState())
        self._folder = folder
        self._machine, self._runtimes = device
        self._seen = seen
        self._secrets = secrets
        self._sharing = sharing
        self._hand_over = hand_over
        self._report: Report | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="report")

    def gather(self) -> None:
        """Look again at everything; the page was opened."""
        seen = self._seen()
        self._change(phase=Phase.GATHERING)
        self._submit(lambda: self._gather(seen))

    def save(self) -> None:
        """Write what is shown into the app's folder."""
        self._write(lambda path: self._change(told=f"Saved as {path}"))

    def share(self, copy: Callable[[str], None]) -> None:
        """Save, then hand the text to the system; `copy` puts a text on the clipboard."""

        def offer(path: Path) -> None:
            try:
                told = self._sharing.share(self.text(), path, copy)
            except Exception as error:  # a phone without an app to share with
                self._change(problem=problem_of(error))
            else:
                self._change(told=told or f"Saved as {path}")

        self._write(offer)

    def copied(self) -> None:
        """The text was put on the clipboard."""
        self._change(told="The report was copied.")

    def text(self) -> str:
        """The report as Markdown, "" before there is one."""
        return "" if self._report is None else as_markdown(self._report)

    def dismiss(self) -> None:
        """Put the error away."""
        self._change(problem=None)

    def close(self, *, timeout_s: float = ENDS_S) -> bool:
        """Let what is being written end; False if it has not after so many seconds."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        return ended(self._thread, timeout_s=timeout_s)

    def _change(self, **changed: object) -> None:
        self._show(dataclasses.replace(self.state, **changed))  # type: ignore[arg-type]  # checked at run time

    def _submit(self, work: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                work()
            except Exception as error:  # the thread's only way to say what went wrong
                log.exception("the report failed")
                problem = problem_of(error)
                self._hand_over(lambda: self._change(phase=Phase.READY, problem=problem))
            finally:
                self._machine.leave_thread()

        self._thread.submit(guarded)

    def _write(self, then: Callable[[Path], None]) -> None:
        report, trace = self._report, self._seen().trace
        if report is None or self.state.phase is not Phase.READY:
            return
        self._change(phase=Phase.SAVING, problem=None)

        def written(path: Path) -> None:
            self._change(phase=Phase.READY, saved=path)
            then(path)

        def work() -> None:
            path = save(report, self._folder, trace=trace(), secrets=self._secrets())
            self._hand_over(lambda: written(path))

        self._submit(work)

    def _gather(self, seen: Seen) -> None:
        report = Report(
            schema_version=SCHEMA_VERSION,
            made_at=now_utc(),
            machine=self._machine.facts(),
            condition=self._machine.condition(),
            software=software(),
            runtimes=tuple(map(runtime_facts, self._runtimes())),
            bundle=_open_bundle(seen.live),
            benchmark=seen.run,
            live=live_facts(seen.live),
            offload=offload_facts(seen.offload),
        )
        public = shown(report, self._secrets())
        sections = sections_of(public)
        self._hand_over(lambda: self._gathered(public, sections))

    def _gathered(self, report: Report, sections: tuple[Section, ...]) -> None:
        self._report = report
        self._change(phase=Phase.READY, sections=sections)


def _open_bundle(live: LiveState) -> BundleFacts | None:
    if live.bundle_path is None or live.bundle is None:
        return None
    try:
        return bundle_facts(live.bundle_path, live.bundle.format, live.bundle.precision)
    except HeadtailError:  # deleted or changed meanwhile: the other parts are still true
        log.info("the open bundle cannot be read", exc_info=True)
        return None
