"""What the cards say, from states; no screen, no folder, no server."""

import dataclasses
from pathlib import Path

import pytest

from app.models.fitness import Suitability
from app.models.notices import (
    catalogue_notice,
    counted_line,
    device_notice,
    question,
    server_line,
    storage_line,
)
from app.models.phrases import ago, agreement, duration
from app.models.state import (
    ArtifactCard,
    CatalogueCard,
    Check,
    Download,
    InstalledCard,
    ModelsState,
    Offer,
    OfferedArtifact,
    Phase,
    Reach,
    UnfinishedCard,
)
from app.models.wording import catalogue_views, device_views
from app.problems import Problem

PATH = Path("models/net-aaaa.bundle")
NOW_S = 1_000_000.0
PROBLEM = Problem("It broke.", "Mend it.", "It broke. All of it.")
CHOSEN = ArtifactCard(
    "litert", "w8a8", 4_700_000, 0.98, 0.896, 0.996, 50, 21.0, Suitability("litert 2.3.0", True)
)
OTHER = dataclasses.replace(
    CHOSEN, format="coreml", precision="fp16", suitability=Suitability(reason="coreml: Not here.")
)
CARD = InstalledCard(
    PATH,
    "net",
    19_000_000,
    NOW_S - 7200,
    bundle_id="a" * 64,
    task="image-classification",
    artifacts=(CHOSEN, OTHER),
    check=Check.VERIFIED,
)
OFFER = Offer(
    "b" * 64,
    "net",
    "image-classification",
    18_000_000,
    "c" * 64,
    ("latest", "prod"),
    (OfferedArtifact("litert", "fp32", 18_700_000, "pass", 1.0, 0.929, 1.0, 50),),
)
LIVE = CatalogueCard("http://10.0.0.2:8707", Reach.LIVE, (OFFER,), NOW_S)
STATE = ModelsState(
    device="this phone", installed=(CARD,), used=19_000_000, quota=1_000_000_000, now_s=NOW_S
)


def titled(notice):
    """Title and text of a notice that must be there."""
    assert notice is not None
    return notice[:2]


def the_card(**changes):
    state = dataclasses.replace(STATE, catalogue=LIVE)
    card = dataclasses.replace(CARD, **changes)
    return device_views(dataclasses.replace(state, installed=(card,)))[0]


def the_offer(download=None, **changes):
    downloads = {} if download is None else {OFFER.bundle_id: download}
    state = dataclasses.replace(STATE, catalogue=LIVE, downloads=downloads)
    return catalogue_views(dataclasses.replace(state, **changes))[0]


def labels(view):
    return [button.label for button in view.buttons]


def chips(view):
    return [chip.text for chip in view.chips]


def test_an_installed_bundle():
    view = the_card()
    assert view.title == "net"
    assert view.subtitle == "image classification  \u00b7  19.0 MB  \u00b7  installed 2 hours ago"
    assert chips(view) == ["Verified"]
    assert [(chip.text, chip.hue) for chip in view.kinds] == [
        ("LiteRT w8a8", "device"),
        ("Core ML fp16", "calm"),
    ]
    assert view.summary == (
        "Runs LiteRT w8a8, 4.7 MB, on litert 2.3.0\nAgrees 0.980 [0.896, 0.996] (n=50)"
    )
    assert view.rows == ()
    assert labels(view) == ["Open", "Verify", "Details", "Delete"]


def test_in_full_every_artifact_says_why_it_runs_or_not():
    state = dataclasses.replace(STATE, expanded=frozenset({str(PATH)}))
    (view,) = device_views(state)
    first, second = view.rows
    assert (first.title, first.note, first.chosen) == (
        "LiteRT w8a8",
        "Runs here on litert 2.3.0",
        True,
    )
    assert first.detail == "4.7 MB  \u00b7  agrees 0.980 [0.896, 0.996] (n=50)"
    assert (second.note, second.chosen) == ("coreml: Not here.", False)
    assert "Less" in labels(view)


