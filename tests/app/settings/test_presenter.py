"""Settings without a window: a real server to pair with, and a UI thread that is the test."""

import dataclasses
import socket
import threading
import time

import pytest

from app.servers import Servers
from app.settings.leaving import Sent
from app.settings.preferences import PreferenceStore
from app.settings.presenter import SettingsPresenter
from tests.app.live.results import result
from tests.app.paired_server import paired_server
from tests.app.settings.test_machine import RUNTIMES


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with paired_server(tmp_path_factory.mktemp("state")) as made:
        yield made


@pytest.fixture
def started(ui, tmp_path):
    """Start on this device's data; what is open is closed after the test."""
    running = []

    def start(system_theme=lambda: None):
        preferences = PreferenceStore(tmp_path / "preferences.json")
        presenter = SettingsPresenter(
            preferences,
            Servers(tmp_path / "servers.json"),
            runtimes=lambda: RUNTIMES,
            device="this phone",
            system_theme=system_theme,
            hand_over=ui.hand_over,
        )
        running.append(presenter)
        presenter.subscribe(ui.listen)
        return presenter

    yield start
    for presenter in running:
        presenter.close()


def idle(state):
    return not state.busy


def paired(presenter, ui, code):
    presenter.add_server(code)
    assert presenter.state.busy == "Pairing"
    return ui.until(idle)


def test_a_code_pairs_and_the_server_is_in_use_after_a_restart(started, ui, served):
    state = paired(started(), ui, f" {served.pairing.offer().uri} ")
    assert state.note == f"Paired with {served.url}."
    assert state.problem is None
    (server,) = state.servers
    assert (server.address, server.has_key) == (served.url, True)
    again = started()
    assert again.state.preferences.server == served.url
    again.enter()
    assert ui.until(lambda s: s.servers and s is again.state).servers == (server,)


def test_a_spent_code_and_a_changed_certificate_and_nobody_there_say_so(started, ui, served):
    presenter = started()
    code = served.pairing.offer().uri
    Servers(None).pair(code)
    assert "The pairing token is not open" in paired(presenter, ui, code).problem.what
    other = served.pairing.offer().uri.replace(served.certificate.fingerprint, "ab" * 32)
    assert "has a certificate with fingerprint" in paired(presenter, ui, other).problem.what
    nobody = served.pairing.offer().uri.replace(served.url.split(":")[-1], "9")
    assert "127.0.0.1:9" in paired(presenter, ui, nobody).problem.what
    assert presenter.state.preferences.server == ""
    presenter.dismiss()
    assert presenter.state.problem is None


def test_an_address_is_added_named_and_forgotten(started, ui):
    presenter = started()
    address = "http://192.168.1.20:8707"
    presenter.add_server(address + "/")
    state = ui.until(idle)
    assert (state.preferences.server, state.note) == (address, f"Added {address}.")
    presenter.open_server(address)
    assert presenter.state.opened == address
    presenter.rename_server(address, "The box")
    ui.until(lambda s: s.servers[0].name == "The box")
    presenter.forget_server(address)
    state = ui.until(lambda s: not s.servers)
    assert state.preferences.server == ""
    assert state.note == "Forgotten, and its key with it."


def test_what_is_no_address_is_told_and_nothing_is_added(started, ui):
    presenter = started()
    presenter.type_server("ftp://x")
    assert presenter.state.complaints.server
    presenter.add_server("ftp://x")
    state = ui.until(idle)
    assert "not a companion server's address" in state.problem.what
    assert (state.servers, state.preferences.server) == ((), "")
    presenter.add_server("   ")
    assert not presenter.state.busy


def test_a_key_is_checked_as_it_is_typed_and_kept(started, ui):
    presenter = started()
    presenter.add_server("http://192.168.1.20:8707")
    ui.until(idle)
    presenter.type_key("ht")
    assert presenter.state.complaints.key.startswith("A key reads ht_")
    presenter.type_key("ht_0a_xyz")
    assert presenter.state.complaints.key == ""
    presenter.set_key("http://192.168.1.20:8707", " ht_0a_xyz ")
    assert ui.until(lambda s: s.servers[0].has_key).note == "The key is kept on this device."
    presenter.set_key("http://192.168.1.20:8707", "")
    ui.until(lambda s: not s.servers[0].has_key)
    presenter.set_key("http://192.168.1.20:8707", "hunter2")
    assert "not an API key" in ui.until(lambda s: s.problem is not None).problem.what


