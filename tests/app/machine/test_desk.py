"""What Linux tells of a desk, and what it does not."""

import dataclasses

import pytest

from app.machine.desk import DeskMachine
from app.machine.facts import Condition


def lay_out(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return DeskMachine(root)


def test_facts_of_a_notebook(tmp_path):
    facts = lay_out(
        tmp_path,
        {
            "proc/cpuinfo": "processor\t: 0\nmodel name\t: Pentium 90\nmodel name\t: other\n",
            "proc/meminfo": "MemTotal:       16384 kB\nMemFree: 1 kB\n",
            "sys/class/dmi/id/sys_vendor": "Acme\n",
            "sys/class/dmi/id/product_name": "Anvil 3\n",
        },
    ).facts()
    assert (facts.device, facts.cpu, facts.memory_bytes) == ("Acme Anvil 3", "Pentium 90", 1 << 24)
    assert facts.cores >= 1


def test_a_board_names_itself_in_the_device_tree(tmp_path):
    machine = lay_out(tmp_path, {"proc/device-tree/model": "Raspberry Pi 5\0"})
    assert machine.facts().device == "Raspberry Pi 5"


def test_no_host_name_is_in_the_facts(tmp_path, monkeypatch):
    monkeypatch.setattr("platform.node", lambda: "alices-laptop")
    facts = DeskMachine().facts()
    assert "alices-laptop" not in str(dataclasses.asdict(facts))


def test_heat_and_battery(tmp_path):
    files = {
        "sys/class/thermal/thermal_zone0/temp": "41000\n",
        "sys/class/thermal/thermal_zone1/temp": "67500\n",
        "sys/class/thermal/thermal_zone2/temp": "broken",
        "sys/class/power_supply/AC/type": "Mains\n",
        "sys/class/power_supply/BAT0/type": "Battery\n",
        "sys/class/power_supply/BAT0/capacity": "83\n",
        "sys/class/power_supply/BAT0/status": "Discharging\n",
    }
    assert lay_out(tmp_path, files).condition() == Condition(None, 67.5, 83, False)
    (tmp_path / "sys/class/power_supply/BAT0/status").write_text("Charging\n")
    assert DeskMachine(tmp_path).condition().charging is True


@pytest.mark.parametrize("answer", ["facts", "condition"])
def test_what_nobody_tells_is_none(tmp_path, monkeypatch, answer):
    monkeypatch.setattr("platform.processor", lambda: "")
    values = dataclasses.asdict(getattr(DeskMachine(tmp_path), answer)())
    told = {"system", "cores", "architecture", "python"}
    assert all(value is None for name, value in values.items() if name not in told)
