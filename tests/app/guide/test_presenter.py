import pytest

from app.guide.presenter import GuidePresenter
from app.guide.state import STEPS
from app.pages import Navigation, PageName
from app.settings.preferences import PreferenceStore


@pytest.fixture
def file(tmp_path):
    return tmp_path / "preferences.json"


def guide(file):
    return GuidePresenter(PreferenceStore(file), Navigation(), device="this phone")


def pages(made, gestures):
    """The page after each gesture."""
    shown = []
    for gesture in gestures:
        gesture()
        shown.append(made._navigation.state.page)
    return shown


def test_each_step_shows_the_page_on_which_it_is_done(file):
    made = guide(file)
    shown = pages(made, [made.begin, made.advance, made.advance])
    assert shown == [PageName.MODELS, PageName.SETTINGS, PageName.LIVE]
    assert shown == [step.page for step in STEPS]


def test_it_is_shown_once_and_again_when_asked(file):
    made = guide(file)
    made.begin()
    assert made.state.step == 0
    for _ in STEPS:
        made.advance()
    assert made.state.step is None
    again = guide(file)
    again.begin()
    assert again.state.step is None
    again.open()
    assert again.state.step == 0


def test_skipped_it_stays_away_and_leaves_the_page_as_it_is(file):
    made = guide(file)
    made.begin()
    made.skip()
    assert made.state.step is None
    assert made._navigation.state.page is PageName.MODELS
    again = guide(file)
    again.begin()
    assert again.state.step is None


def test_the_back_button_goes_back_and_then_out(file):
    made = guide(file)
    assert not made.back()  # closed: the page's own business
    made.begin()
    made.advance()
    assert made.back()
    assert (made.state.step, made._navigation.state.page) == (0, PageName.MODELS)
    assert made.back()
    assert made.state.step is None
    assert not made.back()


def test_a_gesture_that_comes_after_the_end_does_nothing(file):
    made = guide(file)
    made.advance()
    assert made.state.step is None


def test_what_is_there_already_is_ticked(file):
    store = PreferenceStore(file)
    made = GuidePresenter(store, Navigation(), device="this phone")
    assert made.state.done == (False, False, False)
    store.change(server="https://192.168.1.20:8707")
    made.see(bundle=True, answer=False)
    assert made.state.done == (True, True, False)
    made.see(bundle=True, answer=True)
    store.change(server="")
    assert made.state.done == (True, False, True)
