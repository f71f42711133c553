"""The entry point: every kind of ending has its exit code, its sentence and its JSON."""

import json
import subprocess
import sys
import types
from pathlib import Path

import click
import pytest

from headtail.cli.console import json_option
from headtail.cli.main import VERBS, main
from headtail.errors import HeadtailError
from tests.headtail.test_errors import SAMPLES

ROOT = Path(__file__).parents[3]


@pytest.fixture
def ending(capsys, monkeypatch):
    """Run a verb that ends as told, plugged in as any verb is: a module and a line in the table."""

    def run(end, *arguments):
        @click.command("end")
        @json_option
        def command(as_json):
            if isinstance(end, BaseException):
                raise end
            return end

        module = types.ModuleType("headtail.cli.end")
        module.command = command  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(VERBS, "end", "Ends as told.")
        with pytest.raises(SystemExit) as ended:
            main(["end", *arguments])
        shown = capsys.readouterr()
        return ended.value.code, shown.out, shown.err

    return run


@pytest.mark.parametrize("name", SAMPLES)
def test_each_error_has_its_exit_code_and_its_three_sentences(ending, name):
    error = SAMPLES[name]
    code, out, err = ending(error)
    assert (code, out, err) == (error.exit_code, "", f"headtail: {name}: {error}\n")
    code, out, err = ending(error, "--json")
    assert (code, json.loads(out)) == (error.exit_code, error.to_json())
    assert len(out.splitlines()) == len(err.splitlines()) == 1


@pytest.mark.parametrize("code", [0, 1, 3])
def test_a_verb_s_own_code_is_the_exit_code(ending, code):
    assert ending(code) == (code, "", "")


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupt_is_130_without_a_traceback(ending, interrupt):
    code, out, err = ending(interrupt)
    assert (code, out) == (130, "")
    assert err.strip() == ""


def test_what_the_system_refuses_is_told_and_not_traced(ending):
    code, out, err = ending(OSError(28, "No space left on device", "/there/x"), "--json")
    body = json.loads(out)
    assert (code, body["error"], body["exit_code"]) == (3, "EnvironmentFault", 3)
    assert "No space left on device: '/there/x'." in body["what"]
    assert "Traceback" not in err


def test_our_own_mistakes_keep_their_traceback(ending):
    with pytest.raises(ZeroDivisionError):
        ending(ZeroDivisionError())


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    shown = capsys.readouterr()
    return ended.value.code, shown.out, shown.err


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--colour"], "No such option '--colour'."),
        (["export", "--colour"], "No such option '--colour'."),
        (["export"], "Missing argument 'SOURCE'."),
        (["run", "a.bundle"], "Missing argument 'IMAGES...'."),
        (["verify", "a.bundle", "b.bundle"], "Got unexpected extra argument (b.bundle)"),
        (["verify", "a.bundle", "--runs", "0"], "Invalid value for '--runs': 0 is not in"),
        (["bench", "a.bundle", "--warmup", "-1"], "Invalid value for '--warmup'"),
        (["run", "a.bundle", "x.png", "--deadline-ms", "0"], "Invalid value for '--deadline-ms'"),
        (["serve", "a.bundle", "--port", "many"], "Invalid value for '--port'"),
    ],
)
def test_click_s_errors_have_the_same_form(capsys, arguments, what):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("headtail: UsageFault: " + what[:-1])
    code, out, _ = run(capsys, *arguments, "--json")
    body = json.loads(out)
    assert set(body) == set(HeadtailError("", expected="", remedy="").to_json())
    assert body["what"].startswith(what[:-1])
    assert body["what"].endswith((".", "?"))
    assert body["expected"].startswith("Usage: headtail ")
    assert body["remedy"].endswith(" --help.")
    assert (code, body["exit_code"]) == (2, 2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "a.bundle", "x.png", "--codec", "raw23"], "Did you mean 'raw32'"),
        (["serve", "a.bundle", "--port", "70000"], "Server setting port is 70000"),
        (["stage", "-o", "/dev/null/phone"], "/dev/null"),
    ],
)
def test_values_that_cannot_be_are_refused_before_any_work(capsys, arguments, words):
    code, out, err = run(capsys, *arguments)
    assert code in (2, 3)
    assert out == ""
    assert words in err
    assert len(err.splitlines()) == 1


def test_no_arguments_is_the_help_but_an_error(capsys):
    code, out, err = run(capsys)
    assert (code, out) == (2, "")
    assert err.startswith("Usage: headtail")
    code, out, err = run(capsys, "--help")
    assert (code, err) == (0, "")
    assert "Exit" not in out
    assert "Commands:" in out


def test_version(capsys):
    from headtail import __version__

    assert run(capsys, "--version") == (0, f"headtail, version {__version__}\n", "")


def test_every_verb_is_a_file_and_every_file_a_verb():
    files = {path.stem for path in (ROOT / "headtail" / "cli").glob("*.py")}
    assert {verb.replace("-", "_") for verb in VERBS} == files - {
        "__init__",
        "__main__",
        "console",
        "credentials",
        "findings",
        "main",
        "recipes",
        "tables",
    }


@pytest.mark.parametrize("arguments", [["verfy"], ["list", "--json"]])
def test_as_a_process(arguments):
    """`python -m headtail.cli` is the command, and its exit code reaches the shell."""
    done = subprocess.run(
        [sys.executable, "-m", "headtail.cli", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if arguments == ["verfy"]:
        assert (done.returncode, done.stdout) == (2, "")
        assert "Did you mean 'verify'" in done.stderr
    else:
        assert done.returncode == 0
        [line] = done.stdout.splitlines()
        assert set(json.loads(line)) == {"formats", "precisions", "codecs", "sources"}