@pytest.mark.parametrize(
    ("changes", "want_chips", "want_labels"),
    [
        ({"opened": True}, ["Open now", "Verified"], ["Open", "Verify", "Details", "Delete"]),
        ({"check": Check.CHECKING}, ["Verifying"], ["Open", "Details", "Delete"]),
        ({"check": Check.LISTED}, ["Not verified yet"], ["Open", "Verify", "Details", "Delete"]),
        (
            {"check": Check.DAMAGED, "problem": PROBLEM},
            ["Damaged"],
            ["Details", "Copy error", "Delete"],
        ),
        (
            {"check": Check.DAMAGED, "problem": PROBLEM, "bundle_id": OFFER.bundle_id},
            ["Damaged"],
            ["Repair", "Details", "Copy error", "Delete"],
        ),
        (
            {"check": Check.FOREIGN, "problem": PROBLEM, "artifacts": ()},
            ["For another version"],
            ["Copy error", "Delete"],
        ),
        (
            {"update": OFFER.bundle_id},
            ["Verified", "Update available"],
            ["Open", "Update", "Verify", "Details", "Delete"],
        ),
        (
            {"artifacts": (OTHER,)},
            ["Verified", "Does not run here"],
            ["Open", "Verify", "Delete"],
        ),
    ],
)
def test_its_states(changes, want_chips, want_labels):
    view = the_card(**changes)
    assert chips(view) == want_chips
    assert labels(view) == want_labels


def test_what_does_not_run_here_says_why():
    assert the_card(artifacts=(OTHER,)).summary == "coreml: Not here."
    assert the_card(artifacts=(OTHER,), check=Check.DAMAGED, problem=PROBLEM).summary == ""


def test_an_update_that_is_here_is_not_offered_again():
    newer = dataclasses.replace(CARD, bundle_id=OFFER.bundle_id, path=Path("models/new.bundle"))
    old = dataclasses.replace(CARD, update=OFFER.bundle_id)
    state = dataclasses.replace(STATE, installed=(newer, old), catalogue=LIVE)
    view = device_views(state)[1]
    assert "A newer version is here" in chips(view)
    assert "Update" not in labels(view)


def test_an_unfinished_download_can_be_thrown_away_unless_somebody_is_at_it():
    cards = [UnfinishedCard(Path("x"), "net", "d" * 64, 5_000_000, busy) for busy in (False, True)]
    mine, theirs = device_views(dataclasses.replace(STATE, installed=(), unfinished=tuple(cards)))
    assert mine.subtitle == "Unfinished download  \u00b7  5.0 MB"
    assert labels(mine) == ["Discard"]
    assert labels(theirs) == []
    assert theirs.progress == "Another process is downloading it."


def test_an_offer():
    view = the_offer()
    assert view.subtitle == "image classification  \u00b7  18.0 MB  \u00b7  bbbbbbbbbbbb"
    assert chips(view) == ["prod"]
    assert labels(view) == ["Download", "Details"]
    assert view.share is None
    full = the_offer(expanded=frozenset({OFFER.bundle_id}))
    assert full.rows[0].detail == "18.7 MB  \u00b7  agrees 1.000 [0.929, 1.000] (n=50)"


def test_an_offer_that_is_here_or_newer_or_cannot_be_had():
    here = dataclasses.replace(CARD, bundle_id=OFFER.bundle_id)
    assert chips(the_offer(installed=(here,))) == ["prod", "On this phone"]
    assert labels(the_offer(installed=(here,))) == ["Details"]
    updated = dataclasses.replace(CARD, update=OFFER.bundle_id)
    assert chips(the_offer(installed=(updated,))) == ["prod", "Newer version"]
    lost = dataclasses.replace(LIVE, reach=Reach.LOST)
    assert labels(the_offer(catalogue=lost)) == ["Details"]


RUNNING = Download(OFFER.bundle_id, "net", 18_000_000, 4_500_000, Phase.RUNNING, 12.34, 8.75)


