"""The app and a server as it is by default: a code in the place of an address, and what follows."""

import pytest

from app.live.presenter import LivePresenter
from app.live.state import Place
from app.platforms import find_platform
from app.servers import Servers
from app.settings.preferences import PreferenceStore
from app.sources.photo import photo_file
from companion_server.security.keys import KeyRing
from companion_server.security.scopes import Scope
from tests.companion_server.security.test_whole import keys, served

pytestmark = pytest.mark.slow


def answered(state):
    return not state.busy and state.result is not None and state.choices.mode == "force"


@pytest.fixture
def started(ui, tmp_path):
    """Start the app on this device's data; what is open is closed after the test."""
    running = []

    def start():
        preferences = PreferenceStore(tmp_path / "preferences.json")
        servers = Servers(tmp_path / "servers.json")
        live = LivePresenter(find_platform("linux"), preferences, servers, hand_over=ui.hand_over)
        live.subscribe(ui.listen)
        running.append(live)
        return live, preferences, servers

    yield start
    assert all(live.close() for live in running)


def test_a_code_is_enough(started, ui, colour_bundle, red_photo, tmp_path):
    with served(colour_bundle, tmp_path / "state") as told:
        first, preferences, _ = started()
        first.add_photos([photo_file(red_photo)])
        preferences.change(server=told["pairing"], mode="force")
        first.open_bundle(colour_bundle)
        state = ui.until(lambda s: answered(s) and s.choices.server == told["url"])
        assert state.result.place is Place.SPLIT
        assert preferences.state.server == told["url"]
        assert state.result.ranked[0].label == "red"
        again, _, servers = started()
        again.add_photos([photo_file(red_photo)])
        again.open_bundle(colour_bundle)
        state = ui.until(lambda s: answered(s) and s is again.state)
        assert state.result.place is Place.SPLIT
        (own,) = [r for r in KeyRing(tmp_path / "state").records() if len(r.scopes) == 2]
        keys(tmp_path / "state", "revoke", own.id)
        again.choose(again.state.chosen)
        state = ui.until(lambda s: answered(s) and s.result.place is Place.FALLBACK)
        assert state.result.badge == "local (key refused)"
        assert "Pair this device again" in state.result.reason
        key, _ = KeyRing(tmp_path / "state").add(
            "the same phone", scopes=tuple(map(Scope.parse, own.scopes))
        )
        servers.set_key(told["url"], key)
        again.choose(again.state.chosen)  # neither the server nor the bundle was chosen anew
        ui.until(lambda s: answered(s) and s.result.place is Place.SPLIT)
