import json

import pytest

from companion_server.store.aliases import Aliases, check_alias
from companion_server.store.faults import StorageFull
from headtail.errors import SchemaFault, UsageFault
from tests.support.folders import names
from tests.support.publishing import file_size_limit

A, B = "a" * 64, "b" * 64


def test_aliases_are_values(tmp_path):
    none = Aliases.read(tmp_path / "aliases.json")
    one = none.changed("toy", "prod", A).changed("cat", "prod", B)
    assert none.of("toy") == {}
    assert one.of("toy") == {"prod": A}
    assert one.changed("toy", "prod", None).aliases == {"cat": {"prod": B}}
    one.write(tmp_path / "aliases.json")
    assert Aliases.read(tmp_path / "aliases.json") == one
    assert names(tmp_path) == ["aliases.json"]
    assert json.loads((tmp_path / "aliases.json").read_bytes()) == {
        "aliases": {"cat": {"prod": B}, "toy": {"prod": A}},
        "schema_version": 1,
    }


def test_without_room_the_old_file_stays(tmp_path):
    path = tmp_path / "aliases.json"
    old = Aliases.none().changed("toy", "prod", A)
    old.write(path)
    with file_size_limit(20), pytest.raises(StorageFull):
        old.changed("toy", "canary", B).write(path)
    assert Aliases.read(path) == old
    assert names(tmp_path) == ["aliases.json"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"aliases":{},"schema_version":1,"x":1}',
        b'{"aliases":{"toy":{"prod":1}},"schema_version":1}',
        b'{"aliases":{"toy":{"prod":"../../x"}},"schema_version":1}',
        b'{"aliases":{"toy":{"Prod":"' + A.encode() + b'"}},"schema_version":1}',
        b'{"aliases":{},"schema_version":2}',
    ],
)
def test_a_broken_file_is_refused_by_name(tmp_path, content):
    (tmp_path / "aliases.json").write_bytes(content)
    with pytest.raises(SchemaFault, match=r"aliases\.json"):
        Aliases.read(tmp_path / "aliases.json")


@pytest.mark.parametrize("name", ["prod", "canary", "2026-11", "a", "v1.2_x", "x" * 32])
def test_good_names(name):
    check_alias(name)


@pytest.mark.parametrize("name", ["", "Prod", "-a", ".a", "a b", "x" * 33, A, "ä", "a/b", "a\n"])
def test_bad_names(name):
    with pytest.raises(UsageFault, match="cannot be an alias"):
        check_alias(name)