def test_a_test_of_nobody_says_that_nobody_answers(started, ui):
    presenter = started()
    presenter.try_server("http://127.0.0.1:9")
    assert presenter.state.busy == "Asking the server"
    state = ui.until(idle)
    assert "127.0.0.1:9" in state.problem.what
    assert state.note == ""


def test_a_link_waits_for_a_yes(started, ui, served):
    presenter = started()
    presenter.receive_link(served.pairing.offer().uri)
    assert presenter.state.offered.url == served.url
    before = len(served.ring.records())
    presenter.refuse_link()
    assert presenter.state.offered is None
    presenter.receive_link(served.pairing.offer().uri)
    presenter.accept_link()
    state = ui.until(idle)
    assert len(served.ring.records()) == before + 1
    assert state.preferences.server == served.url


def test_a_link_that_is_no_code_is_told(started):
    presenter = started()
    presenter.receive_link("headtail://pair?url=http%3A%2F%2Fexample.org&token=" + "t" * 30)
    assert presenter.state.offered is None
    presenter.enter()  # the link leads to the page, which does not put the error away
    assert "is not https" in presenter.state.problem.what


def test_a_server_that_is_chosen_elsewhere_is_listed(started, ui):
    presenter = started()
    presenter.enter()
    ui.until(lambda s: s.about is not None)
    presenter.change(server="http://192.168.1.20:8707")
    assert ui.until(lambda s: s.servers).servers[0].address == "http://192.168.1.20:8707"


def test_numbers_are_taken_as_soon_as_they_are_right(started):
    presenter = started()
    presenter.type_number("quota_mb", "5")
    assert presenter.state.complaints.quota == "A whole number from 16 to 1000000 MB."
    assert presenter.state.preferences.quota_mb == 1024
    presenter.type_number("quota_mb", "512")
    presenter.type_number("deadline_ms", "250")
    chosen = presenter.state.preferences
    assert presenter.state.complaints.quota == ""
    assert (chosen.quota_mb, chosen.deadline_ms) == (512, 250.0)
    presenter.change(theme="sepia")
    assert "sepia" in presenter.state.problem.what


def test_the_machine_is_asked_when_the_page_is_shown(started, ui):
    presenter = started(system_theme=lambda: "dark")
    assert presenter.state.accelerators is None
    presenter.enter()
    state = ui.until(lambda s: s.about is not None)
    assert state.accelerators.names == ("cpu", "gpu")
    assert state.themes == ("light", "dark", "system")
    assert presenter.theme() == "light"
    presenter.change(theme="system")
    assert presenter.theme() == "dark"


def test_the_systems_theme_is_asked_for_off_the_ui_thread_and_told_when_it_is_there(started, ui):
    asked_on = []

    def asked():
        asked_on.append(threading.current_thread())
        return "dark"

    presenter = started(system_theme=asked)
    presenter.change(theme="system")
    assert presenter.theme() == "light"  # nobody waits for a process
    ui.until(lambda _: presenter.theme() == "dark")
    assert asked_on
    assert threading.current_thread() not in asked_on


def test_closing_does_not_wait_for_a_server_that_says_nothing(started, ui):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        presenter = started()
        presenter.try_server(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with silent.accept()[0] as peer:
            assert peer.recv(1)
            began = time.monotonic()
            assert presenter.close()
            assert time.monotonic() - began < 2.5  # half of what the client would wait


def test_where_the_system_does_not_tell_it_cannot_be_followed(started, ui):
    presenter = started()
    presenter.enter()
    assert ui.until(lambda s: s.about is not None).themes == ("light", "dark")


def test_a_choice_that_cannot_be_kept_is_told(started, tmp_path):
    presenter = started()
    (tmp_path / "preferences.part").mkdir()
    presenter.change(threads=2)
    assert "could not be kept" in presenter.state.problem.what
    assert presenter.state.preferences.threads == 2


def test_what_the_last_split_frame_sent_is_shown_with_the_page(started):
    presenter = started()
    local = result()
    split = dataclasses.replace(local.offload.decision, where="split", cut="b8", codec="aq8t")
    status = dataclasses.replace(local.offload, decision=split)
    presenter.follow(result(offload=status, bytes_up=4704, bytes_down=812))
    presenter.follow(local)
    presenter.follow(None)
    assert presenter.state.sent is None  # nobody looks, so nothing is drawn
    presenter.enter()
    assert presenter.state.sent == Sent("b8", "aq8t", 4704, 812)
