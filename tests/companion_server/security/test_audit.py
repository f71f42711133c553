"""The audit log: what is in it and what never is, forged lines, rotation, a full disk."""

import json
import os
import stat
import threading

import pytest

from companion_server.security.audit import AuditLog, Event, annotate
from companion_server.security.auth import AuthMiddleware
from companion_server.security.private_files import write_private
from headtail.errors import EnvironmentFault
from tests.companion_server.security.conftest import bearer, call, greet, http_scope


@pytest.fixture
def audit(folder):
    log = AuditLog(folder, sample=2)
    yield log
    log.close()


def lines(audit):
    audit.flush()
    return [json.loads(line) for line in audit.path.read_text().splitlines()]


def test_a_line(audit):
    audit.write(
        Event(
            "publish",
            201,
            route="PUT /v2/bundles/{bundle_id}",
            key="0123456789ab",
            name="ci",
            peer="192.0.2.7:4711",
            model="toy",
            bundle="ab" * 32,
            bytes_in=1000,
            bytes_out=20,
            ms=12.34,
        )
    )
    (line,) = lines(audit)
    assert line.pop("time").endswith("Z")
    assert line == {
        "verb": "publish",
        "route": "PUT /v2/bundles/{bundle_id}",
        "status": 201,
        "key": "0123456789ab",
        "name": "ci",
        "peer": "192.0.2.7:4711",
        "model": "toy",
        "bundle": "ab" * 32,
        "in": 1000,
        "out": 20,
        "ms": 12.3,
    }
    assert stat.S_IMODE(audit.path.stat().st_mode) == 0o600


NASTY = 'x\n{"verb":"publish","status":200,"name":"somebody else"}\r\u2028\u2029\x00\x85\ud800'


def test_a_line_cannot_be_forged(audit):
    audit.write(Event("admin", 200, name=NASTY, model=NASTY, bundle=NASTY, peer=NASTY, key=NASTY))
    audit.flush()
    text = audit.path.read_bytes()
    assert text.isascii()
    assert text.count(b"\n") == 1
    (line,) = lines(audit)
    assert line["name"] == line["model"] == NASTY
    assert len(str(text).splitlines()) == 1


def test_long_fields_are_cut(audit):
    audit.write(Event("admin", 200, model="m" * 100_000))
    assert len(lines(audit)[0]["model"]) == 200


def served(ring, audit, **arguments):
    return AuthMiddleware(greet, keys=ring, audit=audit, **arguments)


def test_what_the_middleware_logs(ring, keys, audit):
    app = served(ring, audit)
    path = "/v2/bundles/" + "cd" * 32
    call(app, http_scope("PUT", path, [bearer(keys["publish"])]), body=b"x" * 123)
    (line,) = lines(audit)
    assert (line["verb"], line["status"], line["name"]) == ("publish", 200, "publish")
    assert (line["route"], line["bundle"]) == ("PUT /v2/bundles/{bundle_id}", "cd" * 32)
    assert (line["out"], line["peer"]) == (5, "192.0.2.7:4711")
    assert "in" not in line  # the application did not read the body


def test_names_from_the_path_are_logged_safely(ring, keys, audit):
    app = served(ring, audit)
    call(app, http_scope("PUT", "/v2/models/a\nb/aliases/c", [bearer(keys["publish"])]))
    assert lines(audit)[0]["model"] == "a\nb"
    assert audit.path.read_bytes().count(b"\n") == 1


def test_handlers_may_say_what_it_was_about(ring, keys, audit):
    async def publish(scope, receive, send):
        await receive()
        annotate(scope, model="toy", bundle="ee")
        await greet(scope, receive, send)

    app = AuthMiddleware(publish, keys=ring, audit=audit)
    call(app, http_scope("PUT", "/v2/bundles/x", [bearer(keys["publish"])]), body=b"four")
    (line,) = lines(audit)
    assert (line["model"], line["bundle"], line["in"]) == ("toy", "ee", 4)
    annotate({}, model="toy", bundle="ee")  # of a request that is not logged


def test_a_handler_that_fails_is_logged_as_500(ring, keys, audit):
    async def fail(scope, receive, send):
        raise RuntimeError("broken")

    app = AuthMiddleware(fail, keys=ring, audit=audit)
    with pytest.raises(RuntimeError):
        call(app, http_scope("POST", "/v2/pairing", [bearer(keys["admin"])]))
    assert lines(audit)[0]["status"] == 500


def test_frequent_verbs_are_sampled(ring, keys, audit):
    app = served(ring, audit)
    for _ in range(10):
        call(app, http_scope("POST", "/v2/models/toy/infer", [bearer(keys["infer"])]))
    call(app, http_scope("GET", "/v2/health/live"))
    for _ in range(4):  # a page that looks again and again
        call(app, http_scope("GET", "/v2/status", [bearer(keys["admin"])]))
    found = lines(audit)
    assert [line["verb"] for line in found] == ["infer"] * 5 + ["admin"] * 2
    assert found[6]["sampled"] == 2
    assert found[0]["sampled"] == 2


