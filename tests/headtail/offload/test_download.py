"""Downloads: whole, resumed, and from servers that lie."""

import contextlib
import fcntl
import hashlib
import json
import re
import threading

import pytest

from headtail.bundle import pack_zip
from headtail.errors import (
    HeadtailError,
    IntegrityFault,
    ServerUnreachable,
    TooLarge,
    UnknownName,
    UsageFault,
    WireFault,
)
from headtail.offload.client import Companion
from headtail.offload.download import DownloadStopped, Transfer
from headtail.offload.partfile import DiskFull, list_parts, open_part, part_path
from tests.support.bundles import tiny_bundle
from tests.support.publishing import file_size_limit
from tests.support.range_server import RangeServer


@pytest.fixture(scope="module")
def zipped(bundle, tmp_path_factory):
    path = tmp_path_factory.mktemp("zip") / "tiny.zip"
    pack_zip(bundle, path)
    return path.read_bytes()


@pytest.fixture
def origin(bundle, zipped):
    with RangeServer(bundle.manifest.bundle_id, zipped) as served:
        yield served


@pytest.fixture
def client(origin):
    made = Companion(origin.url)
    yield made
    made.close()


@pytest.fixture
def destination(tmp_path):
    return tmp_path / "got.bundle"


def left_over(destination):
    return sorted(path.name for path in destination.parent.iterdir())


def test_whole(client, origin, bundle, destination):
    got = client.download(bundle.manifest.bundle_id, destination)
    assert got.path == destination
    assert got.manifest == bundle.manifest
    assert sorted(got.golden()) == sorted(bundle.golden())
    assert left_over(destination) == ["got.bundle"]
    assert origin.ranges == [None]


@pytest.mark.parametrize("kept", [1, 1000, -1])
def test_resumed_where_the_connection_was_lost(client, origin, bundle, zipped, destination, kept):
    stop = kept % len(zipped)
    origin.stop_after = stop
    with pytest.raises(ServerUnreachable, match=rf"after {stop} of {len(zipped)} bytes"):
        client.download(bundle.manifest.bundle_id, destination)
    assert not destination.exists()
    origin.stop_after = None
    assert client.download(bundle.manifest.bundle_id, destination).manifest == bundle.manifest
    assert origin.ranges == [None, f"bytes={stop}-"]
    assert left_over(destination) == ["got.bundle"]


def test_a_server_without_ranges_is_asked_for_all_of_it_again(client, origin, bundle, destination):
    origin.stop_after = 1000
    with pytest.raises(ServerUnreachable):
        client.download(bundle.manifest.bundle_id, destination)
    origin.stop_after, origin.honours_ranges = None, False
    assert client.download(bundle.manifest.bundle_id, destination).manifest == bundle.manifest


def test_a_part_that_was_complete_is_not_fetched_again(client, origin, bundle, zipped, destination):
    digest = hashlib.sha256(zipped).hexdigest()
    (destination.parent / f".got.bundle.{digest}.part").write_bytes(zipped)
    assert client.download(bundle.manifest.bundle_id, destination).manifest == bundle.manifest
    assert origin.ranges == []


def test_another_zip_is_not_joined_to_what_is_there(
    client, origin, bundle, zipped, destination, tmp_path
):
    origin.stop_after = 1000
    with pytest.raises(ServerUnreachable):
        client.download(bundle.manifest.bundle_id, destination)
    other = tiny_bundle(tmp_path, name="other")
    pack_zip(other, tmp_path / "other.zip")
    with RangeServer(other.manifest.bundle_id, (tmp_path / "other.zip").read_bytes()) as second:
        companion = Companion(second.url)
        got = companion.download(other.manifest.bundle_id, destination)
        companion.close()
    assert second.ranges == [None]
    assert got.manifest == other.manifest


def test_a_part_with_wrong_bytes_is_thrown_away(client, bundle, zipped, destination):
    digest = hashlib.sha256(zipped).hexdigest()
    part = destination.parent / f".got.bundle.{digest}.part"
    part.write_bytes(b"x" * 1000)
    with pytest.raises(IntegrityFault, match=r"has SHA-256"):
        client.download(bundle.manifest.bundle_id, destination)
    assert left_over(destination) == []
    assert client.download(bundle.manifest.bundle_id, destination).manifest == bundle.manifest


