"""Downloads: how fast, how far, stopped, cut, out of room."""

import contextlib
import queue
import subprocess
import threading

import pytest

from app.models.downloads import Downloads, Ended, Pace, Progress
from app.models.library import Library, NoRoom
from app.models.state import Offer
from headtail.bundle import open_bundle
from headtail.errors import ServerUnreachable
from headtail.offload.client import Companion
from headtail.offload.partfile import DiskFull
from tests.app.conftest import Server
from tests.app.models.conftest import sized_bundle
from tests.support.capabilities import require

QUOTA = 1_000_000_000
LIMIT_S = 30.0
MIB = 1 << 20


def test_the_pace_is_that_of_the_last_seconds():
    pace = Pace()
    assert (pace.mbit_s(), pace.remaining_s(10)) == (None, None)
    pace.note(100.0, 0)
    pace.note(100.1, 1000)
    assert pace.mbit_s() is None  # too short to tell
    pace.note(101.0, 1_000_000)
    assert pace.mbit_s() == pytest.approx(8.0)
    assert pace.remaining_s(3_000_000) == pytest.approx(2.0)
    for second in range(102, 120):  # it slows down to a tenth
        pace.note(float(second), 1_000_000 + (second - 101) * 100_000)
    assert pace.mbit_s() == pytest.approx(0.8)
    for second in range(120, 130):  # and stands still
        pace.note(float(second), 2_800_000)
    assert pace.mbit_s() == 0.0
    assert pace.remaining_s(3_000_000) is None


class Told:
    """What the download's thread tells; `gate` holds it at the first piece until it is opened."""

    def __init__(self):
        self.events = []
        self.begun, self.gate = threading.Event(), threading.Event()
        self.ends: queue.SimpleQueue[Ended] = queue.SimpleQueue()

    def __call__(self, event):
        self.events.append(event)
        if isinstance(event, Ended):
            self.ends.put(event)
        elif 0 < event.held < event.size:
            self.begun.set()
            assert self.gate.wait(LIMIT_S)

    def end(self):
        """The next `Ended`."""
        return self.ends.get(timeout=LIMIT_S)

    def first(self):
        """How much was there when the download began."""
        return next(event.held for event in self.events if isinstance(event, Progress))


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def library(tmp_path):
    return Library(tmp_path / "models")


@contextlib.contextmanager
def downloading(library, told):
    downloads = Downloads(library, Companion, told)
    try:
        yield downloads
    finally:
        told.gate.set()
        assert downloads.close()


def offer_of(listed):
    keys = ("bundle_id", "name", "bytes", "sha256")
    return Offer(**{key: listed[key] for key in keys}, task="", aliases=(), artifacts=())


def test_from_the_first_piece_to_the_bundle(library, told, origin, bundle):
    told.gate.set()
    with downloading(library, told) as downloads:
        downloads.start(offer_of(origin.listing[0]), origin.url, quota=QUOTA)
        downloads.start(offer_of(origin.listing[0]), origin.url, quota=QUOTA)  # is at it already
        ended = told.end()
    assert ended.error is None
    assert open_bundle(ended.path).manifest == bundle.manifest
    assert origin.ranges == [None]
    assert told.first() == 0
    assert told.events[-2].held == told.events[-2].size == len(origin.data)


def test_stopped_it_keeps_what_it_has(library, told, origin):
    offer = offer_of(origin.listing[0])
    with downloading(library, told) as downloads:
        downloads.start(offer, origin.url, quota=QUOTA)
        assert told.begun.wait(LIMIT_S)
        downloads.stop(offer.bundle_id)
        told.gate.set()
        assert told.end() == Ended(offer.bundle_id, None, None)
        downloads.stop(offer.bundle_id)  # nothing runs
    (part,) = library.look().parts
    assert 0 < part.held < offer.bytes


def test_stopped_and_wanted_again_before_it_ended(library, told, origin, bundle):
    offer = offer_of(origin.listing[0])
    with downloading(library, told) as downloads:
        downloads.start(offer, origin.url, quota=QUOTA)
        assert told.begun.wait(LIMIT_S)
        downloads.stop(offer.bundle_id)
        assert not downloads.runs(offer.bundle_id)
        downloads.start(offer, origin.url, quota=QUOTA)
        assert downloads.runs(offer.bundle_id)
        told.gate.set()
        assert told.end() == Ended(offer.bundle_id, None, None)
        ended = told.end()
    assert open_bundle(ended.path).manifest == bundle.manifest
    assert not downloads.runs(offer.bundle_id)


