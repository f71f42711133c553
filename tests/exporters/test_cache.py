"""Entries are whole, checked when used, and the oldest go first."""

import os

import pytest

from exporters.cache import Cache, default_root


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


def _folder(path, **files):
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def test_a_file_comes_back_with_what_was_said_of_it(cache, tmp_path):
    source = tmp_path / "net.tflite"
    source.write_bytes(b"net")
    cache.keep("k1", source, {"seconds": 1.5})
    content, about = cache.find("k1")
    assert content.read_bytes() == b"net"
    assert about == {"seconds": 1.5}


def test_a_folder_comes_back_whole(cache, tmp_path):
    cache.keep("k1", _folder(tmp_path / "net.mlpackage", a=b"1", b=b"2"), {})
    content, _ = cache.find("k1")
    assert {p.name: p.read_bytes() for p in content.iterdir()} == {"a": b"1", "b": b"2"}


def test_nothing_is_found_under_another_key(cache):
    assert cache.find("k2") is None


@pytest.mark.parametrize("file", ["content/a", "record.json"])
@pytest.mark.parametrize("change", ["flip", "cut", "remove"])
def test_a_changed_entry_is_dropped(cache, tmp_path, file, change):
    cache.keep("k1", _folder(tmp_path / "net", a=b"bytes of a"), {})
    path = tmp_path / "cache" / "k1" / file
    data = path.read_bytes()
    if change == "remove":
        path.unlink()
    else:
        path.write_bytes(data[:-1] if change == "cut" else bytes([data[0] ^ 1]) + data[1:])
    assert cache.find("k1") is None
    assert not (tmp_path / "cache" / "k1").exists()


def test_a_second_writer_of_the_same_key_changes_nothing(cache, tmp_path):
    for text in (b"first", b"second"):
        (tmp_path / "net").write_bytes(text)
        cache.keep("k1", tmp_path / "net", {})
    assert cache.find("k1")[0].read_bytes() == b"first"
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["k1"]


def test_what_was_unused_for_longest_goes(tmp_path):
    cache = Cache(tmp_path / "cache", most_bytes=700)
    (tmp_path / "net").write_bytes(bytes(250))
    for number, key in enumerate(["old", "used", "new"]):
        cache.keep(key, tmp_path / "net", {})
        os.utime(tmp_path / "cache" / key, (number, number))
        if key == "used":
            assert cache.find("old") is not None  # so "used" is the oldest now
            os.utime(tmp_path / "cache" / "old", (5, 5))
    assert sorted(p.name for p in (tmp_path / "cache").iterdir()) == ["new", "old"]


def test_a_disk_that_takes_nothing_is_no_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    cache = Cache(tmp_path / "file")  # a file where the folder should be
    cache.keep("k1", tmp_path / "file", {})
    assert cache.find("k1") is None


def test_the_root_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("HEADTAIL_CACHE", str(tmp_path / "mine"))
    assert default_root() == tmp_path / "mine"
    monkeypatch.delenv("HEADTAIL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_root() == tmp_path / "xdg" / "headtail"
