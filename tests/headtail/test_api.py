"""The Python façade: lazy, complete, and with the command line's options by the same names."""

import importlib
import inspect
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

import headtail
from headtail.errors import IntegrityFault, UnknownName, UsageFault
from tests.support.bundles import tiny_bundle, tiny_report

ROOT = Path(__file__).parents[2]


def fresh(code):
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_the_facade_is_lazy_until_a_name_is_used():
    """Looking a function up loads its module; torch comes only when it is called."""
    watch = "print(*(n for n in ('headtail.api', 'headtail.bundle', 'numpy', 'torch') if n in m))"
    before = f"import sys, headtail\nm = sys.modules\n{watch}"
    assert fresh(before) == []
    assert fresh(f"import sys, headtail\nheadtail.export\nm = sys.modules\n{watch}") == [
        "headtail.api"
    ]
    opened = fresh(f"import sys, headtail\nheadtail.open_bundle\nm = sys.modules\n{watch}")
    assert "headtail.bundle" in opened
    assert "torch" not in opened


def test_every_public_name_is_there():
    assert dir(headtail) == sorted(headtail.__all__)
    for name in headtail.__all__:
        assert getattr(headtail, name)
    assert headtail.export is importlib.import_module("headtail.api").export
    assert headtail.open_bundle is importlib.import_module("headtail.bundle").open_bundle


def test_a_name_that_is_not_there_lists_those_that_are():
    with pytest.raises(AttributeError, match=r"no attribute 'exprot'; it has .*'export'"):
        headtail.exprot  # noqa: B018


def test_the_version_is_the_distribution_s():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert headtail.__version__ == project["version"]


# A live model brings its own photos; bisecting is exporters.diagnosis.bisect in Python.
ONLY_COMMAND = {"export": {"images"}, "verify": {"bisect", "formats", "repro"}}


def options(verb):
    """Parameter name -> what the command gets for it when nothing is said."""
    command = importlib.import_module(f"headtail.cli.{verb}").command
    said = command.make_context(verb, [], resilient_parsing=True).params
    names = {option.name for option in command.params if isinstance(option, click.Option)}
    return {name: said[name] for name in names - {"as_json"} - ONLY_COMMAND[verb]}


@pytest.mark.parametrize("verb", ["export", "verify"])
def test_the_command_s_options_are_keywords_with_the_same_defaults(verb):
    parameters = inspect.signature(getattr(headtail, verb)).parameters
    for name, default in options(verb).items():
        parameter = parameters[name]
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
        if name != "output":  # the command makes one up from the source's name
            assert parameter.default == default, name


def test_what_only_python_can_give_is_not_on_the_command_line():
    extra = set(inspect.signature(headtail.export).parameters) - set(options("export"))
    inputs = {"inputs", "calibration", "evaluation", "eval_labels", "eval_slices"}
    assert extra == {"model", "labels", "preprocess", *inputs}


def test_paths_may_be_strings(tmp_path):
    bundle = tiny_bundle(tmp_path)
    assert headtail.open_bundle(str(bundle.path)).manifest == bundle.manifest
    with pytest.raises(UsageFault, match="absent"):
        headtail.open_bundle(str(tmp_path / "absent.bundle"))


def test_bad_options_are_refused_before_any_work(tmp_path):
    torch = pytest.importorskip("torch")
    model, inputs = torch.nn.ReLU().eval(), (torch.zeros(1, 3),)
    with pytest.raises(UsageFault, match=r"A bundle's folder is named NAME\.bundle"):
        headtail.export(model, inputs, output=tmp_path / "net")
    with pytest.raises(UnknownName, match="Did you mean 'litert'"):
        headtail.export(model, inputs, output=tmp_path / "net.bundle", formats=["litret"])
    (tmp_path / "net.bundle").mkdir()
    with pytest.raises(UsageFault, match="already exists"):
        headtail.export(model, inputs, output=tmp_path / "net.bundle")
    assert list((tmp_path / "net.bundle").iterdir()) == []


@pytest.mark.parametrize("victim", ["golden.safetensors", "report.json", "report.html"])
def test_verify_names_a_changed_file(tmp_path, victim):
    bundle = tiny_bundle(tmp_path)
    importlib.import_module("headtail.bundle").write_report(bundle, tiny_report().to_json())
    data = bytearray((bundle.path / victim).read_bytes())
    data[len(data) // 2] ^= 1
    (bundle.path / victim).write_bytes(bytes(data))
    with pytest.raises(IntegrityFault) as caught:
        headtail.verify(str(bundle.path))
    assert caught.value.file == victim
