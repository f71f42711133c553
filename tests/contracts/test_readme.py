"""The documentation's code runs, its commands exist, its links lead somewhere.

Python blocks are executed, each in an empty folder of its own; `<!-- not run: REASON -->` on the
line before one skips it, with the reason. Commands in shell blocks are parsed, not run: those of
`headtail` by click itself, so that a verb, option or value that does not exist fails here.
"""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from headtail.cli.main import VERBS
from headtail.errors import HeadtailError

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]
SHELL = {"bash", "sh", "shell", "console"}
FENCE = re.compile(r"(?P<indent> *)```(?P<language>\w*)\s*$")
NOT_RUN = re.compile(r"<!-- not run: (?P<reason>.+) -->\s*$")
INLINE = re.compile(r"`(headtail [^`]+)`")
LINK = re.compile(r"""\]\((?P<link>[^)#\s]+)|src="(?P<source>[^"]+)\"""")
LIMIT_S = 300
# nothing to check about these
NOT_OURS = {".", "adb", "apt-get", "buildozer", "cd", "curl", "export", "git", "ray"}


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, first line's number, text, and why it is not run, or ''."""

    language: str
    line: int
    text: str
    not_run: str


def blocks(text: str) -> Iterator[Block]:
    lines = text.splitlines()
    start, opened = 0, None
    for number, line in enumerate(lines):
        fence = FENCE.match(line)
        if fence and opened is None:
            start, opened = number, fence
        elif fence and opened is not None:
            marker = NOT_RUN.match(lines[start - 1].strip()) if start else None
            body = (row.removeprefix(opened["indent"]) for row in lines[start + 1 : number])
            reason = marker["reason"] if marker else ""
            yield Block(opened["language"], start + 2, "\n".join(body), reason)
            opened = None
    assert opened is None, f"the block of line {start + 1} never ends"


def commands(block: Block) -> Iterator[list[str]]:
    """The commands of a shell block as words; in a console block those after the prompt."""
    rows = block.text.replace("\\\n", " ").splitlines()
    if block.language == "console":
        rows = [row.removeprefix("$ ") for row in rows if row.startswith("$ ")]
    for row in rows:
        yield from split(row)


def split(row: str) -> Iterator[list[str]]:
    """`A=1 make x && headtail y | less  # why` -> [make, x], [headtail, y], [less]."""
    words = shlex.shlex(row, posix=True, punctuation_chars="&|;()<>")
    words.whitespace_split = True
    command: list[str] = []
    for word in [*words, ";"]:
        if set(word) <= set("&|;"):
            while command and (re.match(r"\w+=", command[0]) or command[0] == "sudo"):
                command.pop(0)
            if command:
                yield command
            command = []
        else:
            command.append(word)


def check_headtail(words: list[str], *, complete: bool = True) -> str:
    """What click objects to, or ''; without `complete` not to values that are missing or words."""
    from headtail.cli.main import headtail

    top = click.Context(headtail, info_name="headtail", **headtail.context_settings)
    verb, *rest = words
    try:
        if verb.startswith("-"):
            headtail.parse_args(top, [verb])
        else:
            command = headtail.get_command(top, verb)
            assert command is not None
            command.make_context(verb, rest, parent=top)
    except click.exceptions.Exit:  # --help, --version
        return ""
    except (click.BadParameter, click.BadOptionUsage) as error:
        return error.format_message() if complete else ""
    except click.UsageError as error:
        return error.format_message()
    except HeadtailError as error:
        return str(error)
    return ""


def check_make(words: list[str]) -> str:
    rules = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    unknown = [w for w in words if not re.match(r"-|\w+=", w) and w not in rules]
    return f"no rule {unknown}" if unknown else ""


def check_python(words: list[str]) -> str:
    if words[0] == "-m":
        path = ROOT / words[1].replace(".", "/")
        ours = path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()
        return "" if ours or importlib.util.find_spec(words[1]) else f"no module {words[1]}"
    return "" if (ROOT / words[0]).is_file() else f"no file {words[0]}"


def check_pip(words: list[str]) -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {
        name for word in words for m in re.findall(r"\[(.+)\]", word) for name in m.split(",")
    }
    unknown = wanted - set(project["optional-dependencies"])
    return f"no extra {sorted(unknown)}" if unknown else ""


