"""`headtail report`: a page of what the bundle holds, and the same as JSON."""

import json

import pytest

from headtail.bundle import write_report
from headtail.cli.main import main
from headtail.manifest import REPORT, REPORT_HTML
from headtail.strictjson import to_json
from tests.support.bundles import tiny_bundle, tiny_report
from tests.support.reports import full_quality


@pytest.fixture
def run(capsys):
    def command(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["report", *map(str, arguments)])
        shown = capsys.readouterr()
        return ended.value.code, shown.out, shown.err

    return command


def test_a_bundle_that_nobody_measured_has_a_page(run, tmp_path):
    bundle = tiny_bundle(tmp_path)
    code, out, _ = run(bundle.path, "-o", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert (code, out) == (0, f"{len(page.encode()):,} bytes written to {tmp_path / 'page.html'}\n")
    assert "headtail quantize SOURCE" in page
    assert bundle.manifest.bundle_id in page


def test_the_page_beside_the_bundle_is_the_page_in_the_bundle(run, tmp_path):
    bundle = tiny_bundle(tmp_path)
    write_report(bundle, tiny_report().to_json())
    code, out, _ = run(bundle.path, "-o", tmp_path / "page.html", "--json")
    assert code == 0
    assert (tmp_path / "page.html").read_bytes() == (bundle.path / REPORT_HTML).read_bytes()
    [line] = out.splitlines()
    body = json.loads(line)
    assert body["bundle_id"] == bundle.manifest.bundle_id
    assert [one["key"] for one in body["artifacts"]] == [
        "litert.fp32",
        "coreml.fp32",
        "litert.w8a8",
    ]


def test_what_quantize_measured_is_in_the_json_and_on_the_page(run, tmp_path):
    bundle = tiny_bundle(tmp_path)
    report = tiny_report(command="quantize").to_json()
    write_report(bundle, {**report, "quality": to_json(full_quality())})
    code, out, _ = run(bundle.path, "-o", tmp_path / "page.html", "--json")
    assert code == 0
    body = json.loads(out)
    assert body["quality"]["steps"] == ["folded 1 batch norm"]
    assert body["artifacts"][0]["n"] == 60
    page = (tmp_path / "page.html").read_text()
    assert "folded 1 batch norm" in page
    assert "data:image/jpeg;base64," in page


def test_a_changed_report_is_refused_and_nothing_is_written(run, tmp_path):
    bundle = tiny_bundle(tmp_path)
    write_report(bundle, tiny_report().to_json())
    victim = bundle.path / REPORT
    victim.write_bytes(victim.read_bytes().replace(b"18800000", b"18800001"))
    code, out, _ = run(bundle.path, "-o", tmp_path / "page.html", "--json")
    assert (code, json.loads(out)["error"]) == (1, "IntegrityFault")
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["absent.bundle"], 2, "absent.bundle"),
        ([], 2, "Missing argument 'BUNDLE'"),
        (["a.bundle", "-o", "."], 2, "Invalid value for '-o'"),
    ],
)
def test_bad_input(run, arguments, code, words):
    found, out, err = run(*arguments)
    assert (found, out) == (code, "")
    assert words in err


def test_a_page_that_cannot_be_written_is_told(run, tmp_path):
    bundle = tiny_bundle(tmp_path)
    code, _, err = run(bundle.path, "-o", tmp_path / "absent" / "page.html")
    assert code == 3
    assert "page.html" in err
    assert "Traceback" not in err
