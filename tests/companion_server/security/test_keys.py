"""Keys: what is on file, who is let in, and every way in which the file can be bad."""

import hashlib
import hmac
import json
import os
import re
import stat
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from companion_server.security import keys as module
from companion_server.security.keyfile import KeyRecord
from companion_server.security.keys import KeyRing, key_id_of
from companion_server.security.scopes import Scope
from headtail.errors import EnvironmentFault, HeadtailError, SchemaFault, UnknownName, UsageFault
from tests.companion_server.security.conftest import Clock

INFER = (Scope("infer", "*"),)
DAY = 86400.0


def test_a_key_is_random_and_only_its_hash_is_kept(ring):
    text, record = ring.add("phone", INFER)
    assert re.fullmatch(r"ht_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", text)  # 43 letters: 256 bits
    secret = text.split("_", 2)[2]
    on_file = ring.path.read_text()
    assert secret not in on_file
    assert record.sha256 == hashlib.sha256(secret.encode()).hexdigest()
    assert stat.S_IMODE(ring.path.stat().st_mode) == 0o600
    assert key_id_of(text) == record.id
    assert key_id_of(text[1:]) is None
    assert len({ring.add("phone", INFER)[0] for _ in range(20)}) == 20


def test_a_key_is_let_in_with_its_scopes(ring):
    text, record = ring.add("phone", (Scope("infer", "toy*"), Scope("read", "*")))
    principal = ring.check(text)
    assert principal is not None
    assert (principal.key_id, principal.name) == (record.id, "phone")
    assert [str(scope) for scope in principal.scopes] == ["infer:toy*", "read:*"]


def test_who_is_not_let_in(ring):
    text, record = ring.add("phone", INFER)
    other, _ = ring.add("other", INFER)
    swapped = f"ht_{record.id}_{other.split('_', 2)[2]}"
    unknown = f"ht_{'0' * 12}_{text.split('_', 2)[2]}"
    for wrong in (
        "",
        text[:-1],
        text + "x",
        text.upper(),
        f" {text}",
        f"{text}\n",
        swapped,
        unknown,
    ):
        assert ring.check(wrong) is None
    assert ring.check(text) is not None


@pytest.fixture(scope="module")
def module_ring(tmp_path_factory):
    ring = KeyRing(tmp_path_factory.mktemp("ring"))
    ring.add("phone", INFER)
    return ring


@settings(deadline=None, max_examples=100)
@given(text=st.one_of(st.text(), st.from_regex(r"ht_[0-9a-f]{12}_[A-Za-z0-9_-]{43}")))
def test_nothing_else_is_let_in(text, module_ring):
    assert module_ring.check(text) is None


def test_an_unknown_id_costs_the_steps_of_a_wrong_secret(ring, monkeypatch):
    """By construction, not by the clock: both hash once and compare 32 bytes once."""
    _, record = ring.add("phone", INFER)
    steps = []
    real = hmac.compare_digest

    def compare(left, right):
        steps.append((len(left), len(right)))
        return real(left, right)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    secret = "A" * 43
    for wrong in (f"ht_{record.id}_{secret}", f"ht_{'0' * 12}_{secret}"):
        assert ring.check(wrong) is None
    assert steps == [(32, 32), (32, 32)]


def test_no_secret_has_the_hash_of_unknown_ids():
    # 32 zero bytes; finding an input of SHA-256 for them would be a preimage
    assert module._UNKNOWN.digest == bytes(32)
    assert module._UNKNOWN.until < 0


def test_revoked_at_once_without_a_restart(ring, folder, clock):
    text, record = ring.add("phone", INFER)
    server = KeyRing(folder, clock=clock)
    assert server.check(text) is not None
    ring.revoke(record.id)
    assert server.check(text) is None
    assert server.records()[0].state(clock.now) == "revoked"
    with pytest.raises(UnknownName, match=record.id):
        ring.revoke("0" * 12)


def test_expired(ring, clock):
    text, record = ring.add("guest", INFER, expires=clock.now + 60)
    clock.now += 59
    assert ring.check(text) is not None
    clock.now += 1
    assert ring.check(text) is None
    assert record.state(clock.now) == "expired"
    with pytest.raises(UsageFault, match="has passed"):
        ring.add("guest", INFER, expires=clock.now)


def test_rotation_overlaps(ring, folder, clock):
    server = KeyRing(folder, clock=clock)
    old, record = ring.add("ci", (Scope("publish", "toy*"),))
    new, made = ring.rotate(record.id, grace_s=7 * DAY)
    assert (made.name, made.scopes) == ("ci", ("publish:toy*",))
    assert server.check(old) is not None
    assert server.check(new) is not None
    clock.now += 7 * DAY
    assert server.check(old) is None
    assert server.check(new) is not None
    with pytest.raises(UsageFault, match="ended on"):
        ring.rotate(record.id, grace_s=0)


def test_a_key_for_some_days_is_followed_by_one_for_as_many(ring, clock):
    _, record = ring.add("guest", (Scope("infer", "*"),), expires=clock.now + 30 * DAY)
    clock.now += 10 * DAY
    new, made = ring.rotate(record.id, grace_s=DAY)
    assert made.until == clock.now + 30 * DAY
    clock.now += 30 * DAY
    assert ring.check(new) is None