def check_pytest(words: list[str]) -> str:
    folders = [word for word in words[:1] if not word.startswith("-")]
    return "" if all((ROOT / folder).exists() for folder in folders) else f"no {folders}"


CHECKS: dict[str, Callable[[list[str]], str]] = {
    "headtail": check_headtail,
    "make": check_make,
    "pip": check_pip,
    "pytest": check_pytest,
    "python": check_python,
    "python3": check_python,
}


def check(words: list[str]) -> str:
    """What is wrong with a command, or ''."""
    program, *rest = words
    if program in CHECKS:
        return CHECKS[program](rest) if rest else ""
    if program in NOT_OURS or (ROOT / program).is_file():
        return ""
    return f"nothing here knows {program}: add it to CHECKS or NOT_OURS in {Path(__file__).name}"


def complaints(text: str) -> list[str]:
    """Everything wrong with the shell blocks and the inline `headtail ...` of a page."""
    found = [
        f"line {block.line}: {shlex.join(words)}: {problem}"
        for block in blocks(text)
        if block.language in SHELL
        for words in commands(block)
        if (problem := check(words))
    ]
    prose = re.sub(r"(?ms)^ *```.*?^ *```$", "", text)
    for code in INLINE.findall(prose):
        words = shlex.split(code)[1:]
        if problem := check_headtail(words, complete=False):
            found.append(f"`{code}`: {problem}")
    return found


PYTHON = [
    pytest.param(block, id=f"{page.relative_to(ROOT)}:{block.line}")
    for page in PAGES
    for block in blocks(page.read_text())
    if block.language == "python"
]


@pytest.mark.slow
@pytest.mark.parametrize("block", PYTHON)
def test_python_blocks_run(block, tmp_path):
    if block.not_run:
        pytest.skip(f"not run: {block.not_run}")
    (tmp_path / "block.py").write_text(block.text)
    done = subprocess.run(
        [sys.executable, "block.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page):
    assert complaints(page.read_text()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    found = [match["link"] or match["source"] for match in LINK.finditer(page.read_text())]
    local = [link for link in found if not re.match(r"[a-z]+:", link)]
    assert [link for link in local if not (page.parent / link).exists()] == []


def test_the_readme_shows_python_and_every_verb():
    text = README.read_text()
    assert any(block.language == "python" for block in blocks(text))
    assert [verb for verb in VERBS if f"headtail {verb}" not in text and verb != "demo"] == []
    assert "make demo" in text


# --- what finds mistakes must be able to find them ---

PAGE = """
Use `headtail exprot SOURCE`, `headtail verify --runs` and `headtail export`, or `headtail --quiet`;
then `headtail plan BUNDLE --rtt-ms MS`.

```console
$ headtail export net.py --format litert \\
    --colour red
not a command: headtail nonsense
$ make demmo  # `make demo`, misspelt
$ A=1 headtail list | less && headtail serve
$ headtail bench x --runs few
$ pip install -e '.[export,wings]'
```

<!-- not run: needs a phone -->
  ```python
  print("on the phone")
  ```

```python
raise SystemExit(3)
```
"""


def test_the_checks_can_fail():
    found = "\n".join(complaints(PAGE))
    for words in (
        "Unknown command 'exprot'",
        "No such option '--colour'",
        "no rule ['demmo']",
        "nothing here knows less",
        "headtail serve: Missing argument 'BUNDLES...'",
        "headtail bench x --runs few: Invalid value for '--runs'",
        "No such option '--quiet'",
        "no extra ['wings']",
    ):
        assert words in found
    assert "nonsense" not in found
    assert "`headtail export`" not in found
    assert "`headtail verify --runs`" not in found
    assert "`headtail plan BUNDLE --rtt-ms MS`" not in found


def test_blocks_are_found_with_their_markers():
    shell, skipped, run = blocks(PAGE)
    assert (shell.language, skipped.language, run.language) == ("console", "python", "python")
    assert (skipped.not_run, run.not_run) == ("needs a phone", "")
    assert skipped.text == 'print("on the phone")'
    assert PAGE.splitlines()[run.line - 1] == run.text
    with pytest.raises(AssertionError, match="never ends"):
        list(blocks("```python\nx"))


def test_a_block_that_fails_fails(tmp_path):
    *_, block = blocks(PAGE)
    with pytest.raises(AssertionError):
        test_python_blocks_run(block, tmp_path)
