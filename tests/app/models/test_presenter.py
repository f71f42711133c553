"""The Models page without a screen: real folder, real sockets, downloads cut and gone on with."""

import shutil
import threading

import pytest

from app.models.state import Check, Phase, Reach
from headtail.bundle import open_bundle, pack_zip
from headtail.offload.partfile import open_part, part_path
from tests.app.models.conftest import CUT
from tests.app.models.test_library import flip
from tests.support.bundles import tiny_bundle
from tests.support.range_server import RangeServer


def settled(state):
    return state.installed is not None and not state.busy


def live(state):
    return state.catalogue.reach is Reach.LIVE


def verified(state):
    return settled(state) and all(card.check is Check.VERIFIED for card in state.installed)


def install(ui, presenter, source):
    ui.until(settled)
    count = len(ui.states[-1].installed)
    presenter.install(source)
    return ui.until(lambda s: settled(s) and len(s.installed) == count + 1)


def test_nothing_yet(start, ui):
    start()
    state = ui.until(settled)
    assert state.installed == ()
    assert (state.used, state.quota) == (0, 1_024_000_000)
    assert state.catalogue.reach is Reach.NO_SERVER


def test_a_bundle_from_a_file_is_installed_verified_and_described(start, ui, zipped, bundle):
    presenter = start()
    (card,) = install(ui, presenter, zipped).installed
    assert (card.name, card.task, card.check) == ("tiny", "image-classification", Check.VERIFIED)
    assert card.bundle_id == bundle.manifest.bundle_id
    assert ui.states[-1].used == card.bytes
    litert, coreml = card.artifacts
    agreement = bundle.manifest.artifacts[0].agreement
    assert (litert.format, litert.precision, litert.agreement) == ("litert", "fp32", 1.0)
    assert (litert.low, litert.high, litert.samples) == (agreement.low, agreement.high, 2)
    assert not coreml.suitability.runs
    assert coreml.suitability.reason


def test_a_file_that_is_none_is_told_and_changes_nothing(start, ui, tmp_path):
    presenter = start()
    ui.until(settled)
    (tmp_path / "photo.zip").write_bytes(b"no bundle")
    presenter.install(tmp_path / "photo.zip")
    state = ui.until(lambda s: s.problem is not None)
    assert "does not end as a .zip does" in state.problem.what
    assert state.busy == ""
    presenter.dismiss()
    assert ui.states[-1].problem is None
    assert ui.states[-1].installed == ()


def test_every_installed_byte_is_verified_when_somebody_looks(start, ui, bundle, tmp_path):
    presenter = start()
    install(ui, presenter, bundle.path)
    install(ui, presenter, tiny_bundle(tmp_path, name="other").path)
    victim = ui.states[-1].installed[0].path
    assert presenter.close()
    flip(victim / "artifacts/tiny.fp32.tflite")

    again = start()
    state = ui.until(settled)
    assert {card.check for card in state.installed} == {Check.LISTED}
    again.enter()
    state = ui.until(lambda s: not {c.check for c in s.installed} & {Check.LISTED, Check.CHECKING})
    cards = {card.path: card for card in state.installed}
    assert sorted(card.check.value for card in state.installed) == ["damaged", "verified"]
    assert cards[victim].check is Check.DAMAGED
    assert "artifacts/tiny.fp32.tflite" in cards[victim].problem.what


def test_what_was_verified_is_not_called_so_after_somebody_wrote_to_it(start, ui, zipped):
    presenter = start()
    (card,) = install(ui, presenter, zipped).installed
    assert card.check is Check.VERIFIED
    presenter.enter()
    flip(card.path / "tail" / "weights.safetensors")  # as long as before
    presenter.refresh()
    state = ui.until(lambda s: s.installed[0].check is Check.DAMAGED)
    assert "weights.safetensors" in state.installed[0].problem.what


def test_a_damaged_bundle_is_listed_by_its_folder_and_deleted(start, ui, bundle, tmp_path):
    shutil.copytree(bundle.path, tmp_path / "models" / "mine.bundle")
    (tmp_path / "models" / "mine.bundle" / "manifest.json").write_text("{")
    presenter = start()
    (card,) = ui.until(settled).installed
    assert (card.name, card.check) == ("mine.bundle", Check.DAMAGED)
    assert "manifest.json" in card.problem.what
    presenter.ask_delete(card.path)
    assert ui.states[-1].asked == card.path
    presenter.answer(delete=True)
    assert ui.until(lambda s: s.installed == ()).used == 0