def test_rotation_does_not_lengthen_a_life(ring, clock):
    _, record = ring.add("guest", INFER, expires=clock.now + DAY)
    ring.rotate(record.id, grace_s=7 * DAY)
    assert ring.records()[0].until == clock.now + DAY


def test_dead_keys_are_forgotten_after_a_while(ring, clock):
    _, record = ring.add("gone", INFER)
    ring.revoke(record.id)
    clock.now += 89 * DAY
    ring.add("a", INFER)
    assert [kept.name for kept in ring.records()] == ["gone", "a"]
    clock.now += 2 * DAY
    ring.add("b", INFER)
    assert [kept.name for kept in ring.records()] == ["a", "b"]


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x00b", "a\u2028b", "\x1b[31m", "x" * 65])
def test_names_that_cannot_be(ring, name):
    with pytest.raises(UsageFault, match="name of a key"):
        ring.add(name, INFER)
    assert not ring.path.exists()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_file_that_others_may_read_is_refused(ring, folder, clock, mode):
    text, _ = ring.add("phone", INFER)
    assert ring.check(text) is not None
    ring.path.chmod(mode)
    with pytest.raises(EnvironmentFault, match="chmod 600"):
        KeyRing(folder, clock=clock)
    with pytest.raises(EnvironmentFault, match="cannot read its keys"):
        ring.check(text)
    ring.path.chmod(0o600)
    assert ring.check(text) is not None


def test_a_folder_that_others_may_write_is_refused(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(EnvironmentFault, match="chmod go-w"):
        KeyRing(tmp_path / "open")


def test_something_else_in_the_file_s_place(folder):
    (folder / "keys.json").mkdir()
    with pytest.raises(EnvironmentFault):
        KeyRing(folder)


def tampered(document, change):
    change(document)
    return json.dumps(document).encode()


BAD = {
    "half written": lambda text: text[: len(text) // 2],
    "empty": lambda text: b"",
    "not JSON": lambda text: b"\x80\x04K\x01.",
    "unknown key": lambda text: text.replace(b'"name"', b'"nome"'),
    "unknown verb": lambda text: text.replace(b'"infer:*"', b'"everything:*"'),
    "no scopes": lambda text: text.replace(b'"infer:*"', b""),
    "short hash": lambda text: re.sub(rb'"[0-9a-f]{64}"', b'"abcd"', text),
    "line break in a name": lambda text: text.replace(b'"phone"', b'"a\\nb"'),
    "a date that is none": lambda text: text.replace(b"2027-01-15", b"someday"),
    "a date without offset": lambda text: text.replace(b"+00:00", b""),
    "newer version": lambda text: text.replace(b'"schema_version": 1', b'"schema_version": 2'),
    "deeply nested": lambda text: b"[" * 100_000,
    "too large": lambda text: b" " * ((16 << 20) + 1),
}


@pytest.mark.parametrize("how", BAD)
def test_a_tampered_file_lets_nobody_in_and_says_so(ring, folder, clock, how, caplog):
    text, _ = ring.add("phone", INFER)
    assert ring.check(text) is not None
    good = ring.path.read_bytes()
    bad = BAD[how](good)
    assert bad != good
    ring.path.write_bytes(bad)
    with pytest.raises(HeadtailError):
        KeyRing(folder, clock=clock)
    for _ in range(3):
        with pytest.raises(EnvironmentFault, match="cannot read its keys"):
            ring.check(text)
    assert caplog.text.count("No key is accepted") == 1
    ring.path.write_bytes(good + b" ")
    assert ring.check(text) is not None


def test_the_same_id_twice_is_refused(ring, folder):
    ring.add("phone", INFER)
    document = json.loads(ring.path.read_text())
    document["keys"] *= 2
    ring.path.write_text(json.dumps(document))
    with pytest.raises(SchemaFault, match="2 keys of 1 ids"):
        KeyRing(folder)


def test_a_failed_write_leaves_the_old_file(ring, folder, monkeypatch):
    text, _ = ring.add("phone", INFER)
    before = ring.path.read_bytes()

    def no_space(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(EnvironmentFault, match="No space"):
        ring.add("other", INFER)
    assert ring.path.read_bytes() == before
    assert [path.name for path in folder.iterdir()] == ["keys.json"]
    assert ring.check(text) is not None


def test_writers_take_turns(ring, folder):
    def add_some(number):
        own = KeyRing(folder)  # its own descriptor of the lock, as another process has
        for i in range(5):
            own.add(f"{number}.{i}", INFER)

    threads = [threading.Thread(target=add_some, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({record.name for record in ring.records()}) == 20


def test_there_is_an_end_to_the_number_of_keys(folder, clock):
    record = KeyRecord(
        "0" * 12, "x", "0" * 64, "2026-01-01T00:00:00+00:00", None, None, ("read:*",)
    )
    entries = [{**vars(record), "id": f"{i:012x}"} for i in range(5_000)]
    (folder / "keys.json").write_text(json.dumps({"schema_version": 1, "keys": entries}))
    (folder / "keys.json").chmod(0o600)
    ring = KeyRing(folder, clock=Clock(0.0))
    with pytest.raises(UsageFault, match="5001 keys"):
        ring.add("one more", INFER)
