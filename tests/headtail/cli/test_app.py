import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.main import _parser
from headtail.cli.app import command
from tests.app.offscreen import missing_for_screen
from tests.support.capabilities import require

CHECKOUT = Path(__file__).parents[3]
NO_KIVY = "import sys; sys.modules['kivy'] = None\n"
CLOSING = """
from kivy.app import App
from kivy.clock import Clock

def close(_dt):
    print("drawn from", __import__("app").__file__, file=sys.stderr)
    App.get_running_app().stop()

Clock.schedule_once(close, 0.2)
"""


def headtail(folder: Path, *arguments: str, first: str = "", path: Path = CHECKOUT):
    """`headtail ARGUMENTS` in a process of its own, in `folder`, without a screen of its own."""
    kept = {key: value for key, value in os.environ.items() if key != "DISPLAY"}
    run = f"from headtail.cli.main import main\nmain({list(arguments)!r})"
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(path)!r})\n{first}{run}"],
        cwd=folder,
        env={**kept, "HOME": str(folder), "KIVY_HOME": str(folder), "SDL_VIDEODRIVER": "offscreen"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )


def test_options_are_the_apps():
    theirs = {action.dest for action in _parser()._actions} - {"help"}
    assert {parameter.name for parameter in command.params} - {"as_json"} == theirs


def test_without_kivy_it_says_how_to_install_it(tmp_path):
    done = headtail(tmp_path, "app", "--json", first=NO_KIVY)
    assert done.returncode == 3
    assert json.loads(done.stdout)["remedy"] == "Install it with: pip install 'headtail[app]'"


def test_an_installed_wheel_says_that_it_has_no_app(tmp_path):
    site = tmp_path / "site-packages"
    site.mkdir()
    (site / "headtail").symlink_to(CHECKOUT / "headtail")
    done = headtail(tmp_path, "app", "--json", path=site)
    assert done.returncode == 3
    assert json.loads(done.stdout)["expected"].startswith("The installed package holds no app")


@pytest.mark.parametrize("alone", ["--agent", "--out"])
def test_a_job_needs_a_place_for_its_result(tmp_path, alone):
    done = headtail(tmp_path, "app", alone, "some.json", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["remedy"] == "Give both, or neither."


def test_a_job_needs_no_kivy_and_says_what_is_wrong_with_it(tmp_path):
    (tmp_path / "job.json").write_text("{}")
    job = ("--agent", "job.json", "--out", "result.json")
    done = headtail(tmp_path, "app", *job, "--json", first=NO_KIVY)
    assert done.returncode not in (0, 3), done.stderr
    assert json.loads(done.stdout)["good"] is False


@pytest.mark.slow
def test_it_runs_from_any_directory_whatever_else_is_called_app(tmp_path):
    require(not missing_for_screen(), missing_for_screen())
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").write_text("raise RuntimeError('the wrong app')")
    done = headtail(tmp_path, "app", "--json", "--photos", "absent", first=CLOSING)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout) == {"good": True}
    assert f"drawn from {CHECKOUT / 'app' / '__init__.py'}" in done.stderr
