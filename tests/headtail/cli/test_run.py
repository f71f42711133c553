"""What `headtail run` refuses before it loads a model, and the cut it takes unasked."""

import json

import pytest
from PIL import Image

from headtail.cli.main import main
from headtail.cli.run import _policy, _smallest_cut
from headtail.offload.policy import Policy
from tests.support.bundles import tiny_bundle

NOBODY = "http://127.0.0.1:9"  # the discard port, which nothing serves


@pytest.fixture
def bundle(tmp_path):
    return tiny_bundle(tmp_path)


@pytest.fixture
def run(bundle, tmp_path, capsys):
    photo = tmp_path / "grey.png"
    Image.new("RGB", (9, 9), "grey").save(photo)

    def refused(*options):
        with pytest.raises(SystemExit) as ended:
            main(["run", str(bundle.path), str(photo), *options, "--json"])
        body = json.loads(capsys.readouterr().out)
        assert body["exit_code"] == ended.value.code
        return body

    return refused


def test_a_cut_without_a_server_is_not_ignored(run):
    body = run("--cut", "early")
    assert (body["error"], body["exit_code"]) == ("UsageFault", 2)
    assert body["what"] == "--cut early was given without --server."


def test_a_cut_or_codec_that_is_not_there(run):
    assert "Did you mean 'early'" in run("--cut", "erly", "--server", NOBODY)["remedy"]
    assert "Did you mean 'raw32'" in run("--codec", "raw23", "--server", NOBODY)["remedy"]


def test_a_codec_that_no_cut_was_measured_with(run):
    body = run("--codec", "aq6t+deflate", "--server", NOBODY)
    assert body["exit_code"] == 2
    assert "measured with codec aq6t+deflate" in body["what"]
    assert body["expected"] == "Its cuts: early, late."


@pytest.mark.parametrize("options", [[], ["--cut", "early", "--codec", "aq6t+deflate"]])
def test_a_server_that_is_not_there_is_an_error_now(run, options):
    body = run("--server", NOBODY, *options)
    assert (body["error"], body["exit_code"]) == ("ServerUnreachable", 3)


def test_the_cut_taken_unasked_has_the_smallest_frame(bundle):
    sizes = {cut.id: cut.wire_bytes["raw32"] for cut in bundle.manifest.cuts}
    assert sizes["late"] < sizes["early"]
    assert _smallest_cut(bundle.manifest, "raw32") == "late"


def test_deciding_without_a_server_is_not_ignored(run):
    assert run("--auto")["what"] == "--auto was given without --server."
    told = run("--min-fidelity", "0")["what"]
    assert told == "--min-fidelity 0.0 was given without --server."


@pytest.mark.parametrize("mode", ["auto", "force"])
def test_a_minimum_leaves_cut_and_codec_to_the_planner(bundle, mode):
    asked, auto = Policy("off", minimum_fidelity=0.98), mode == "auto"
    policy = _policy(bundle.manifest, NOBODY, auto, asked)
    assert (policy.mode, policy.cut, policy.codec, policy.minimum_fidelity) == (
        mode,
        None,
        None,
        0.98,
    )
    usual = _policy(bundle.manifest, NOBODY, auto, Policy("off"))
    cut = None if auto else "late"
    assert (usual.mode, usual.cut, usual.codec) == (mode, cut, "aq8t+deflate")