def test_delete_asks_first_and_closes_what_is_open(start, ui, bundle):
    presenter = start()
    (card,) = install(ui, presenter, bundle.path).installed
    presenter.ask_delete(card.path)
    presenter.answer(delete=False)
    assert ui.states[-1].asked is None
    presenter.open(card.path)
    presenter.set_open(card.path)
    assert ui.states[-1].installed[0].opened
    assert ui.opened == [card.path]
    presenter.ask_delete(card.path)
    presenter.answer(delete=True)
    assert ui.opened == []
    assert ui.states[-1].busy == "Deleting"
    assert ui.until(lambda s: s.installed == ()).busy == ""
    assert not card.path.exists()


def test_a_damaged_bundle_is_replaced_by_the_servers(start, ui, bundle, origin):
    presenter = start(server=origin.url)
    (card,) = install(ui, presenter, bundle.path).installed
    presenter.enter()
    flip(card.path / "golden.safetensors")
    presenter.verify(card.path)
    ui.until(lambda s: s.installed[0].check is Check.DAMAGED and live(s))
    presenter.repair(card.path)
    ui.until(lambda s: s.installed and s.installed[0].check is Check.VERIFIED and not s.downloads)
    assert open_bundle(card.path).manifest == bundle.manifest


def test_the_list_is_asked_for_while_somebody_looks(start, ui, origin):
    presenter = start(server=origin.url)
    assert ui.until(settled).catalogue.reach is Reach.ASKING
    presenter.enter()
    (offer,) = ui.until(live).catalogue.offers
    assert offer.name == "tiny"
    assert offer.bytes == len(origin.data)
    presenter.leave()
    assert ui.states[-1].catalogue.reach is Reach.ASKING  # nobody knows any more
    assert ui.states[-1].catalogue.offers == (offer,)
    presenter.enter()
    ui.until(live)


def test_a_server_that_is_away_is_told_and_what_it_offered_last_is_known(start, ui, origin):
    presenter = start(server=origin.url)
    presenter.enter()
    ui.until(live)
    origin.__exit__()
    presenter.refresh()
    state = ui.until(lambda s: s.catalogue.reach is Reach.LOST)
    assert "cannot be reached" in state.catalogue.problem.what
    assert [offer.name for offer in state.catalogue.offers] == ["tiny"]
    assert presenter.close()

    start()
    state = ui.until(settled)
    assert [offer.name for offer in state.catalogue.offers] == ["tiny"]
    assert state.catalogue.seen_s > 0


def test_another_server_has_another_list(start, ui, origin):
    presenter = start(server=origin.url)
    presenter.enter()
    ui.until(live)
    assert presenter.close()
    start(server="http://127.0.0.1:9")
    assert ui.until(settled).catalogue.offers == ()


@pytest.mark.parametrize("server", ["nowhere", "ftp://127.0.0.1"])
def test_what_is_no_address_is_told(start, ui, server):
    presenter = start(server=server)
    presenter.enter()
    state = ui.until(lambda s: s.catalogue.reach is Reach.LOST)
    assert "is not a companion server's address" in state.catalogue.problem.what


@pytest.mark.parametrize(
    "lie",
    [
        {"bundle_id": "../../x"},
        {"sha256": "Z" * 64},
        {"bytes": -1},
        {"artifacts": [{}]},
        {"name": 7},
    ],
)
def test_attack_a_list_that_lies(start, ui, origin, lie):
    origin.listing[0].update(lie)
    presenter = start(server=origin.url)
    presenter.enter()
    state = ui.until(lambda s: s.catalogue.reach is Reach.LOST)
    assert "malformed" in state.catalogue.problem.what
    assert state.catalogue.offers == ()


def download(ui, presenter):
    presenter.enter()
    offer = ui.until(lambda s: live(s) and settled(s)).catalogue.offers[0]
    presenter.download(offer.bundle_id)
    return offer


def test_a_download_tells_how_far_it_is_and_ends_installed(start, ui, origin, bundle):
    presenter = start(server=origin.url)
    offer = download(ui, presenter)
    state = ui.until(lambda s: s.holds(offer.bundle_id))
    assert state.downloads == {}
    (card,) = state.installed
    assert card.check is Check.VERIFIED
    assert open_bundle(card.path).manifest == bundle.manifest
    phases = [s.downloads[offer.bundle_id].phase for s in ui.states if s.downloads]
    assert phases[0] is Phase.WAITING
    assert phases[-1] is Phase.INSTALLING
    held = [s.downloads[offer.bundle_id].held for s in ui.states if s.downloads]
    assert held == sorted(held)
    assert held[-1] == offer.bytes


