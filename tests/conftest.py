"""One thread for torch, a clean environment, and a closing count of skips by reason."""

from __future__ import annotations

import os
from collections import Counter

import pytest

# Keras picks its backend at its import, and coremltools imports it (through TensorFlow) in some
# tests before those of Keras models run in the same process.
os.environ["KERAS_BACKEND"] = "torch"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    for key in [key for key in os.environ if key.startswith("HEADTAIL_SERVER_")]:
        monkeypatch.delenv(key)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    # nothing that an earlier run converted is used, and nobody's cache is filled
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADTAIL_CACHE", str(tmp_path_factory.mktemp("cache")))
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
