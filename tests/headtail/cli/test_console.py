"""What goes where: tables to stdout, progress to stderr, and with --json one line of JSON."""

import json
import math

import click
import numpy as np
import pytest

from headtail.cli.console import COUNT, Console, json_option, listed

SHOW_CURSOR, HIDE_CURSOR = "\x1b[?25h", "\x1b[?25l"


def speak(console):
    console.begin("convert")
    console.note("litert: [bold]pass[/bold]")
    console.end("convert", 1.25)
    console.print("a table")
    console.lines(["one", "two"])
    console.finish({"good": True})


def test_people_read_stdout_and_progress_stays_off_it(capsys):
    speak(Console(as_json=False))
    shown = capsys.readouterr()
    assert shown.out == "a table\none\ntwo\n"
    assert shown.err == "convert ...\n  litert: [bold]pass[/bold]\nconvert: 1.2 s\n"


def test_with_json_stdout_is_one_line_and_the_rest_is_on_stderr(capsys):
    speak(Console(as_json=True))
    shown = capsys.readouterr()
    assert shown.out == '{"good": true}\n'
    assert shown.err.endswith("a table\none\ntwo\n")


def test_always_means_always(capsys):
    Console(as_json=False).finish({"a": 1}, always=True)
    assert json.loads(capsys.readouterr().out) == {"a": 1}


def test_infinity_and_nan_are_null(capsys):
    Console(as_json=True).finish(
        {"snr": math.inf, "deep": [(-math.inf, 1.5), {"x": math.nan}], "n": np.float64("inf")}
    )
    out = capsys.readouterr().out
    assert json.loads(out, parse_constant=pytest.fail) == {
        "snr": None, "deep": [[None, 1.5], {"x": None}], "n": None,
    }  # fmt: skip


def test_one_line_whatever_the_strings_hold(capsys):
    value = {"log": "two\nlines\u2028three", "brackets": "[red]", "word": "grün"}
    Console(as_json=True).finish(value)
    out = capsys.readouterr().out
    assert out.isascii()
    assert len(out.splitlines()) == 1
    assert json.loads(out) == value


def test_text_is_neither_wrapped_nor_marked_up(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    line = "[1, 3, 224, 224] :smile: http://127.0.0.1:8707 " + "x" * 200
    Console(as_json=False).print(line)
    assert capsys.readouterr().out == line + "\n"


@pytest.fixture
def terminal(monkeypatch):
    """What makes rich believe in a terminal that can hide its cursor."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")


@click.command()
@click.option("--how", default="end")
@json_option
def verb(how, as_json):
    console = Console(as_json)
    console.begin("first")
    console.begin("second")  # a stage inside a stage, or one nobody ended
    if how == "end":
        console.end("second", 1.0)
    elif how == "fail":
        raise ValueError("in mid-stage")


@pytest.mark.parametrize("how", ["end", "forget", "fail"])
def test_the_spinner_is_gone_and_the_cursor_back_however_it_ends(capsys, terminal, how):
    try:
        verb.main(["--how", how], standalone_mode=False)
    except ValueError:
        assert how == "fail"
    err = capsys.readouterr().err
    assert err.count(HIDE_CURSOR) == err.count(SHOW_CURSOR) == 2
    assert err.rindex(SHOW_CURSOR) > err.rindex(HIDE_CURSOR)


@pytest.mark.parametrize(("count", "good"), [(1, True), (0, False), (-1, False)])
def test_counts_are_at_least_one(count, good):
    command = click.Command("x", params=[click.Option(["--runs"], type=COUNT)])
    if good:
        assert command.make_context("x", ["--runs", str(count)]).params == {"runs": count}
        return
    with pytest.raises(click.BadParameter):
        command.make_context("x", ["--runs", str(count)])


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ([], []),
        (["--format", "coreml,litert"], ["coreml", "litert"]),
        (
            ["--format", "coreml", "--format", " litert , executorch,"],
            ["coreml", "litert", "executorch"],
        ),
        (["--format", ","], []),
    ],
)
def test_several_names_are_repeated_or_have_commas_between_them(arguments, names):
    @click.command()
    @click.option("--format", "formats", multiple=True, callback=listed)
    def command(formats):
        found.extend(formats)

    found: list[str] = []
    command.main(arguments, standalone_mode=False)
    assert found == names
