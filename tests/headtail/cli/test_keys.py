"""`headtail keys`, as it is typed, and what a running server makes of it."""

import json

import pytest

from companion_server.security.keys import KeyRing
from headtail.cli.main import main


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def keys(state, capsys):
    """Run one command; `(exit code, standard output, standard error)`."""

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["keys", *arguments, "--state-dir", str(state)])
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


def add(keys, *arguments):
    code, out, _ = keys("add", *arguments, "--json")
    assert code == 0
    return json.loads(out)


def test_a_key_is_shown_once_and_works(keys, state):
    code, out, err = keys("add", "Pixel 8", "--scope", "infer:*,read:toy*")
    assert code == 0
    (key,) = out.split()
    assert "it is not shown again" in err
    principal = KeyRing(state).check(key)
    assert principal is not None
    assert (principal.name, len(principal.scopes)) == ("Pixel 8", 2)
    code, out, _ = keys("list")
    assert key.split("_", 2)[2] not in out
    assert "Pixel 8" in out
    assert "good" in out


def test_list_for_programs(keys):
    assert keys("list")[1].startswith("no keys in")
    made = add(keys, "guest", "--scope", "read:*", "--days", "2")
    (listed,) = json.loads(keys("list", "--json")[1])["keys"]
    assert listed["id"] == made["id"]
    assert listed["state"] == "good"
    assert listed["expires"] is not None
    assert "sha256" not in listed
    assert "key" not in listed


def test_revoke_ends_it_in_a_running_server(keys, state):
    made = add(keys, "phone", "--scope", "infer:*")
    server = KeyRing(state)
    assert server.check(made["key"]) is not None
    assert keys("revoke", made["id"])[0] == 0
    assert server.check(made["key"]) is None
    code, _, err = keys("revoke", "0" * 12)
    assert code == 2
    assert made["id"] in err


def test_rotate_keeps_both_for_a_while(keys, state):
    old = add(keys, "ci", "--scope", "publish:*")
    new = json.loads(keys("rotate", old["id"], "--json")[1])
    server = KeyRing(state)
    assert server.check(old["key"]) is not None
    assert server.check(new["key"]) is not None
    assert json.loads(keys("rotate", new["id"], "--grace-days", "0", "--json")[1])["name"] == "ci"
    assert server.check(new["key"]) is None


def test_changes_are_in_the_audit_log_without_secrets(keys, state):
    made = add(keys, "phone", "--scope", "infer:*")
    keys("revoke", made["id"])
    log = (state / "audit.jsonl").read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["route"] for line in lines] == ["keys add", "keys revoke"]
    assert {line["key"] for line in lines} == {made["id"]}
    assert made["key"].split("_", 2)[2] not in log


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add", "x", "--scope", "fly:*"], "Unknown verb of a scope 'fly'"),
        (["add", "x", "--scope", "infer"], "Write infer:* for every model"),
        (["add", "x"], "Missing option '--scope'"),
        (["add", "a\nb", "--scope", "infer:*"], "cannot be the name of a key"),
        (["add", "x", "--scope", "infer:*", "--days", "0"], "--days"),
        (["remove", "x"], "No such command"),
    ],
)
def test_mistakes_are_usage_errors_and_change_nothing(keys, state, arguments, words):
    code, _, err = keys(*arguments)
    assert code == 2
    assert words in err
    assert not (state / "keys.json").exists()


def test_the_state_folder_comes_from_the_environment(state, monkeypatch, capsys):
    monkeypatch.setenv("HEADTAIL_SERVER_STATE_DIR", str(state))
    with pytest.raises(SystemExit):
        main(["keys", "add", "x", "--scope", "read:*", "--json"])
    made = json.loads(capsys.readouterr().out)
    assert KeyRing(state).check(made["key"]) is not None
