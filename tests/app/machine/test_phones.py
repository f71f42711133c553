"""The phones' adapters against doubles with the names of Android's and Apple's own classes.

No phone is here: what is shown is that the right questions are asked, and that a question which a
phone does not know costs nothing but its answer.
"""

from types import SimpleNamespace

import pytest

from app.machine.android import AndroidMachine
from app.machine.facts import Condition
from app.machine.ios import AppleMachine


class MemoryInfo:
    totalMem = 0  # noqa: N815  # Android's own name


def android(*, level=35, thermal=2, percent=64, **changes):
    services = {
        "activity": SimpleNamespace(getMemoryInfo=lambda info: setattr(info, "totalMem", 8 << 30)),
        "power": SimpleNamespace(getCurrentThermalStatus=lambda: thermal),
        "batterymanager": SimpleNamespace(
            isCharging=lambda: True, getIntProperty=lambda number: {4: percent}[number]
        ),
    }
    classes = {
        "android.os.Build": SimpleNamespace(
            MANUFACTURER="Google",
            MODEL="Pixel 8",
            SOC_MANUFACTURER="unknown",
            SOC_MODEL="Tensor G3",
            HARDWARE="shiba",
        ),
        "android.os.Build$VERSION": SimpleNamespace(RELEASE="15", SDK_INT=level),
        "android.app.ActivityManager$MemoryInfo": MemoryInfo,
        "org.kivy.android.PythonActivity": SimpleNamespace(
            mActivity=SimpleNamespace(getSystemService=services.__getitem__)
        ),
    }
    return AndroidMachine((classes | changes).__getitem__)


def test_an_android_phone_tells():
    machine = android()
    facts = machine.facts()
    assert (facts.device, facts.system) == ("Google Pixel 8", "Android 15 (API 35)")
    assert (facts.cpu, facts.memory_bytes) == ("Tensor G3", 8 << 30)
    assert machine.condition() == Condition("moderate", None, 64, True)


def test_an_old_android_has_neither_chip_nor_thermal_status():
    machine = android(level=28)
    assert machine.facts().cpu == "shiba"
    assert machine.condition().thermal is None


def test_an_unknown_battery_is_none_not_minus_two_billion():
    assert android(percent=-(2**31)).condition().battery_percent is None


def test_a_status_of_a_later_android_is_none():
    assert android(thermal=99).condition().thermal is None


def test_a_phone_that_refuses_every_call_costs_nothing_but_the_answers():
    def refuse(name):
        raise RuntimeError(f"JVM exception in {name}")

    machine = AndroidMachine(refuse)
    facts = machine.facts()
    assert (facts.device, facts.cpu, facts.memory_bytes) == (None, None, None)
    assert machine.condition() == Condition(None, None, None, None)


def apple(*, state=2, level=0.5, battery=1, methods=True):
    def member(value):
        return (lambda: value) if methods else value

    def text(value):
        return member(SimpleNamespace(UTF8String=member(value)))

    asked: list[bool] = []
    device = SimpleNamespace(
        model=text("iPhone"),
        systemName=text("iOS"),
        systemVersion=text("18.2"),
        batteryLevel=member(level),
        batteryState=member(battery),
        setBatteryMonitoringEnabled_=asked.append,
    )
    process = SimpleNamespace(physicalMemory=member(6 << 30), thermalState=member(state))
    classes = {
        "UIDevice": SimpleNamespace(currentDevice=lambda: device),
        "NSProcessInfo": SimpleNamespace(processInfo=lambda: process),
    }
    return AppleMachine(classes.__getitem__), asked


@pytest.mark.parametrize("methods", [True, False], ids=["methods", "values"])
def test_an_iphone_tells(methods):
    machine, asked = apple(methods=methods)
    facts = machine.facts()
    assert (facts.device, facts.system, facts.memory_bytes) == ("Apple iPhone", "iOS 18.2", 6 << 30)
    assert machine.condition() == Condition("severe", None, 50, False)
    assert asked  # without monitoring the battery is always unknown
    assert all(on is True for on in asked)


@pytest.mark.parametrize(
    ("state", "thermal"), [(0, "none"), (1, "none"), (2, "severe"), (3, "critical")]
)
def test_apples_states_slow_down_from_serious_on(state, thermal):
    condition = apple(state=state)[0].condition()
    assert condition.thermal == thermal
    assert condition.throttled is (state >= 2)


def test_an_unknown_battery_of_an_iphone_is_none():
    condition = apple(level=-1.0, battery=0)[0].condition()
    assert (condition.battery_percent, condition.charging) == (None, None)


def test_an_iphone_that_refuses_every_call_costs_nothing_but_the_answers():
    nothing: dict[str, object] = {}
    machine = AppleMachine(nothing.__getitem__)
    assert machine.facts().system == "iOS"
    assert machine.condition() == Condition(None, None, None, None)