def test_refusals_are_logged_without_a_key_and_bounded(ring, keys, audit):
    app = served(ring, audit)
    secret = keys["read"].split("_", 2)[2]
    call(app, http_scope("POST", "/v2/models/toy/infer", [bearer(keys["read"])]))
    for _ in range(500):
        call(app, http_scope("POST", "/v2/pairing\n", [bearer("ht_nonsense")]))
    found = lines(audit)
    assert (found[0]["verb"], found[0]["status"], found[0]["name"]) == ("refused", 403, "read")
    refused = [line for line in found if line["verb"] == "refused"]
    assert len(refused) < 200
    audit.write(Event("admin", 200))
    found = lines(audit)
    lost = sum(line["count"] for line in found if line["verb"] == "lost")
    assert len(refused) + lost == 501
    text = audit.path.read_text()
    assert secret not in text
    assert "nonsense" not in text


def test_rotation(folder):
    audit = AuditLog(folder, max_bytes=1000, keep=3)
    for i in range(60):
        audit.write(Event("admin", 200, name=f"{i}"))
        audit.flush()
    audit.close()
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["audit.1.jsonl", "audit.2.jsonl", "audit.3.jsonl", "audit.jsonl"]
    assert all(path.stat().st_size <= 1000 for path in folder.iterdir())
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in folder.iterdir())
    ordered = [folder / name for name in (*names[2::-1], names[3])]
    told = [json.loads(line)["name"] for path in ordered for line in path.read_text().splitlines()]
    assert told == [f"{i}" for i in range(60 - len(told), 60)]


@pytest.mark.parametrize("link", [os.symlink, os.link, lambda _other, path: os.mkfifo(path)])
def test_only_a_file_of_its_own_is_written_and_given_away(folder, tmp_path, link):
    # root runs `headtail keys` in a folder that belongs to the service, which may be anybody's by
    # then: neither may another file be written, nor become the service's
    other = tmp_path / "passwd"
    other.write_text("root:x:0:0")
    before = other.stat()
    link(other, folder / "audit.jsonl")
    with pytest.raises(EnvironmentFault, match="audit log"):
        AuditLog(folder)
    assert other.read_text() == "root:x:0:0"
    assert (other.stat().st_uid, other.stat().st_mode) == (before.st_uid, before.st_mode)


def test_what_root_makes_is_the_owners_and_nothing_else_is(folder, monkeypatch):
    given = []
    monkeypatch.setattr(os, "fchown", lambda descriptor, *ids: given.append((descriptor, ids)))
    audit = AuditLog(folder)
    write_private(folder / "keys.json", b"{}")
    audit.close()
    owner = folder.stat()
    assert [ids for _, ids in given] == [(owner.st_uid, owner.st_gid)] * 2


def test_two_processes_write_one_log(folder):
    first, second = AuditLog(folder, max_bytes=2000, keep=50), AuditLog(folder, max_bytes=2000)
    for i in range(40):
        first.write(Event("admin", 200, name=f"first {i}"))
        first.flush()
        second.write(Event("admin", 200, name=f"second {i}"))
        second.flush()
    first.close()
    second.close()
    held = [json.loads(line) for path in folder.iterdir() for line in path.read_text().splitlines()]
    assert {line["name"] for line in held} >= {f"first {i}" for i in range(30, 40)}
    assert len({line["name"] for line in held}) == len(held)


def test_a_full_disk_is_counted_and_survived(audit, monkeypatch, caplog):
    real = os.write
    full = threading.Event()
    full.set()

    def write(descriptor, data):
        if full.is_set():
            return real(descriptor, data[:10])
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    for _ in range(3):
        audit.write(Event("admin", 200))
        audit.flush()
    full.clear()
    audit.write(Event("admin", 201))
    audit.flush()
    whole = [json.loads(line) for line in audit.path.read_text().splitlines() if line[-1:] == "}"]
    assert [line["verb"] for line in whole] == ["admin", "lost"]
    assert (whole[0]["status"], whole[1]["count"]) == (201, 3)
    assert caplog.text.count("cannot be written") == 1


def test_writing_never_waits(folder):
    """More events than the queue holds, at once: what does not fit is counted."""
    audit = AuditLog(folder, max_bytes=1 << 30)
    for _ in range(30_000):
        audit.write(Event("admin", 200))
    audit.flush()
    audit.write(Event("admin", 299))
    audit.close()
    found = [json.loads(line) for line in audit.path.read_text().splitlines()]
    lost = sum(line["count"] for line in found if line["verb"] == "lost")
    assert len([line for line in found if line["verb"] == "admin"]) + lost == 30_001
