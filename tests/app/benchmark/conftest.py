"""Bundles with golden vectors, a machine that can get hot, and a UI thread that is the test."""

import queue
from collections.abc import Callable

import pytest

from app.benchmark.bench import Bench
from app.machine.facts import Condition, MachineFacts
from tests.app.benchmark.echo import EchoRuntime
from tests.support.bundles import tiny_bundle

LIMIT_S = 20.0
COOL = Condition("none", 31.0, 80, False)
HOT = Condition("severe", 48.0, 79, False)


class Ui:
    """Calls are queued as in kivy's event loop, and made here, in turn."""

    def __init__(self):
        self.calls: queue.Queue[Callable[[], None]] = queue.Queue()
        self.states = []

    def hand_over(self, call):
        self.calls.put(call)

    def until(self, reached):
        while not (self.states and reached(self.states[-1])):
            self.calls.get(timeout=LIMIT_S)()
        return self.states[-1]


class Toaster:
    """A machine: `conditions` come one after the other, the last one for ever."""

    def __init__(self, *conditions):
        self.conditions = list(conditions or [COOL])
        self.left = 0
        self.model = "Toaster 5"

    def facts(self):
        return MachineFacts(self.model, "ToastOS 3", "crumb", 2, 1 << 30, "aarch64", "3.14.0")

    def condition(self):
        return self.conditions.pop(0) if len(self.conditions) > 1 else self.conditions[0]

    def leave_thread(self):
        self.left += 1


@pytest.fixture
def ui():
    return Ui()


@pytest.fixture
def toaster():
    return Toaster()


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """`tiny.bundle`: LiteRT fp32 and a Core ML folder that nothing here runs."""
    return tiny_bundle(tmp_path_factory.mktemp("bench")).path


@pytest.fixture(scope="session")
def other_bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("bench"), name="other").path


@pytest.fixture
def echo(bundle, other_bundle):
    return EchoRuntime(bundle, other_bundle)


@pytest.fixture
def bench(echo, toaster):
    return Bench(lambda: (echo,), toaster)
