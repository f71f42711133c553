"""docs/server.md cannot rot: its tables are made from the code, its commands are ours."""

import re
import shlex

import click
import pytest

from companion_server.settings import ENV_PREFIX, Settings
from headtail.cli.main import VERBS
from tests.support.server_reference import GUIDE, with_tables

PAGE = GUIDE.read_text("utf-8")
COMMANDS = re.findall(r"^\s*(?:\$ )?(headtail [a-z].*?)(?:\s+#.*)?$", PAGE, re.MULTILINE)


def test_the_tables_are_those_of_the_code():
    assert with_tables(PAGE) == PAGE, "run: python -m tests.support.server_reference"


@pytest.mark.parametrize("line", sorted(set(COMMANDS)))
def test_commands_of_the_guide_are_taken_by_ours(line):
    import importlib

    _, verb, *arguments = shlex.split(line.removesuffix("\\"))
    assert verb in VERBS
    module = importlib.import_module(f"headtail.cli.{verb.replace('-', '_')}")
    command = module.command
    if isinstance(command, click.Group):
        name, *arguments = arguments
        command = command.commands[name]
    if not line.endswith("\\"):
        command.make_context(verb, arguments)


def test_settings_named_in_the_guide_exist():
    named = set(re.findall(rf"{ENV_PREFIX}([A-Z_]+)", PAGE)) - {""}
    assert named
    assert {name.lower() for name in named} <= set(Settings.model_fields)


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", PAGE):
        assert (GUIDE.parent / target).exists(), target
    heads = {
        re.sub(r"[^a-z0-9 -]", "", head.lower()).replace(" ", "-")
        for head in re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= heads