def test_a_bundle_that_is_not_held(client, bundle, destination):
    with pytest.raises(UnknownName, match=rf"Unknown bundle 'abc'.*{bundle.manifest.bundle_id}"):
        client.download("abc", destination)


def test_a_destination_that_exists(client, origin, bundle, destination):
    destination.mkdir()
    with pytest.raises(UsageFault, match="already exists"):
        client.download(bundle.manifest.bundle_id, destination)
    with pytest.raises(UsageFault, match="not named like a bundle"):
        client.download(bundle.manifest.bundle_id, destination.with_name("got"))
    assert origin.ranges == []


@pytest.mark.parametrize(
    ("lie", "kind", "words"),
    [
        ({"sha256": "../../etc/passwd"}, WireFault, "64 hexadecimal digits"),
        ({"sha256": "A" * 64}, WireFault, "64 hexadecimal digits"),
        ({"bytes": 0}, WireFault, "offers 0 bytes"),
        ({"bytes": -1}, WireFault, "offers -1 bytes"),
        ({"bytes": 1 << 40}, TooLarge, "offers 1099511627776 bytes"),
        ({"sha256": "0" * 64}, WireFault, "ETag"),
        ({"bytes": 1000}, WireFault, "more than the 1000 bytes"),
        ({"bytes": 10_000_000}, WireFault, "of the 10000000 bytes"),
    ],
)
def test_attack_a_listing_that_lies(client, origin, destination, lie, kind, words):
    bundle_id = origin.listing[0]["bundle_id"]
    origin.listing[0].update(lie)
    with pytest.raises(kind, match=re.escape(words)):
        client.download(bundle_id, destination)
    assert not destination.exists()


def test_attack_another_bundle_under_this_id(client, origin, destination):
    origin.listing[0]["bundle_id"] = "e" * 64
    with pytest.raises(IntegrityFault, match=r"holds bundle .*eeee.* was asked for"):
        client.download("e" * 64, destination)
    assert left_over(destination) == []


def test_attack_a_changed_byte(client, origin, bundle, zipped, destination):
    origin.data = zipped[:2000] + bytes([zipped[2000] ^ 1]) + zipped[2001:]
    with pytest.raises(IntegrityFault, match=r"has SHA-256"):
        client.download(bundle.manifest.bundle_id, destination)
    assert left_over(destination) == []


def test_attack_a_zip_that_is_none(client, origin, bundle, destination):
    origin.hold(bundle.manifest.bundle_id, b"not a zip, but honestly announced")
    with pytest.raises(HeadtailError, match=r"does not end as a \.zip does"):
        client.download(bundle.manifest.bundle_id, destination)
    assert not destination.exists()


@pytest.mark.parametrize(
    "content_range",
    [None, "bytes 0-999/1000", "bytes 1001-{last}/{size}", "items 1000-{last}/{size}"],
)
def test_attack_a_range_that_was_not_asked_for(
    client, origin, bundle, zipped, destination, content_range
):
    origin.stop_after = 1000
    with pytest.raises(ServerUnreachable):
        client.download(bundle.manifest.bundle_id, destination)
    origin.stop_after = None
    origin.content_range = content_range and content_range.format(
        last=len(zipped) - 1, size=len(zipped)
    )
    with pytest.raises(WireFault, match=r"the range .* where 1000- of"):
        client.download(bundle.manifest.bundle_id, destination)
    assert not destination.exists()


def test_a_transfer_that_stands_still_is_given_up(origin, bundle, destination):
    companion = Companion(origin.url, timeout_s=0.2)
    origin.stall = threading.Event()
    try:
        with pytest.raises(ServerUnreachable, match="within 200 ms"):
            companion.download(bundle.manifest.bundle_id, destination)
    finally:
        origin.stall.set()
        companion.close()


def test_a_refused_download(client, origin, bundle, destination):
    origin.listing = json.loads(json.dumps(origin.listing))
    origin.gone = True
    with pytest.raises(WireFault, match="answered 404: gone"):
        client.download(bundle.manifest.bundle_id, destination)


def test_a_transfer_tells_how_far_it_is(client, origin, bundle, zipped, destination):
    told = []
    transfer = Transfer(lambda held, size: told.append((held, size)))
    client.download(bundle.manifest.bundle_id, destination, transfer=transfer)
    size = len(zipped)
    assert told[0] == (0, size)
    assert told[-1] == (size, size)
    assert told == sorted(told)


