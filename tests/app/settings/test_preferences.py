"""Preferences: kept over a start, told to everybody, and a file that is not ours stops nothing."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.settings.preferences import MODES, THEMES, Preferences, PreferenceStore
from headtail.errors import UnknownName


@pytest.fixture
def file(tmp_path):
    return tmp_path / "app" / "preferences.json"


def test_a_choice_survives_a_restart(file):
    PreferenceStore(file).change(threads=4, theme="dark", server="https://192.168.1.20:8707")
    again = PreferenceStore(file).state
    assert (again.threads, again.theme) == (4, "dark")
    assert again.server == "https://192.168.1.20:8707"
    assert [path.name for path in file.parent.iterdir()] == ["preferences.json"]


@given(
    st.builds(
        Preferences,
        server=st.text(),
        mode=st.sampled_from(MODES),
        deadline_ms=st.floats(1, 1e5),
        threads=st.integers(1, 64),
        theme=st.sampled_from(THEMES),
        large_text=st.booleans(),
        quota_mb=st.integers(1, 10**6),
    )
)
@settings(deadline=None, max_examples=40)
def test_whatever_is_chosen_is_read_back(tmp_path_factory, chosen):
    file = tmp_path_factory.mktemp("app") / "preferences.json"
    store = PreferenceStore(file)
    store.change(**{name: getattr(chosen, name) for name in chosen.__dataclass_fields__})
    assert PreferenceStore(file).state == chosen


def test_everybody_is_told_once_and_only_of_a_change(file):
    store = PreferenceStore(file)
    told: list[Preferences] = []
    store.subscribe(told.append)
    store.change(threads=2)
    store.change(threads=2)
    assert [state.threads for state in told] == [1, 2]


def test_an_unknown_name_changes_nothing(file):
    store = PreferenceStore(file)
    with pytest.raises(UnknownName, match="light, system"):
        store.change(theme="sepia", threads=3)
    with pytest.raises(UnknownName, match="auto, force, off"):
        store.change(mode="always")
    assert store.state == Preferences()
    assert not file.exists()


def test_an_older_version_wrote_less_and_nothing_of_it_is_lost(file):
    file.parent.mkdir()
    file.write_text(json.dumps({"schema_version": 1, "threads": 3}))
    assert PreferenceStore(file).state == Preferences(threads=3)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"colour":1}',
        b'{"theme":"sepia"}',
        b'{"threads":"two"}',
        b'{"threads":0}',
        b'{"deadline_ms":-1}',  # no frame could be answered by it, and nothing would say why
        b'{"quota_mb":-1}',
        b'{"schema_version":2}',  # a newer app's
    ],
)
def test_a_file_that_is_not_ours_is_put_aside(file, content):
    file.parent.mkdir()
    file.write_bytes(content)
    store = PreferenceStore(file)
    assert store.state == Preferences()
    assert "put aside as preferences.json.bad" in str(store.fault)
    assert not file.exists()
    assert file.with_suffix(".json.bad").read_bytes() == content


def test_a_choice_that_cannot_be_written_holds_and_is_told(tmp_path):
    (tmp_path / "app").write_text("a file where the folder should be")
    store = PreferenceStore(tmp_path / "app" / "preferences.json")
    store.change(threads=2)
    assert store.state.threads == 2
    assert store.fault is not None
    assert "could not be kept" in store.fault.what
    (tmp_path / "app").unlink()
    store.change(threads=3)
    assert store.fault is None
    assert PreferenceStore(tmp_path / "app" / "preferences.json").state.threads == 3


def test_a_bundle_whose_path_is_no_text_holds_until_the_app_ends(file):
    store = PreferenceStore(file)
    store.change(bundle="/models/caf\udce9.bundle")  # as os.fsdecode gives a name in Latin-1
    assert store.state.bundle == "/models/caf\udce9.bundle"
    assert "could not be kept" in str(store.fault)