def paused(offer):
    return lambda s: (
        offer.bundle_id in s.downloads and s.downloads[offer.bundle_id].phase is Phase.PAUSED
    )


def test_a_download_is_paused_while_the_server_is_silent_and_gone_on_with(start, ui, origin):
    origin.stall = threading.Event()
    presenter = start(server=origin.url)
    offer = download(ui, presenter)
    ui.until(lambda s: s.downloads[offer.bundle_id].held > 0)
    presenter.pause(offer.bundle_id)
    state = ui.until(lambda s: paused(offer)(s) and s.downloads[offer.bundle_id].held == s.used)
    kept = state.used
    assert 0 < kept <= CUT
    assert state.downloads[offer.bundle_id].problem is None
    stall, origin.stall = origin.stall, None
    stall.set()
    presenter.download(offer.bundle_id)
    ui.until(lambda s: s.holds(offer.bundle_id))
    assert origin.ranges == [None, f"bytes={kept}-"]


@pytest.mark.parametrize("gesture", ["pause", "cancel"])
def test_a_download_that_is_wanted_again_at_once_goes_on_with_what_came(start, ui, origin, gesture):
    origin.stall = threading.Event()
    presenter = start(server=origin.url)
    offer = download(ui, presenter)
    ui.until(lambda s: s.downloads[offer.bundle_id].held > 0)
    getattr(presenter, gesture)(offer.bundle_id)
    stall, origin.stall = origin.stall, None
    presenter.download(offer.bundle_id)  # the former one is still ending, or nobody heard of it
    stall.set()
    ui.until(lambda s: s.holds(offer.bundle_id))
    first, second = origin.ranges
    assert (first, second[:6]) == (None, "bytes=")
    assert not any(paused(offer)(state) for state in ui.states)


@pytest.mark.parametrize("when", ["running", "paused", "waiting"])
def test_a_download_that_is_cancelled_leaves_nothing(start, ui, origin, tmp_path, when):
    origin.stall = threading.Event()
    presenter = start(server=origin.url)
    offer = download(ui, presenter)
    if when != "waiting":
        ui.until(lambda s: s.downloads[offer.bundle_id].held > 0)
    if when == "paused":
        presenter.pause(offer.bundle_id)
        ui.until(paused(offer))
    presenter.cancel(offer.bundle_id)
    ui.until(lambda s: s.downloads == {} and s.used == 0)
    ui.until(lambda s: list((tmp_path / "models").glob(".*")) == [])


def test_a_download_is_gone_on_with_after_the_app_was_started_again(start, ui, origin):
    origin.stop_after = CUT
    presenter = start(server=origin.url)
    offer = download(ui, presenter)
    state = ui.until(lambda s: s.downloads[offer.bundle_id].phase is Phase.FAILED and s.used == CUT)
    assert f"after {CUT} of" in state.downloads[offer.bundle_id].problem.what
    assert presenter.close()

    origin.stop_after = None
    again = start()
    again.enter()
    state = ui.until(lambda s: live(s) and settled(s) and s.downloads)
    found = state.downloads[offer.bundle_id]
    assert (found.phase, found.held, found.size) == (Phase.PAUSED, CUT, offer.bytes)
    again.download(offer.bundle_id)
    ui.until(lambda s: s.holds(offer.bundle_id))
    assert origin.ranges == [None, f"bytes={CUT}-"]


def test_the_end_of_the_app_does_not_wait_for_a_silent_server(start, ui, origin):
    origin.stall = threading.Event()
    presenter = start(server=origin.url)
    offer = download(ui, presenter)
    ui.until(lambda s: s.downloads[offer.bundle_id].held > 0)
    assert presenter.close()
    origin.stall.set()


