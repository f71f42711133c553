"""The staged payload on other Pythons: which interpreters are here, which tests it can run.

A test file is chosen by what it imports, not by a list: it and all the support modules that it
reaches may need only the standard library, numpy, Pillow, pytest, hypothesis and modules that are
in the payload. Written beside the payload, its `headtail` and `app` can only be the staged ones.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from headtail.stage import DESK_ONLY, stage

CHECKOUT = Path(__file__).parents[2]
NOT_HERE = (
    # reads a docstring, which is not on a phone
    "tests/headtail/test_errors.py::test_the_drawing_is_the_tree",
    # Pillow 8 writes the test's own file in a fixed palette's colours
    "tests/app/sources/test_replay.py::test_an_animation_plays_in_order_and_over_and_over[gif]",
)
GUESTS = {"PIL", "hypothesis", "numpy", "pytest"}
SETTINGS = """[pytest]
addopts = --import-mode=importlib --strict-markers
filterwarnings = error
markers =
    slow: left out here
    device: left out here
"""
# Code that is on a phone may have functions for desks only; their tests end at what is not there.
# The app's own tests may not. Property tests search with fewer examples: the question here is the
# Python, not the logic.
DESK = """
import pytest

NO_WEBP = (repr(KeyError("WEBP")), repr(ValueError("unknown file extension: .webp")))
from hypothesis import settings

def pytest_collection_modifyitems(items):
    for item in items:
        own = getattr(item.function, "_hypothesis_internal_use_settings", None)
        if own is not None:
            fewer = settings(own, max_examples=min(own.max_examples, 10))
            item.function._hypothesis_internal_use_settings = fewer

@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    error = call.excinfo.value if call.excinfo else None
    app = item.nodeid.startswith("tests/app/")
    if isinstance(error, ModuleNotFoundError) and str(error.name).startswith(DESK_ONLY) and not app:
        report.outcome = "skipped"
        report.longrepr = (str(item.path), 0, f"Skipped: {error.name} is on desks only")
    elif repr(error) in NO_WEBP:
        report.outcome = "skipped"
        report.longrepr = (str(item.path), 0, "Skipped: this Pillow is built without WebP")
    return report
"""
IMPORTED = """
import importlib, json, sys, numpy, PIL
kivy = []
for name in json.loads(sys.argv[1]):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name.split(".")[0] != "kivy":
            raise
        kivy.append(name)
