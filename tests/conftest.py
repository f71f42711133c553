"""One thread for torch, a clean environment, long files first, and a closing count of skips."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.support.once import Once, long_first

# Keras picks its backend at its import, and coremltools imports it (through TensorFlow) in some
# tests before those of Keras models run in the same process.
os.environ["KERAS_BACKEND"] = "torch"


def pytest_configure(config) -> None:
    # pytest-xdist would hand out files by their number of tests: those with few long ones last
    config.option.loadscopereorder = False


@pytest.hookimpl(trylast=True)  # of what is left to run
def pytest_collection_modifyitems(config, items) -> None:
    if hasattr(config, "workerinput"):
        items[:] = long_first(items)


@pytest.fixture(scope="session")
def once(request, tmp_path_factory) -> Once:
    return Once(request.config, tmp_path_factory)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    for key in [key for key in os.environ if key.startswith("HEADTAIL_SERVER_")]:
        monkeypatch.delenv(key)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(once):
    # nothing that an earlier run converted is used, and nobody's cache is filled
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADTAIL_CACHE", str(once.root / "cache"))
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    # two threads are several times slower than one for these sizes
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(1)


def pytest_terminal_summary(terminalreporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in skipped)
    passed = len(terminalreporter.stats.get("passed", []))
    terminalreporter.section("passed and skipped by reason")
    terminalreporter.line(f"{passed} passed")
    for reason, count in reasons.most_common():
        terminalreporter.line(f"{count} skipped: {reason}")
    if not reasons:
        terminalreporter.line("0 skipped")