def test_a_bundle_that_was_replaced_on_the_server_is_not_joined_to_the_old(
    start, ui, origin, tmp_path
):
    origin.stop_after = CUT
    presenter = start(server=origin.url)
    offer = download(ui, presenter)
    ui.until(lambda s: s.downloads[offer.bundle_id].phase is Phase.FAILED)
    other = tiny_bundle(tmp_path, name="tiny2")
    pack_zip(other, tmp_path / "other.zip")
    origin.hold(other.manifest.bundle_id, (tmp_path / "other.zip").read_bytes())
    origin.stop_after = None
    presenter.download(offer.bundle_id)
    state = ui.until(
        lambda s: (
            (d := s.downloads[offer.bundle_id]).phase is Phase.FAILED
            and "Unknown bundle" in d.problem.what
        )
    )
    presenter.refresh()
    ui.until(lambda s: other.manifest.bundle_id in {o.bundle_id for o in s.catalogue.offers})
    presenter.cancel(offer.bundle_id)
    (left,) = ui.until(lambda s: s.unfinished).unfinished
    presenter.discard(left.path)
    ui.until(lambda s: s.used == 0)
    presenter.download(other.manifest.bundle_id)
    state = ui.until(lambda s: s.holds(other.manifest.bundle_id))
    assert open_bundle(state.installed[0].path).manifest == other.manifest


def test_what_nobody_offers_any_more_is_listed_and_thrown_away(start, ui, tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    with open_part(part_path(folder / "old-0123.bundle", "a" * 64)) as file:
        file.write(b"x" * 50)
    presenter = start()
    (card,) = ui.until(settled).unfinished
    assert (card.name, card.held, card.busy) == ("old-0123", 50, False)
    presenter.discard(card.path)
    assert ui.until(lambda s: s.unfinished == ()).used == 0


def test_a_download_of_another_process_is_known(start, ui, origin, tmp_path):
    presenter = start(server=origin.url)
    presenter.enter()
    (offer,) = ui.until(lambda s: live(s) and settled(s)).catalogue.offers
    library = tmp_path / "models"
    library.mkdir()
    name = f"tiny-{offer.bundle_id[:12]}.bundle"
    with open_part(part_path(library / name, offer.sha256)) as file:
        file.write(b"x" * 50)
        file.flush()
        presenter.refresh()
        state = ui.until(lambda s: s.downloads)
        assert state.downloads[offer.bundle_id].phase is Phase.ELSEWHERE
        presenter.discard(library / f".{name}.{offer.sha256}.part")  # is not ours to delete
        presenter.download(offer.bundle_id)
        state = ui.until(lambda s: s.downloads[offer.bundle_id].phase is Phase.FAILED)
        assert "somebody else" in state.downloads[offer.bundle_id].problem.what
    assert (library / f".{name}.{offer.sha256}.part").stat().st_size == 50


def test_more_than_the_quota_is_refused_before_a_byte(start, ui, origin, tmp_path):
    presenter = start(server=origin.url, quota_mb=0)
    offer = download(ui, presenter)
    state = ui.until(lambda s: s.downloads[offer.bundle_id].phase is Phase.FAILED)
    assert "of models" in state.downloads[offer.bundle_id].problem.what
    assert "Delete a model" in state.downloads[offer.bundle_id].problem.remedy
    assert origin.ranges == []
    assert not (tmp_path / "models").exists()


def test_what_is_not_in_the_list_cannot_be_downloaded(start, ui):
    presenter = start()
    presenter.download("e" * 64)
    assert "Unknown bundle of the server's list" in ui.states[-1].problem.what


def test_a_download_that_waits_its_turn_can_be_given_up(start, ui, origin, tmp_path):
    other = tiny_bundle(tmp_path, name="other")
    pack_zip(other, tmp_path / "other.zip")
    data = (tmp_path / "other.zip").read_bytes()
    with RangeServer(other.manifest.bundle_id, data) as second:
        origin.listing += second.listing
        origin.stall = threading.Event()
        presenter = start(server=origin.url)
        presenter.enter()
        first, waiting = sorted(
            ui.until(lambda s: live(s) and settled(s)).catalogue.offers,
            key=lambda offer: offer.bundle_id == other.manifest.bundle_id,
        )
        presenter.download(first.bundle_id)
        presenter.download(waiting.bundle_id)
        ui.until(lambda s: s.downloads[first.bundle_id].held > 0)
        assert ui.states[-1].downloads[waiting.bundle_id].phase is Phase.WAITING
        presenter.pause(waiting.bundle_id)
        ui.until(lambda s: waiting.bundle_id not in s.downloads or paused(waiting)(s))
        origin.stall.set()
        ui.until(lambda s: s.holds(first.bundle_id))