print(json.dumps({"python": sys.version.split()[0], "numpy": numpy.__version__,
                  "pillow": PIL.__version__, "kivy": kivy}))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python that is installed here."""

    path: Path
    version: tuple[int, int]


def interpreters() -> list[Interpreter]:
    """Every CPython from 3.11 on: of PATH, of pyenv, and this one; the oldest first."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found = [Path(sys.executable), *sorted(root.glob("versions/*/bin/python3"))]
    found += [
        Path(place)
        for minor in range(11, 20)
        if (place := shutil.which(f"python3.{minor}")) is not None
    ]
    known = {version: path for path in found if (version := _version(path)) is not None}
    return [Interpreter(path, version) for version, path in sorted(known.items())]


def _version(path: Path) -> tuple[int, int] | None:
    ask = "import sys, ensurepip; print(*sys.version_info[:2])"  # a Debian python may lack pip
    done = subprocess.run([str(path), "-c", ask], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return None
    major, minor = map(int, done.stdout.split())
    return (major, minor) if (major, minor) >= (3, 11) else None


def chosen_tests(staged: set[str]) -> set[Path]:
    """Test files, relative to the checkout, that the modules `staged` suffice for."""
    verdicts: dict[Path, bool] = {}

    def fits(file: Path) -> bool:
        if file not in verdicts:
            verdicts[file] = True  # while it is looked at: support modules may import each other
            verdicts[file] = all(_allowed(name, staged) for name in _imports(file)) and all(
                fits(other) for other in (*_support(file), *_conftests(file))
            )
        return verdicts[file]

    folders = (CHECKOUT / "tests" / "app", CHECKOUT / "tests" / "headtail")
    files = [file for folder in folders for file in folder.rglob("test_*.py")]
    ours = (file for file in files if any(_ours(name) for name in _imports(file)))
    return {file.relative_to(CHECKOUT) for file in ours if fits(file)}


def _ours(name: str) -> bool:
    return name.partition(".")[0] in {"app", "headtail"}


def _allowed(name: str, staged: set[str]) -> bool:
    if _ours(name):
        return name in staged
    top = name.partition(".")[0]
    return top in GUESTS or top == "tests" or top in sys.stdlib_module_names


def _imports(file: Path) -> Iterator[str]:
    """Modules that `file` names; of `from a import b` also a.b where that is a file of ours."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            inner = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name for name in inner if _file(name) is not None)


def _file(module: str) -> Path | None:
    path = CHECKOUT.joinpath(*module.split("."))
    found = [each for each in (path.with_suffix(".py"), path / "__init__.py") if each.is_file()]
    return found[0] if found else None


def _conftests(file: Path) -> Iterator[Path]:
    """Those that pytest loads with a test file, but for the topmost, which asks for nothing."""
    for folder in file.parents:
        if folder == CHECKOUT / "tests":
            return
        if (folder / "conftest.py").is_file():
            yield folder / "conftest.py"


def _support(file: Path) -> Iterator[Path]:
    names = [name for name in _imports(file) if name.startswith("tests.")]
    yield from (found for name in names if (found := _file(name)) is not None)


class PayloadRun:
    """The payload, staged, and the tests that go with it, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        stage(folder / "phone", checkout=CHECKOUT)
        files = (folder / "phone").rglob("*.py")
        names = [".".join(f.relative_to(folder / "phone").with_suffix("").parts) for f in files]
        self.modules = sorted(name.removesuffix(".__init__") for name in names)
        self.tests = sorted(chosen_tests(set(self.modules)))
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(CHECKOUT / "tests", folder / "tests", ignore=ignored)
        (folder / "pytest.ini").write_text(SETTINGS)
        (folder / "desk.py").write_text(f"{DESK_ONLY = }\n{DESK}")
        # kivy calls this machine a desk: the app asks for a desk's runtimes, to hear that they are
        # absent
        shutil.copytree(folder / "phone", folder / "tested")
        runtimes = Path("headtail", "runtimes")
        shutil.copytree(
            CHECKOUT / runtimes, folder / "tested" / runtimes, ignore=ignored, dirs_exist_ok=True
        )

    def install(self, interpreter: Interpreter, *packages: str) -> Path:
        """A folder with the packages for that Python; Pillow is compiled where it has no wheel."""
        site = self.folder / "site-{}.{}".format(*interpreter.version)
        command = [str(interpreter.path), "-m", "pip", "install", "--quiet", "--no-compile"]
        command += ["--disable-pip-version-check", "--prefer-binary", "--target", str(site)]
        done = subprocess.run(
            [*command, *packages], capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return site

    def imported(self, interpreter: Interpreter, site: Path) -> dict[str, object]:
        """Import every module of the payload; what was imported with, and who wanted kivy."""
        paths = [self.folder / "phone", site]
        done = self._run(interpreter, paths, "-c", IMPORTED, json.dumps(self.modules))
        assert done.returncode == 0, done.stderr[-3000:]
        answer: dict[str, object] = json.loads(done.stdout)
        return answer

    def tested(self, interpreter: Interpreter, site: Path) -> subprocess.CompletedProcess[str]:
        """Run the chosen tests against the payload."""
        options = ["-q", "-p", "no:cacheprovider", "-p", "desk"]
        options += [word for name in NOT_HERE for word in ("--deselect", name)]
        options += ["-m", "not slow and not device"]
        paths = [self.folder / "tested", site, self.folder]
        return self._run(interpreter, paths, "-m", "pytest", *options, *map(str, self.tests))

    def _run(
        self, interpreter: Interpreter, paths: list[Path], *words: str
    ) -> subprocess.CompletedProcess[str]:
        kept = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
        return subprocess.run(
            # -S: nothing but the standard library and PYTHONPATH, even in a virtual environment
            [str(interpreter.path), "-B", "-S", *words],
            cwd=self.folder,
            env={**kept, "PYTHONPATH": os.pathsep.join(map(str, paths)), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
