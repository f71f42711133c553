"""The app and a server as it is by default: a code in the place of an address, and what follows."""

import pytest

from app.live.presenter import LivePresenter
from app.live.state import Mode, Place
from app.platforms import find_platform
from app.sources.photo import photo_file
from companion_server.security.keys import KeyRing
from tests.companion_server.security.test_whole import keys, served

pytestmark = pytest.mark.slow


def answered(state):
    return not state.busy and state.result is not None and state.mode is Mode.OFFLOAD


@pytest.fixture
def started(ui, tmp_path):
    """Start the app on this device's data; what is open is closed after the test."""
    running = []

    def start():
        desk = find_platform("linux")
        paired = tmp_path / "servers.json"
        running.append(
            LivePresenter(
                desk.runtimes(), device=desk.device, paired=paired, hand_over=ui.hand_over
            )
        )
        running[-1].subscribe(ui.listen)
        return running[-1]

    yield start
    assert all(controller.close() for controller in running)


def test_a_code_is_enough(started, ui, colour_bundle, red_photo, tmp_path):
    with served(colour_bundle, tmp_path / "state") as told:
        controller = started()
        controller.add_photos([photo_file(red_photo)])
        controller.set_mode(Mode.OFFLOAD)
        controller.set_server(told["pairing"])
        controller.open_bundle(colour_bundle)
        state = ui.until(answered)
        assert (state.result.place, state.server) == (Place.SPLIT, told["url"])
        assert state.result.ranked[0].label == "red"
        again = started()
        again.add_photos([photo_file(red_photo)])
        again.set_mode(Mode.OFFLOAD)
        again.set_server(told["url"])
        again.open_bundle(colour_bundle)
        state = ui.until(lambda s: answered(s) and s is again.state)
        assert state.result.place is Place.SPLIT
        (own,) = [r for r in KeyRing(tmp_path / "state").records() if len(r.scopes) == 2]
        keys(tmp_path / "state", "revoke", own.id)
        again.choose(again.state.chosen)
        state = ui.until(lambda s: answered(s) and s.result.place is Place.FALLBACK)
        assert state.result.badge == "local (key refused)"
        assert "Pair this device again" in state.result.reason
