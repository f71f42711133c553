"""The server's list: what counts as one, what is newer, what is remembered, and the long poll."""

import queue
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.models.catalogue import (
    Remembered,
    Watch,
    newer,
    offers_of,
    read_remembered,
    write_remembered,
)
from app.models.state import CatalogueCard, InstalledCard, ModelsState, Reach
from app.models.wording import catalogue_views
from headtail.errors import ServerUnreachable, UsageFault, WireFault
from headtail.offload.client import Companion
from tests.app.models.conftest import sized_bundle
from tests.support.publishing import IdleEngine, publishing

LIMIT_S = 30
ARTIFACT = {
    "format": "litert",
    "precision": "w8a8",
    "bytes": 7,
    "verdict": "poor",
    "agreement": {"n": 50, "top1": 0.9, "low": 0.8, "high": 0.95, "snr_db_mean": 20.5},
}
ROW: dict[str, Any] = {
    "bundle_id": "a" * 64,
    "name": "net",
    "task": "image-classification",
    "bytes": 12,
    "sha256": "b" * 64,
    "aliases": ["latest", "prod"],
    "artifacts": [ARTIFACT],
}


def test_an_offer_is_read_with_all_that_the_server_tells():
    (offer,) = offers_of([ROW])
    (artifact,) = offer.artifacts
    assert (offer.bundle_id, offer.sha256, offer.bytes) == ("a" * 64, "b" * 64, 12)
    assert (offer.name, offer.task, offer.aliases) == (
        "net",
        "image-classification",
        ("latest", "prod"),
    )
    assert (artifact.format, artifact.precision, artifact.verdict) == ("litert", "w8a8", "poor")
    assert (artifact.agreement, artifact.low, artifact.high, artifact.samples) == (
        0.9,
        0.8,
        0.95,
        50,
    )
    assert artifact.snr_db == 20.5


def test_an_older_server_tells_less():
    (offer,) = offers_of([{k: ROW[k] for k in ("bundle_id", "name", "bytes", "sha256")}])
    assert (offer.task, offer.aliases, offer.artifacts) == ("", (), ())


@pytest.mark.parametrize(
    "lie",
    [
        {"bundle_id": "../" * 20},
        {"bundle_id": "A" * 64},
        {"sha256": None},
        {"bytes": 0},
        {"bytes": True},
        {"bytes": 1.5},
        {"name": ["net"]},
        {"aliases": [1]},
        {"aliases": 3},
        {"artifacts": [{"format": "litert"}]},
        {"artifacts": "no"},
        {"artifacts": [{**ARTIFACT, "agreement": {"top1": "much"}}]},
        {"artifacts": [{**ARTIFACT, "agreement": 7}]},
        {"bytes": 10**400},  # no float, hence not to be divided into megabytes on the UI thread
        {"artifacts": [{**ARTIFACT, "bytes": 10**400}]},
        {"artifacts": [{**ARTIFACT, "bytes": -1}]},
        {"artifacts": [{**ARTIFACT, "agreement": {"n": 10**400}}]},
        {"artifacts": [ARTIFACT] * 65},
        {"aliases": ["a"] * 17},
    ],
)
def test_attack_an_offer_that_is_none(lie):
    with pytest.raises(WireFault, match="list of bundles is malformed"):
        offers_of([{**ROW, **lie}])


def test_attack_one_bundle_twice():
    """Cards are told apart by the bundle's id."""
    with pytest.raises(WireFault, match="listed twice"):
        offers_of([ROW, {**ROW, "name": "other"}])


def test_a_bundle_without_a_name_is_called_by_its_id():
    (offer,) = offers_of([{**ROW, "name": "\u202e"}])
    assert offer.name == "a" * 12


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(st.sampled_from(sorted(ROW)), json_values))
def test_attack_whatever_a_server_says_is_a_list_or_one_error(lie):
    try:
        offers = offers_of([{**ROW, **lie}])
    except WireFault:
        return
    state = ModelsState(catalogue=CatalogueCard("https://s", Reach.LIVE, offers))
    assert len(catalogue_views(state)) == 1


def test_what_cannot_be_drawn_is_not_in_a_name():
    (offer,) = offers_of([{**ROW, "name": "ne\nt\u202e" + "x" * 999}])
    assert offer.name.startswith("netx")
    assert len(offer.name) == 200


