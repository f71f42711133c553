import concurrent.futures
import contextlib
import functools
import os
import threading
import time
from pathlib import Path

import pytest

from companion_server.store.faults import StorageFull
from companion_server.store.folder import StoreFolder
from companion_server.store.uploads import MAX_PARTS, Piece, UploadBusy, UploadGap, Uploads
from headtail.errors import HeadtailError, TooLarge, UsageFault, WireFault
from tests.support.folders import names
from tests.support.publishing import file_size_limit

A = "a" * 64


@pytest.fixture
def folder(root):
    opened = StoreFolder(root)
    yield opened
    opened.close()


@pytest.fixture
def uploads(folder):
    return Uploads(folder)


def write(uploads, start, data, total, bundle_id=A, owner=""):
    with uploads.open(Piece(bundle_id, start, start + len(data), total, owner)) as part:
        part.write(data)
    return part


def at_once(work, count=6):
    """What `work(0)`, `work(1)`, ... raised or None, each on a thread, begun together."""
    barrier = threading.Barrier(count)

    def run(number):
        barrier.wait(20)
        try:
            return work(number)
        except HeadtailError as error:
            return error

    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_the_first_uploads_into_a_folder_come_together(tmp_path):
    for attempt in range(10):
        folder = StoreFolder(tmp_path / str(attempt))
        uploads = Uploads(folder)
        with contextlib.closing(folder):
            parts = at_once(
                functools.partial(lambda to, n: write(to, 0, b"0", 2, f"{n:064x}").path, uploads)
            )
            assert all(isinstance(part, Path) for part in parts), parts
            assert all(uploads.received(f"{n:064x}") == (1, 2) for n in range(len(parts)))


class Hesitant(set[tuple[str, str]]):
    """Lets other threads go on between a question and what follows from its answer."""

    def __contains__(self, value):
        found = super().__contains__(value)
        time.sleep(0.001)
        return found


def test_one_of_two_that_come_together_writes(uploads):
    uploads._claimed = Hesitant()
    opened = at_once(lambda _: uploads.open(Piece(A, 0, 1, 1)))
    busy = [isinstance(one, UploadBusy) for one in opened]
    assert sorted(busy) == [False] + [True] * (len(busy) - 1)
    for part in opened:
        if not isinstance(part, UploadBusy):
            with part:
                part.write(b"0")


def test_headers():
    assert Piece.parse(A, "", 10) == Piece(A, 0, 10, 10)
    assert Piece.parse(A, "bytes 5-9/20", 5) == Piece(A, 5, 10, 20)
    for placed in ("bytes 5-9/20", "bytes 0-4/3", "bytes 4-0/9", "x", "bytes 0-3/*"):
        with pytest.raises(WireFault):
            Piece.parse(A, placed, 4)
    with pytest.raises(WireFault):
        Piece.parse(A, "", 0)
    with pytest.raises(UsageFault):
        Piece.parse("../x", "", 10)
    with pytest.raises(TooLarge):
        Piece.parse(A, "", 3_000_000_000)


def test_pieces_join(uploads):
    assert uploads.received(A) is None
    assert not write(uploads, 0, b"0123", 10).complete
    assert uploads.received(A) == (4, 10)
    with pytest.raises(UploadGap) as caught:
        write(uploads, 5, b"5", 10)
    assert caught.value.received == 4
    write(uploads, 2, b"2345", 10)  # again from 2
    part = write(uploads, 6, b"6789", 10)
    assert part.complete
    assert part.path.read_bytes() == b"0123456789"
    with pytest.raises(UploadBusy):  # until the checks are done
        write(uploads, 0, b"0", 10)
    uploads.release(part.piece)
    write(uploads, 0, b"0", 10)
    assert uploads.received(A) == (1, 10)