@pytest.mark.parametrize(
    ("changes", "words", "want"),
    [
        ({}, "4.5 MB of 18.0 MB  \u00b7  12.3 Mbit/s  \u00b7  9 s left", ["Pause", "Cancel"]),
        (
            {"remaining_s": None, "mbit_s": 0.0},
            "4.5 MB of 18.0 MB  \u00b7  0.0 Mbit/s",
            ["Pause", "Cancel"],
        ),
        ({"mbit_s": None}, "Downloading  \u00b7  4.5 MB of 18.0 MB", ["Pause", "Cancel"]),
        ({"phase": Phase.WAITING}, "Waiting  \u00b7  4.5 MB of 18.0 MB", ["Pause", "Cancel"]),
        ({"phase": Phase.INSTALLING}, "Checking and unpacking  \u00b7  4.5 MB of 18.0 MB", []),
        ({"phase": Phase.PAUSED}, "Paused  \u00b7  4.5 MB of 18.0 MB", ["Resume", "Cancel"]),
        (
            {"phase": Phase.FAILED, "problem": PROBLEM},
            "Stopped  \u00b7  4.5 MB of 18.0 MB",
            ["Resume", "Cancel", "Copy error"],
        ),
        (
            {"phase": Phase.ELSEWHERE},
            "Another process is downloading it  \u00b7  4.5 MB of 18.0 MB",
            [],
        ),
    ],
)
def test_a_download(changes, words, want):
    view = the_offer(dataclasses.replace(RUNNING, **changes))
    assert view.progress == words
    assert view.share == 0.25
    assert [label for label in labels(view) if label != "Details"] == want
    assert view.problem == changes.get("problem")


def test_a_paused_download_without_its_server_can_only_be_given_up():
    lost = dataclasses.replace(LIVE, reach=Reach.LOST)
    paused = dataclasses.replace(RUNNING, phase=Phase.PAUSED)
    assert labels(the_offer(paused, catalogue=lost)) == ["Cancel", "Details"]


def test_lines_and_notices():
    assert storage_line(STATE) == "19.0 MB of 1.0 GB used"
    assert counted_line(STATE) == "1 on this phone"
    assert counted_line(dataclasses.replace(STATE, catalogue=LIVE)).endswith("1 on the server")
    assert question(CARD)[0] == "Delete net?"
    assert "will be closed" not in question(CARD)[1]
    assert "will be closed" in question(dataclasses.replace(CARD, opened=True))[1]
    assert device_notice(STATE) is None
    assert titled(device_notice(dataclasses.replace(STATE, installed=None)))[0] == "Looking"
    title, text = titled(device_notice(dataclasses.replace(STATE, installed=())))
    assert title == "No models yet"
    assert "drop" not in text
    desk = dataclasses.replace(STATE, installed=(), device="this computer")
    assert "drop a .bundle folder" in titled(device_notice(desk))[1]


@pytest.mark.parametrize(
    ("catalogue", "line", "title"),
    [
        (CatalogueCard(), "No server is set", "No server yet"),
        (CatalogueCard("http://a:1", Reach.ASKING), "Asking a:1", "Asking the server"),
        (LIVE, "10.0.0.2:8707  \u00b7  up to date", None),
        (
            dataclasses.replace(LIVE, offers=()),
            "10.0.0.2:8707  \u00b7  up to date",
            "Nothing to download",
        ),
        (
            dataclasses.replace(LIVE, reach=Reach.LOST, problem=PROBLEM, seen_s=NOW_S - 300),
            "10.0.0.2:8707  \u00b7  last seen 5 minutes ago",
            "It broke.",
        ),
        (
            CatalogueCard("http://a:1", Reach.LOST, problem=PROBLEM),
            "a:1  \u00b7  never seen",
            "It broke.",
        ),
    ],
)
def test_the_server_and_what_stands_for_its_list(catalogue, line, title):
    assert server_line(catalogue, NOW_S) == line
    notice = catalogue_notice(dataclasses.replace(STATE, catalogue=catalogue))
    assert (notice and notice[0]) == title


def test_what_was_offered_last_is_said_to_stand_below():
    lost = dataclasses.replace(LIVE, reach=Reach.LOST, problem=PROBLEM)
    notice = catalogue_notice(dataclasses.replace(STATE, catalogue=lost))
    assert "stands below" in titled(notice)[1]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-500, "just now"),  # the clock was set back
        (59, "just now"),
        (60, "1 minute ago"),
        (7199, "1 hour ago"),
        (86400 * 3, "3 days ago"),
    ],
)
def test_how_long_ago(seconds, words):
    assert ago(NOW_S - seconds, NOW_S) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (59.0, "59 s"), (90.0, "2 min"), (5400.0, "1.5 h")]
)
def test_how_long_still(seconds, words):
    assert duration(seconds) == words


def test_models_that_do_not_classify_say_how_near_they_come():
    near = dataclasses.replace(CHOSEN, agreement=None, low=None, high=None, snr_db=45.25)
    assert agreement(near) == "SNR 45.2 dB (n=50)"
    exact = dataclasses.replace(near, snr_db=float("inf"))
    assert agreement(exact) == "exact (n=50)"