def test_a_resumed_transfer_begins_where_it_was(client, origin, bundle, zipped, destination):
    origin.stop_after = 1000
    with pytest.raises(ServerUnreachable):
        client.download(bundle.manifest.bundle_id, destination)
    origin.stop_after, told = None, []
    transfer = Transfer(lambda held, size: told.append(held))
    client.download(bundle.manifest.bundle_id, destination, transfer=transfer)
    assert told[0] == 1000


def test_stopped_before_it_began_it_asks_for_nothing(client, origin, bundle, destination):
    transfer = Transfer()
    transfer.stop()
    assert transfer.stopped
    with pytest.raises(DownloadStopped, match=r"stopped at 0 of \d+ bytes\. What has come is kept"):
        client.download(bundle.manifest.bundle_id, destination, transfer=transfer)
    assert origin.ranges == []
    assert left_over(destination) == []


def test_stopped_while_the_server_is_silent_it_ends_at_once_and_can_go_on(
    origin, bundle, zipped, destination
):
    companion = Companion(origin.url, timeout_s=60.0)
    origin.stall = stall = threading.Event()
    begun, caught = threading.Event(), []
    transfer = Transfer(lambda held, size: begun.set())

    def work():
        try:
            companion.download(bundle.manifest.bundle_id, destination, transfer=transfer)
        except DownloadStopped as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(20)
    transfer.stop()
    thread.join(20)
    assert len(caught) == 1
    assert not destination.exists()
    origin.stall = None
    stall.set()
    assert companion.download(bundle.manifest.bundle_id, destination).manifest == bundle.manifest
    companion.close()


def test_stopped_with_every_byte_here_it_is_finished(client, origin, bundle, zipped, destination):
    def told(held, size):
        if held == size:
            transfer.stop()

    transfer = Transfer(told)
    got = client.download(bundle.manifest.bundle_id, destination, transfer=transfer)
    assert got.manifest == bundle.manifest


def test_two_processes_do_not_write_one_part(client, bundle, zipped, destination):
    part = part_path(destination, hashlib.sha256(zipped).hexdigest())
    with open_part(part) as file:
        file.write(zipped[:500])
        file.flush()
        assert [(p.held, p.busy) for p in list_parts(destination.parent)] == [(500, True)]
        with pytest.raises(UsageFault, match="being downloaded by somebody else"):
            client.download(bundle.manifest.bundle_id, destination)
    assert part.read_bytes() == zipped[:500]
    assert [(p.held, p.busy) for p in list_parts(destination.parent)] == [(500, False)]
    assert client.download(bundle.manifest.bundle_id, destination).manifest == bundle.manifest
    assert list_parts(destination.parent) == []


@pytest.mark.parametrize("room", [1000, -1], ids=["for a part", "for the zip alone"])
def test_no_room_loses_nothing(client, origin, bundle, zipped, destination, room):
    room %= len(zipped)
    with (
        file_size_limit(room),
        pytest.raises(DiskFull, match=r"There is no room for .*\.part .* What has come is kept"),
    ):
        client.download(bundle.manifest.bundle_id, destination)
    assert not destination.exists()
    (part,) = list_parts(destination.parent)
    assert part.held <= room
    assert client.download(bundle.manifest.bundle_id, destination).manifest == bundle.manifest
    assert left_over(destination) == ["got.bundle"]


def test_what_is_named_like_a_part_and_is_none(tmp_path):
    for name in (".x.bundle.abc.part", f".x.{'a' * 64}.part", f"x.bundle.{'a' * 64}.part"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / f".x.bundle.{'a' * 64}.part").mkdir()
    assert list_parts(tmp_path) == []
    assert list_parts(tmp_path / "nowhere") == []


def test_whoever_only_looks_at_a_download_does_not_keep_it_from_going_on(destination):
    path = part_path(destination, "a" * 64)
    path.write_bytes(b"begun")
    looking = path.open("rb")  # as `list_parts` does, but for longer
    fcntl.flock(looking, fcntl.LOCK_EX)
    with contextlib.ExitStack() as held:
        opening = threading.Thread(target=lambda: held.enter_context(open_part(path)))
        opening.start()
        looking.close()
        opening.join()
        assert [part.busy for part in list_parts(path.parent)] == [True]
