"""Bad input on the command line: one clear error, the right exit code, JSON when asked for."""

import json
import re

import pytest

from headtail.cli.main import VERBS, main
from tests.support.bundles import tiny_bundle
from tests.support.sealing import manifest_value, reseal


def run(capsys, *arguments):
    """Exit code, standard output and standard error of one command, in this process."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    shown = capsys.readouterr()
    return ended.value.code, shown.out, shown.err


def test_help_names_every_verb(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    for verb in VERBS:
        assert verb in out


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_json(capsys, verb):
    code, out, _ = run(capsys, verb, "--help")
    assert code == 0
    commands = re.findall(r"^  ([a-z]+)  ", out.partition("Commands:")[2], re.MULTILINE)
    for command in commands:  # of a verb that has some
        assert "--json" in run(capsys, verb, command, "--help")[1]
    assert commands or "--json" in out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["exprot"], 2, "Unknown command 'exprot'. Known: app, bench.*Did you mean 'export'"),
        (["export", "nowhere.py"], 2, "no file 'nowhere.py'"),
        (["export", "x.py", "--format", "litret"], 2, "Did you mean 'litert'"),
        (["export", "x.py", "--precision", "w8a9"], 2, "Did you mean 'w8a8'"),
        (["export", "x.py", "--colour", "red"], 2, "No such option"),
        (["export"], 2, "Missing argument"),
        (["verify", "absent.bundle"], 2, "absent.bundle"),
        (["serve", "absent.bundle"], 2, "absent.bundle"),
        (["plan", "absent.bundle", "--uplink-mbit", "1", "--rtt-ms", "1"], 2, "absent.bundle"),
        (["plan", "absent.bundle", "--uplink-mbit", "0", "--rtt-ms", "1"], 2, "above 0 Mbit/s"),
        (["run", "absent.bundle", "a.png"], 2, "absent.bundle"),
    ],
)
def test_bad_input(capsys, arguments, code, words):
    found, out, err = run(capsys, *arguments)
    assert (found, out) == (code, "")
    assert re.search(words, err, re.DOTALL), err
    found, out, _ = run(capsys, *arguments, "--json")
    assert found == code
    assert json.loads(out)["exit_code"] == code


def test_an_image_that_is_not_one(capsys, tmp_path):
    bundle = tiny_bundle(tmp_path)
    (tmp_path / "a.png").write_bytes(b"not a picture")
    code, _, err = run(capsys, "run", str(bundle.path), str(tmp_path / "a.png"))
    assert code == 2
    assert "cannot be read as an image" in err


def test_verify_names_a_changed_file_and_exits_1(capsys, tmp_path):
    bundle = tiny_bundle(tmp_path)
    victim = bundle.file(bundle.manifest.golden)
    data = bytearray(victim.read_bytes())
    data[-1] ^= 1
    victim.write_bytes(bytes(data))
    code, out, _ = run(capsys, "verify", str(bundle.path), "--json")
    assert code == 1
    body = json.loads(out)
    assert body["error"] == "IntegrityFault"
    assert bundle.manifest.golden in body["what"]


def test_a_bundle_of_a_newer_schema(capsys, tmp_path):
    bundle = tiny_bundle(tmp_path)
    reseal(bundle.path, {**manifest_value(bundle.path), "schema_version": 99})
    code, _, err = run(capsys, "verify", str(bundle.path))
    assert code == 2
    assert "Update Headtail" in err


def test_list_and_doctor_speak_json(capsys):
    code, out, _ = run(capsys, "list", "--json")
    assert code == 0
    assert set(json.loads(out)["formats"]) == {"litert", "executorch", "coreml"}
    code, out, _ = run(capsys, "doctor", "--json")
    assert code in (0, 3)
    assert {"python", "torch"} <= {check["name"] for check in json.loads(out)["checks"]}


def test_stage_writes_the_payload(capsys, tmp_path):
    code, out, _ = run(capsys, "stage", "-o", str(tmp_path / "phone"), "--json")
    assert code == 0
    assert json.loads(out)["files"] > 20
    assert (tmp_path / "phone" / "main.py").is_file()
