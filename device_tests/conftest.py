"""`pytest device_tests --bundle PATH --target NAME [--report OUT.json]`.

Tests are made from the bundle's manifest: one per artifact and entry point. What cannot run is
skipped with the reason and the cure; what this target never runs is skipped, too, and the report
lists it as not run. Under `HEADTAIL_REQUIRE_ALL=1` what could be cured fails instead.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from device_tests.replay import Replays
from device_tests.results import table, write_report
from device_tests.session import Session
from device_tests.targets import TARGETS, open_target
from device_tests.targets.base import Target
from headtail.bundle import open_bundle
from headtail.errors import EnvironmentFault, HeadtailError
from headtail.manifest import Artifact
from tests.support.capabilities import require

SESSION = pytest.StashKey[Session]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("headtail device tests")
    group.addoption("--bundle", type=Path, help="the bundle to check: a folder or a .zip")
    group.addoption("--target", default="host", help=f"one of: {', '.join(TARGETS)}")
    group.addoption("--report", type=Path, help="write a JSON report to this file")


def pytest_configure(config: pytest.Config) -> None:
    path: Path | None = config.getoption("--bundle", default=None)
    report: Path | None = config.getoption("--report", default=None)
    if path is None:
        raise pytest.UsageError(
            "No bundle was given. The device tests check one bundle."
            " Run: pytest device_tests --bundle PATH [--target NAME]"
        )
    if report is not None and not report.absolute().parent.is_dir():
        raise pytest.UsageError(
            f"--report {report}: there is no folder {report.absolute().parent}."
            " A report goes into a folder that exists. Make it first."
        )
    try:
        target = open_target(config.getoption("--target"))
        bundle = open_bundle(path)
        host = open_target("host") if target.name != "host" else target
        config.stash[SESSION] = Session(bundle, target, Replays(bundle, target, host), report)
    except HeadtailError as error:
        raise pytest.UsageError(str(error)) from None
    config.add_cleanup(target.close)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    session = metafunc.config.stash[SESSION]
    artifacts = session.bundle.manifest.artifacts
    if "job" in metafunc.fixturenames:
        # bad input meets the runner and the runtime, not the weights: one file per format is enough
        support = session.target.formats()
        artifacts = tuple(
            a for a in artifacts if a.precision == "fp32" and not support[a.format].never
        )
    names = [f"{a.format}.{a.precision}" for a in artifacts]
    if "entry" in metafunc.fixturenames:
        pairs = [(a, entry) for a in artifacts for entry in a.entries]
        ids = [
            f"{name}-{e.name}" for name, a in zip(names, artifacts, strict=True) for e in a.entries
        ]
        metafunc.parametrize(("artifact", "entry"), pairs, ids=ids)
    elif "artifact" in metafunc.fixturenames:
        metafunc.parametrize("artifact", artifacts, ids=names)


@pytest.fixture(scope="session")
def session(pytestconfig: pytest.Config) -> Session:
    return pytestconfig.stash[SESSION]


@pytest.fixture(scope="session")
def unready(session: Session) -> str:
    """Why the target cannot be used, or ""."""
    try:
        session.target.start()
        session.facts = session.target.describe()
    except EnvironmentFault as fault:
        return str(fault)
    return ""


@pytest.fixture
def target(session: Session, unready: str) -> Target:
    require(not unready, unready)
    return session.target


@pytest.fixture
def runnable(session: Session, unready: str, artifact: Artifact) -> Artifact:
    """The artifact, if this target runs its format."""
    support = session.target.formats()[artifact.format]
    reason = support.never or unready or support.missing
    if reason:
        session.leave_out(artifact, reason)
    if support.never:
        pytest.skip(f"not run on {session.target.name}: {support.never}")
    require(not reason, reason)
    return artifact


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    outcomes = item.config.stash[SESSION].outcomes
    # a test passes by its call; its set-up and tear-down can only make it worse
    if report.when == "call" or report.outcome != "passed":
        outcomes[item.nodeid] = report.outcome
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    ours = session.config.stash[SESSION]
    if ours.report_path is not None:
        write_report(ours.report(), ours.report_path)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    terminalreporter.section("device tests")
    terminalreporter.write_line(table(config.stash[SESSION].report()))
