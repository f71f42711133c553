"""`headtail export-triton` writes a repository and says what it did not check."""

import json

import pytest

from headtail.cli.main import main
from tests.companion_server.conftest import write_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("triton"))


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code


def test_a_repository_is_written(bundle, tmp_path, capsys):
    assert run("export-triton", bundle.path, "-o", tmp_path / "models") == 0
    told = capsys.readouterr().out
    assert "not checked: a Triton server" in told
    assert (tmp_path / "models" / "toy" / "config.pbtxt").is_file()


def test_json_names_the_models(bundle, tmp_path, capsys):
    output = tmp_path / "models"
    assert run("export-triton", bundle.path, "-o", output, "--cut", "c1,c2", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["models"] == ["toy", f"toy-{bundle.manifest.bundle_id[:12]}"]
    assert told["not_checked"].startswith("a Triton server")


def test_an_unknown_cut_is_a_usage_fault(bundle, tmp_path, capsys):
    assert run("export-triton", bundle.path, "-o", tmp_path / "models", "--cut", "c9") == 2
    assert "Known: c1, c2" in capsys.readouterr().err