def test_one_writer_at_a_time(uploads):
    with uploads.open(Piece(A, 0, 4, 10)) as part:
        part.write(b"01")
        for attempt in (lambda: uploads.open(Piece(A, 0, 4, 10)), lambda: uploads.drop(A)):
            with pytest.raises(UploadBusy):
                attempt()
        with pytest.raises(WireFault, match="longer"):
            part.write(b"234")
    assert uploads.received(A) == (2, 10)


def test_another_zip_of_the_same_bundle_begins_anew(uploads, root):
    write(uploads, 0, b"0123", 10)
    write(uploads, 0, b"ab", 20)
    assert uploads.received(A) == (2, 20)
    assert len(names(root / "incoming")) == 1
    assert uploads.drop(A)
    assert not uploads.drop(A)


def test_an_upload_belongs_to_the_key_that_began_it(uploads, root):
    write(uploads, 0, b"0123", 10, owner="one")
    with uploads.open(Piece(A, 0, 2, 10, "two")) as slow:  # which holds up nobody but itself
        slow.write(b"x")
        write(uploads, 4, b"45", 10, owner="one")
    write(uploads, 0, b"y", 20, owner="two")
    assert uploads.received(A, "one") == (6, 10)
    assert uploads.received(A, "two") == (1, 20)
    assert uploads.received(A) is None
    for number in range(MAX_PARTS + 3):  # more than one owner may have
        write(uploads, 0, b"0", 10, f"{number:064x}", "two")
    assert uploads.received(A, "one") == (6, 10)
    assert len(names(root / "incoming")) == 1 + MAX_PARTS
    assert not uploads.drop(A, "three")
    write(uploads, 0, b"y", 20, owner="two")
    with uploads.open(Piece(A, 0, 2, 20, "two")) as slow, pytest.raises(UploadBusy):
        uploads.drop(A, None)
    assert uploads.drop(A, None)
    assert uploads.received(A, "one") is None
    assert uploads.received(A, "two") is None


def test_uploads_wait_to_be_continued_but_not_for_ever_and_not_all(uploads, root):
    ids = [f"{i:064x}" for i in range(MAX_PARTS + 3)]
    for i, bundle_id in enumerate(ids):
        part = write(uploads, 0, b"0", 10, bundle_id)
        os.utime(part.path, (time.time() + i, time.time() + i))
    assert [key for key in ids if uploads.received(key)] == ids[-MAX_PARTS:]
    old = root / "incoming" / f"{ids[-1]}.10.part"
    os.utime(old, (0, 0))
    write(uploads, 0, b"0", 10)
    assert uploads.received(ids[-1]) is None
    assert uploads.received(A) is not None


def test_the_quota_is_asked_before_the_first_byte(folder, root):
    uploads = Uploads(folder, 25)
    with pytest.raises(StorageFull, match="a quota of 25"):
        uploads.open(Piece(A, 0, 13, 13))
    assert names(root / "incoming") == []
    write(uploads, 0, b"0123456789", 12)  # 2 x 12 fit
    write(uploads, 10, b"89", 12)


def test_a_zip_that_the_disk_cannot_take_is_not_begun(uploads, root):
    import shutil

    uploads.open(Piece(A, 0, 1, 10)).__exit__(None, None, None)
    free = shutil.disk_usage(root).free
    with pytest.raises(StorageFull, match="The disk has"):
        uploads.open(Piece("b" * 64, 0, 1, free))


def test_without_room_the_upload_is_given_up_as_a_whole(uploads, root):
    with file_size_limit(100):
        write(uploads, 0, bytes(80), 300)
        with pytest.raises(StorageFull):
            write(uploads, 80, bytes(200), 300)
    assert names(root / "incoming") == []
    write(uploads, 0, bytes(300), 300)


def test_an_upload_survives_the_process(folder, root, uploads):
    write(uploads, 0, b"0123", 10)
    folder.close()
    again = StoreFolder(root)
    later = Uploads(again)
    assert later.received(A) == (4, 10)
    assert write(later, 4, b"456789", 10).path.read_bytes() == b"0123456789"
    again.close()