def test_a_server_that_is_not_there(library, told, origin):
    with downloading(library, told) as downloads:
        downloads.start(offer_of(origin.listing[0]), "http://127.0.0.1:9", quota=QUOTA)
        assert isinstance(told.end().error, ServerUnreachable)
    assert library.look().parts == ()


@pytest.fixture
def small_disk(tmp_path):
    """A file system with room for two MiB, where `models` lies."""
    folder = tmp_path / "models"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    require(done.returncode == 0, f"no small disk can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_too_little_room_on_the_disk_is_told_before_a_byte(library, told, origin, small_disk):
    (small_disk / "ballast").write_bytes(bytes(2 * MIB - len(origin.data)))
    with downloading(library, told) as downloads:
        downloads.start(offer_of(origin.listing[0]), origin.url, quota=QUOTA)
        assert isinstance(told.end().error, NoRoom)
    assert origin.ranges == []


@pytest.mark.parametrize("room", [50_000, 250_000], ids=["for a part of it", "for the zip alone"])
def test_a_disk_that_fills_meanwhile_loses_nothing(library, told, origin, bundle, small_disk, room):
    offer = offer_of(origin.listing[0])
    with downloading(library, told) as downloads:
        downloads.start(offer, origin.url, quota=QUOTA)
        assert told.begun.wait(LIMIT_S)
        (small_disk / "ballast").write_bytes(bytes(2 * MIB - room))
        told.gate.set()
        error = told.end().error
        assert isinstance(error, DiskFull)
        assert "No space left on device" in error.what
        assert library.look().found == ()
        (part,) = library.look().parts
        assert 0 < part.held <= room

        (small_disk / "ballast").unlink()
        told.events.clear()
        downloads.start(offer, origin.url, quota=QUOTA)
        ended = told.end()
    assert told.first() == part.held
    assert open_bundle(ended.path).manifest == bundle.manifest
    assert library.look().parts == ()


@pytest.mark.slow
def test_a_server_killed_in_the_middle_and_started_again(library, told, colour_bundle, tmp_path):
    big = heavier(colour_bundle, tmp_path, size=16 * MIB)
    first = Server(big, tmp_path / "first")
    second = Server(big, tmp_path / "second")  # both start at once: it takes seconds
    try:
        first.wait()
        second.wait()
        with contextlib.closing(Companion(first.url)) as companion:
            offer = offer_of(companion.bundles()[0])
        with downloading(library, told) as downloads:
            downloads.start(offer, first.url, quota=QUOTA)
            assert told.begun.wait(LIMIT_S)
            first.kill()
            told.gate.set()
            assert isinstance(told.end().error, ServerUnreachable)
            (part,) = library.look().parts
            assert 0 < part.held < offer.bytes
            told.events.clear()
            downloads.start(offer, second.url, quota=QUOTA)
            ended = told.end()
        assert ended.error is None
        assert told.first() == part.held
        assert open_bundle(ended.path).manifest.bundle_id == offer.bundle_id
    finally:
        first.kill()
        second.kill()


def heavier(path, folder, *, size):
    """The bundle at `path` with one more file, as heavy as a real model."""
    import numpy as np

    from headtail.bundle import BundleWriter

    bundle = open_bundle(path)
    with BundleWriter(folder / "heavy.bundle") as writer:
        for rel in bundle.manifest.files:
            writer.add(rel, bundle.file(rel))
        writer.add("bulk.bin", np.random.default_rng(2).bytes(size))
        return writer.publish(bundle.manifest).path


def test_two_of_them_wait_for_one_another(library, told, origin, tmp_path):
    other = sized_bundle(tmp_path, name="other")
    absent = {**origin.listing[0], "bundle_id": other.manifest.bundle_id, "name": "other"}
    with downloading(library, told) as downloads:
        downloads.start(offer_of(origin.listing[0]), origin.url, quota=QUOTA)
        assert told.begun.wait(LIMIT_S)
        downloads.start(offer_of(absent), origin.url, quota=QUOTA)
        downloads.stop(absent["bundle_id"])
        assert told.end() == Ended(absent["bundle_id"], None, None)
        told.gate.set()
        assert told.end().path is not None