def test_newer_is_what_the_server_calls_the_latest_of_this_name(tmp_path):
    latest = {**ROW, "bundle_id": "c" * 64}
    old = {**ROW, "aliases": ["prod"]}
    offers = offers_of([old, latest])
    card = InstalledCard(tmp_path, "net", 1, 0.0, bundle_id="a" * 64)
    assert newer(card, offers) == "c" * 64
    assert newer(card, offers_of([ROW])) == ""
    assert newer(card, offers_of([{**latest, "name": "other"}])) == ""
    assert newer(InstalledCard(tmp_path, "net", 1, 0.0), offers) == ""  # nobody knows what it is


def test_the_list_is_remembered_and_a_memory_that_is_none_is_nothing(tmp_path):
    file = tmp_path / "app" / "catalogue.json"
    kept = Remembered(server="https://x:1", seen_s=12.5, offers=offers_of([ROW]))
    write_remembered(file, kept)
    assert read_remembered(file) == kept
    for text in (b"", b"{}", b"\xff", b'{"schema_version": 1}'):
        file.write_bytes(text)
        assert read_remembered(file) == Remembered()


class Answers:
    """What a watch was told, in turn."""

    def __init__(self):
        self.told: queue.Queue[Any] = queue.Queue()

    def __call__(self, address, answer):
        self.told.put((address, answer))

    def next(self):
        return self.told.get(timeout=LIMIT_S)


@pytest.fixture
def answers():
    return Answers()


@pytest.fixture
def watch(answers):
    made = Watch(Companion, answers)
    yield made
    assert made.close()


@pytest.fixture
def served(tmp_path):
    with publishing(tmp_path, engine=IdleEngine()) as server:
        yield server


def test_what_is_published_is_told_while_the_server_holds_its_answer_back(
    watch, answers, served, bundle
):
    watch.follow(served.url)
    assert answers.next() == (served.url, ())
    served.publish(bundle)
    address, (offer,) = answers.next()
    assert (address, offer.bundle_id) == (served.url, bundle.manifest.bundle_id)
    agreement = bundle.manifest.artifacts[0].agreement
    assert offer.artifacts[0].low == agreement.low
    served.store.set_alias("tiny", "prod", offer.bundle_id)
    _, (moved,) = answers.next()
    assert moved.aliases == ("latest", "prod")


def test_a_watch_ends_at_once_in_the_middle_of_a_long_poll(answers, served):
    made = Watch(Companion, answers)
    made.follow(served.url)
    answers.next()
    assert made.close(timeout_s=LIMIT_S)
    made.follow(served.url)  # too late, and harmless
    assert answers.told.empty()


def test_another_server_is_followed_at_once(watch, answers, served, origin):
    watch.follow(served.url)
    answers.next()
    watch.follow(origin.url)
    address, (offer,) = answers.next()
    assert (address, offer.name) == (origin.url, "tiny")


def test_a_server_that_comes_back_is_found_without_being_asked_to(watch, answers, bundle, tmp_path):
    from tests.support.range_server import RangeServer

    with RangeServer(bundle.manifest.bundle_id, b"x") as gone:
        url = gone.url
    watch.follow(url)
    _, error = answers.next()
    assert isinstance(error, ServerUnreachable)
    _, error = answers.next()  # again, a second later
    assert isinstance(error, ServerUnreachable)
    watch.ask_again()
    _, error = answers.next()
    assert isinstance(error, ServerUnreachable)


def test_what_is_no_address_is_told_once(watch, answers, origin):
    watch.follow("ftp://x")
    _, error = answers.next()
    assert isinstance(error, UsageFault)
    watch.follow(origin.url)
    assert answers.next()[0] == origin.url


def test_threads_may_ask_for_anything_at_any_time(watch, answers, origin, served):
    def ask():
        for _ in range(30):
            watch.follow(origin.url)
            watch.ask_again()
            watch.follow("")
            watch.follow(served.url)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    watch.follow(origin.url)
    while answers.next()[0] != origin.url:
        pass


def test_an_update_is_announced_by_the_server_and_seen_on_the_card(start, ui, served, tmp_path):
    old = sized_bundle(tmp_path, name="net", size=1000)
    served.publish(old)
    presenter = start(server=served.url)
    presenter.install(old.path)
    presenter.enter()
    ui.until(lambda s: s.installed and s.catalogue.offers)
    assert ui.states[-1].installed[0].update == ""
    (tmp_path / "new").mkdir()
    new = sized_bundle(tmp_path / "new", name="net", size=2000)
    served.publish(new)
    state = ui.until(lambda s: s.installed[0].update)
    assert state.installed[0].update == new.manifest.bundle_id
    presenter.download(new.manifest.bundle_id)
    state = ui.until(lambda s: s.holds(new.manifest.bundle_id))
    assert len(state.installed) == 2
