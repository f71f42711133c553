"""Settings and a server as `headtail serve` starts it: paired by its code, tried, moved, gone."""

import pytest

from app.servers import Servers
from app.settings.preferences import PreferenceStore
from app.settings.presenter import SettingsPresenter
from tests.companion_server.security.test_whole import served

pytestmark = pytest.mark.slow


def test_the_life_of_a_server_on_the_settings_page(ui, colour_bundle, tmp_path):
    presenter = SettingsPresenter(
        PreferenceStore(tmp_path / "preferences.json"),
        Servers(tmp_path / "servers.json"),
        runtimes=tuple,
        device="this computer",
        system_theme=lambda: None,
        hand_over=ui.hand_over,
    )
    presenter.subscribe(ui.listen)
    try:
        with served(colour_bundle, tmp_path / "state") as told:
            url = told["url"]
            presenter.add_server(told["pairing"])
            state = ui.until(lambda s: not s.busy)
            assert (state.note, state.preferences.server) == (f"Paired with {url}.", url)
            presenter.try_server(url)
            note = ui.until(lambda s: not s.busy).note
            assert note.startswith("It answers and has 1 bundle to offer. ")
            assert note.endswith(" ms there and back.")
            presenter.set_key(url, "")
            ui.until(lambda s: not s.servers[0].has_key)
            presenter.try_server(url)
            assert "Pair this device again" in ui.until(lambda s: s.problem).problem.remedy
        port = int(url.rsplit(":", 1)[1])
        with served(colour_bundle, tmp_path / "another", port):  # set up anew: another certificate
            presenter.try_server(url)
            problem = ui.until(lambda s: s.problem and not s.busy).problem
            assert "has a certificate with fingerprint" in problem.what
        presenter.try_server(url)
        problem = ui.until(lambda s: s.problem and not s.busy).problem
        assert url.removeprefix("https://") in problem.what
        presenter.forget_server(url)
        assert ui.until(lambda s: not s.servers).preferences.server == ""
        assert "ht_" not in (tmp_path / "servers.json").read_text()
    finally:
        presenter.close()
