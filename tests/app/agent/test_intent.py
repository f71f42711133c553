"""What an intent can ask for: a folder of the app's own by a plain name, nothing else."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.agent.intent import EXTRA, asked_for, job_folder, serve_intent
from headtail.strictjson import parse
from tests.app.agent.test_schema import BUNDLE


@pytest.mark.parametrize("name", ["job1-2", "a", "A_b-9" * 12])
def test_a_plain_name_is_a_folder_of_the_apps_own(name):
    assert asked_for({EXTRA: name}.get) == name
    assert job_folder(Path("/data/app/files"), name) == Path("/data/app/files/agent") / name


@pytest.mark.parametrize("name", [None, "", "..", "a/b", "/etc", "a b", "-a", "x" * 65, "a\n", 7])
def test_anything_else_is_not_heard(name):
    assert asked_for({EXTRA: name}.get) is None


class Activity:
    """`PythonActivity.mActivity`, of which `finishAndRemoveTask` is counted."""

    def __init__(self, extras):
        self._extras = extras
        self.finished = 0

    def getIntent(self):  # noqa: N802  # Android's own name
        return SimpleNamespace(getStringExtra=self._extras.get)

    def finishAndRemoveTask(self):  # noqa: N802  # Android's own name
        self.finished += 1


@pytest.fixture
def phone(monkeypatch, tmp_path):
    """`phone(extras)`: Android as far as an intent sees it; the app's folder is `tmp_path`."""

    def start(extras):
        activity = Activity(extras)
        double = SimpleNamespace(autoclass=lambda _name: SimpleNamespace(mActivity=activity))
        monkeypatch.setitem(sys.modules, "jnius", double)
        monkeypatch.setenv("ANDROID_ARGUMENT", "/data")
        monkeypatch.setenv("ANDROID_PRIVATE", str(tmp_path))
        return activity

    return start


def test_the_job_of_an_intent_is_done_confined_and_the_app_ends(phone, tmp_path):
    folder = tmp_path / "agent" / "job1"
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps(BUNDLE | {"bundle": "../../servers.json"}))
    activity = phone({EXTRA: "job1"})
    assert serve_intent() is True
    assert "not a plain path" in parse((folder / "result.json").read_bytes())["message"]
    assert activity.finished == 1


def test_an_intent_for_a_folder_that_is_not_there_writes_nothing(phone, tmp_path):
    activity = phone({EXTRA: "job1"})
    assert serve_intent() is True
    assert list(tmp_path.iterdir()) == []
    assert activity.finished == 1


def test_an_intent_without_the_extra_opens_the_window(phone):
    activity = phone({})
    assert serve_intent() is False
    assert activity.finished == 0


def test_off_android_there_are_no_intents(monkeypatch):
    for key in ("KIVY_BUILD", "P4A_BOOTSTRAP", "ANDROID_ARGUMENT"):
        monkeypatch.delenv(key, raising=False)
    assert serve_intent() is False
